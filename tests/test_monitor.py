"""Vitals against a plain second implementation; the monitor attaches nothing for longer than a step and keeps its budget."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import nn

from markone.training.monitor import Monitor, layers_of
from markone.training.pace import FREE_SECONDS, Pace
from markone.training.vitals import VITALS


def small_net(activation: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), activation, nn.Linear(7, 3))


def take_sample(net: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> dict[tuple[str, str], float]:
    """One plain SGD step under a sample."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    monitor = Monitor(net, budget=1.0)

    def loss() -> torch.Tensor:
        return nn.functional.cross_entropy(net(inputs), targets)

    assert monitor.pace.due(0)
    sample = monitor.sample()
    value = loss()
    value.backward()
    sample.after_backward()
    optimizer.step()
    rows = sample.finish(1, value, loss)
    return {(layer, vital): number for layer, vital, number in rows}


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(16, 5, generator=generator), torch.randint(0, 3, (16,), generator=generator)


def test_every_vital_equals_a_plain_computation(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    inputs, targets = batch
    net = small_net(nn.ReLU())
    twin = small_net(nn.ReLU()).double()
    found = take_sample(net, inputs, targets)

    before = [parameter.detach().clone() for parameter in twin.parameters()]
    hidden = twin[0](inputs.double())
    active = twin[1](hidden)
    hidden.retain_grad()
    active.retain_grad()
    loss = nn.functional.cross_entropy(twin[2](active), targets)
    loss.backward()
    gradients = [parameter.grad.clone() for parameter in twin.parameters()]
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter -= 0.1 * parameter.grad
        after = nn.functional.cross_entropy(twin(inputs.double()), targets)
    change = [now.detach() - then for now, then in zip(twin.parameters(), before, strict=True)]
    expected = {
        ("0", "gradient_norm"): gradients[0].norm(),
        ("0", "weight_norm"): before[0].norm(),
        ("0", "update_ratio"): change[0].norm() / before[0].norm(),
        ("0", "activation_mean"): hidden.mean(),
        ("0", "activation_std"): hidden.std(correction=0),
        ("0", "activation_gradient_norm"): hidden.grad.norm(),
        ("1", "activation_mean"): active.mean(),
        ("1", "activation_std"): active.std(correction=0),
        ("1", "activation_gradient_norm"): active.grad.norm(),
        ("1", "dead_fraction"): (active.amax(0) <= 0).double().mean(),
        ("2", "gradient_norm"): gradients[2].norm(),
        ("net", "gradient_norm"): torch.stack([g.norm() for g in gradients]).norm(),
        ("net", "weight_norm"): torch.stack([w.norm() for w in before]).norm(),
        ("net", "loss"): loss,
        ("net", "step_gain"): loss - after,
        ("net", "step_gain_predicted"): -sum((g * c).sum() for g, c in zip(gradients, change, strict=True)),
    }
    for key, value in expected.items():
        assert found[key] == pytest.approx(float(value.detach()), rel=2e-5, abs=1e-6), key
    assert {vital for _, vital in found} <= {vital.name for vital in VITALS}


@pytest.mark.parametrize(("activation", "edge"), [(nn.Sigmoid(), 0.0125), (nn.Tanh(), 0.05)], ids=["sigmoid", "tanh"])
def test_saturated_fraction_counts_small_slopes(
    activation: nn.Module, edge: float, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    """The slope, from autograd, is under 5 % of the largest (1/4 for the sigmoid, 1 for tanh)."""
    inputs, targets = batch
    net = small_net(activation)
    with torch.no_grad():
        net[0].weight.mul_(6)
    hidden = net[0](inputs).detach().requires_grad_()
    (slopes,) = torch.autograd.grad(activation(hidden).sum(), hidden)
    found = take_sample(net, inputs, targets)[("1", "saturated_fraction")]
    assert 0.1 < found < 0.9
    assert found == pytest.approx(float((slopes < edge).float().mean()))


def test_dead_units_of_pictures_are_channels() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
    with torch.no_grad():
        net[0].bias.copy_(torch.tensor([-100.0, 100.0, -100.0, 100.0]))
    inputs, targets = torch.rand(6, 1, 8, 8), torch.tensor([0, 1, 0, 1, 0, 1])
    assert take_sample(net, inputs, targets)[("1", "dead_fraction")] == pytest.approx(0.5)


def test_nothing_stays_attached_and_buffers_are_put_back() -> None:
    net = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 3))
    inputs, targets = torch.randn(8, 5), torch.randint(0, 3, (8,))
    twin = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 3))
    twin.load_state_dict(net.state_dict())
    take_sample(net, inputs, targets)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1)
    nn.functional.cross_entropy(twin(inputs), targets).backward()
    optimizer.step()
    for name, value in net.state_dict().items():
        assert torch.equal(value, twin.state_dict()[name]), name
    assert all(not module._forward_hooks and not module._backward_hooks for module in net.modules())


def test_layers_are_listed_in_forward_order_and_cost_no_state() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(4, 2)
            self.norm = nn.BatchNorm1d(4)
            self.first = nn.Linear(3, 4)
            self.act = nn.Tanh()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.act(self.norm(self.first(x))))

    net = Backwards()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = layers_of(net, lambda: net(torch.randn(5, 3)))
    assert [(layer["name"], layer["role"]) for layer in found] == [
        ("first", "weights"),
        ("norm", "normalization"),
        ("act", "activation"),
        ("last", "weights"),
    ]
    assert [layer["parameters"] for layer in found] == [16, 8, 0, 10]
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("cost_of_a_sample", [0.001, 0.02, 1.0])
def test_budget_holds_however_dear_a_sample_is(cost_of_a_sample: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock of its own: steps of 5 ms, samples that cost so much more."""
    clock = [0.0]
    monkeypatch.setattr("markone.training.pace.time.perf_counter", lambda: clock[0])
    pace = Pace(0.02)
    samples = []
    for step in range(20_000):
        sampled = pace.due(step)
        clock[0] += 0.005 + (cost_of_a_sample if sampled else 0)
        if sampled:
            samples.append(step)
            pace.charge(step + 1, 0.005 + cost_of_a_sample)
    spent = cost_of_a_sample * (len(samples) - 1)  # the first is free
    assert spent <= FREE_SECONDS + 0.02 * clock[0] + cost_of_a_sample
    assert samples[:2] == [0, 2]
    assert len(samples) >= 3
    intervals = [b - a for a, b in pairwise(samples)]
    if cost_of_a_sample == 0.001:
        assert max(intervals[:5]) == 2, "dense at first"
        assert intervals[-1] == 200, "then thinner"


def test_conformance_every_activation_has_vitals() -> None:
    from markone.nets.activations import ACTIVATIONS
    from markone.training.vitals import activation_of

    makers: list[Callable[[], nn.Module]] = [activation.build for activation in ACTIVATIONS.values()]
    for name, make in zip(ACTIVATIONS, makers, strict=True):
        found = activation_of(make())
        assert (found is None) == (name == "identity")
        if found is not None:
            assert found.name == name
