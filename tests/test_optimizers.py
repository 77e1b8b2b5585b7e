"""Every optimizer through the same properties; those with a formula of one line against a second implementation."""

import copy
import io
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from markone.errors import SpecError
from markone.nets import ConvNet
from markone.nets.initializers import HeNormal
from markone.optimizers import (
    OPTIMIZERS,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    AdamW,
    Momentum,
    Muon,
    Nesterov,
    OptimizerSpec,
    RMSprop,
    trainable,
)
from markone.seeds import torch_generator

each = pytest.mark.parametrize("spec", [member() for member in OPTIMIZERS], ids=lambda spec: spec.kind)


def small_net(*, channels_last: bool = False) -> nn.Module:
    net = ConvNet(width=16).build((3, 8, 8), 4)
    HeNormal().build()(net, torch_generator(0, "init"))
    return net.to(memory_format=torch.channels_last) if channels_last else net


def steps(net: nn.Module, optimizer: torch.optim.Optimizer, first: int, last: int) -> None:
    """Plain training on batches that depend on the step alone."""
    for step in range(first, last):
        generator = torch_generator(0, "data", step)
        inputs = torch.randn(8, 3, 8, 8, generator=generator)
        targets = torch.randint(0, 4, (8,), generator=generator)
        nn.functional.cross_entropy(net(inputs), targets).backward()
        optimizer.step()
        optimizer.zero_grad()


def weights(net: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in net.parameters()]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


class Quadratic(nn.Module):
    """f = 1/2 sum_i h_i (w_i - 1)^2 over a matrix, a vector and a second matrix, steep and shallow ways among them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.zeros(4, 3))
        self.vector = nn.Parameter(torch.zeros(5))
        self.last = nn.Parameter(torch.zeros(2, 4))

    def forward(self) -> Tensor:
        total = torch.zeros(())
        for parameter in self.parameters():
            steepness = torch.linspace(0.3, 1, parameter.numel()).view_as(parameter)
            total = total + (steepness * (parameter - 1) ** 2).sum() / 2
        return total


RATES = {"sgd": 0.5, "adagrad": 0.5, "adadelta": 10.0, "muon": 0.3}


@each
def test_minimizes_a_quadratic(spec: OptimizerSpec) -> None:
    net = Quadratic()
    spec = spec.edit("lr", RATES.get(spec.kind, 0.05))
    if "weight_decay" in type(spec).model_fields:
        spec = spec.edit("weight_decay", 0.0)
    optimizer = spec.build(net)
    start = float(net().detach())
    for step in range(400):
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * (1 - step / 400)
        net().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert float(net().detach()) < 1e-3 * start


@each
@pytest.mark.parametrize("channels_last", [False, True])
def test_state_goes_on_bit_for_bit(spec: OptimizerSpec, channels_last: bool) -> None:
    """Six steps, and three steps with the state saved, read back from contiguous tensors, and three more."""
    whole = small_net(channels_last=channels_last)
    steps(whole, spec.build(whole), 0, 6)
    net = small_net(channels_last=channels_last)
    optimizer = spec.build(net)
    steps(net, optimizer, 0, 3)
    kept = io.BytesIO()
    torch.save(tree_of(optimizer.state_dict(), Tensor.contiguous), kept)
    kept.seek(0)
    resumed = small_net(channels_last=channels_last)
    resumed.load_state_dict(net.state_dict())
    second = spec.build(resumed)
    second.load_state_dict(torch.load(kept, weights_only=True))
    steps(resumed, second, 3, 6)
    assert same(weights(resumed), weights(whole))


def tree_of(value: object, change: Callable[[Tensor], Tensor]) -> object:
    """A copy of a nested state with every tensor changed."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: tree_of(inner, change) for key, inner in value.items()}
    return [tree_of(inner, change) for inner in value] if isinstance(value, list) else value


@each
def test_state_is_tensors_and_numbers(spec: OptimizerSpec) -> None:
    net = small_net()
    optimizer = spec.build(net)
    steps(net, optimizer, 0, 1)
    state = optimizer.state_dict()
    assert all(isinstance(value, Tensor | int | float) for entry in state["state"].values() for value in entry.values())
    plain = (int, float, bool, type(None), list, tuple)
    assert all(isinstance(value, plain) for group in state["param_groups"] for value in group.values())


@each
def test_memory_format_makes_no_difference(spec: OptimizerSpec) -> None:
    """The same gradients give the same weights; only rounding may differ."""
    plain, last = small_net(), small_net(channels_last=True)
    first, second = spec.build(plain), spec.build(last)
    for step in range(3):
        for a, b in zip(plain.parameters(), last.parameters(), strict=True):
            a.grad = torch.randn(a.shape, generator=torch_generator(0, "gradient", step, a.numel()))
            b.grad = torch.empty_like(b).copy_(a.grad)
        first.step()
        second.step()
    for a, b in zip(weights(plain), weights(last), strict=True):
        assert torch.allclose(a, b, atol=1e-3 if spec.kind == "muon" else 1e-6)  # Muon rounds to bfloat16 inside


@each
def test_rate_by_schedule(spec: OptimizerSpec) -> None:
    """A rate of 0 moves nothing; a tenth of the rate makes a tenth of the first step; the base rate is kept."""
    moves = []
    for factor in (0.0, 0.1, 1.0):
        net = small_net()
        optimizer = spec.build(net)
        for group in optimizer.param_groups:
            assert group["initial_lr"] == group["lr"] == spec.lr
            group["lr"] = group["initial_lr"] * factor
        before = weights(net)
        steps(net, optimizer, 0, 1)
        moves.append([new - old for new, old in zip(weights(net), before, strict=True)])
    none, tenth, full = (torch.cat([move.flatten() for move in moved]).double() for moved in moves)
    assert not none.any()
    assert float((full - 10 * tenth).norm() / full.norm()) < 1e-3


@each
def test_frozen_parameters_stay(spec: OptimizerSpec) -> None:
    net = small_net()
    net.get_submodule("stem").requires_grad_(False)
    before = weights(net)
    steps(net, spec.build(net), 0, 2)
    for (name, parameter), old in zip(net.named_parameters(), before, strict=True):
        assert torch.equal(parameter, old) == name.startswith("stem"), name


@each
def test_nothing_to_train(spec: OptimizerSpec) -> None:
    with pytest.raises(SpecError, match="no parameter that can be trained; unfreeze a layer"):
        spec.build(small_net().requires_grad_(False))


@each
def test_a_parameter_without_gradient_is_passed_over(spec: OptimizerSpec) -> None:
    net = small_net()
    optimizer = spec.build(net)
    before = weights(net)
    next(net.parameters()).grad = torch.ones_like(next(net.parameters()))
    optimizer.step()
    moved = [not torch.equal(old, new) for old, new in zip(before, weights(net), strict=True)]
    assert moved[0]
    assert not any(moved[1:])


@each
def test_a_rate_that_is_not_positive_is_refused(spec: OptimizerSpec) -> None:
    with pytest.raises(SpecError, match=r"lr = 0\.0 is not allowed: it should be greater than 0"):
        type(spec)(lr=0.0)


def test_kernels_are_fused_on_the_cpu() -> None:
    for spec in (SGD(), Momentum(), Nesterov(), Adagrad(), Adam(), AdamW()):
        assert spec.build(small_net()).param_groups[0]["fused"], spec.kind


# One parameter, three steps, by the formulas of the docstrings: (spec, state -> new weight) on plain floats.
GRADIENTS = (0.5, -0.3, 0.8)


def by_hand(spec: OptimizerSpec, w: float) -> float:  # the table of formulas, one branch each
    v = s = a = m = 0.0
    for t, g in enumerate(GRADIENTS, start=1):
        if isinstance(spec, SGD):
            w -= spec.lr * g
        elif isinstance(spec, Momentum):
            v = spec.momentum * v + g
            w -= spec.lr * v
        elif isinstance(spec, Nesterov):
            v = spec.momentum * v + g
            w -= spec.lr * (g + spec.momentum * v)
        elif isinstance(spec, Adagrad):
            s += g * g
            w -= spec.lr * g / (math.sqrt(s) + spec.epsilon)
        elif isinstance(spec, Adadelta):
            s = spec.rho * s + (1 - spec.rho) * g * g
            d = g * math.sqrt(a + spec.epsilon) / math.sqrt(s + spec.epsilon)
            a = spec.rho * a + (1 - spec.rho) * d * d
            w -= spec.lr * d
        elif isinstance(spec, RMSprop):
            s = spec.alpha * s + (1 - spec.alpha) * g * g
            w -= spec.lr * g / (math.sqrt(s) + spec.epsilon)
        elif isinstance(spec, Adam | AdamW):
            w *= 1 - spec.lr * getattr(spec, "weight_decay", 0.0)
            m = spec.beta1 * m + (1 - spec.beta1) * g
            s = spec.beta2 * s + (1 - spec.beta2) * g * g
            w -= spec.lr * (m / (1 - spec.beta1**t)) / (math.sqrt(s / (1 - spec.beta2**t)) + spec.epsilon)
    return w


@pytest.mark.parametrize(
    "spec", [member(lr=0.1) for member in OPTIMIZERS if member is not Muon], ids=lambda spec: spec.kind
)
def test_formula(spec: OptimizerSpec) -> None:
    net = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.constant_(net.weight, 0.7)
    optimizer = spec.build(net)
    for gradient in GRADIENTS:
        net.weight.grad = torch.full((1, 1), gradient, dtype=torch.float64)
        optimizer.step()
    assert float(net.weight.detach()) == pytest.approx(by_hand(spec, 0.7), rel=1e-9)


def test_adamw_and_muon_decay_weights_only() -> None:
    for spec in (AdamW(weight_decay=0.5, lr=0.1), Muon(weight_decay=0.5, lr=0.1)):
        net = small_net()
        before = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}
        for parameter in net.parameters():
            parameter.grad = torch.zeros_like(parameter)
        spec.build(net).step()
        for name, parameter in net.named_parameters():
            expected = before[name] * (0.95 if parameter.ndim >= 2 else 1)
            assert torch.allclose(parameter, expected), name


def test_muons_step_is_torchs_on_matrices_and_adamws_on_the_rest() -> None:
    net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 2))
    twin = copy.deepcopy(net)
    ours = Muon(lr=0.01, weight_decay=0.1).build(net)
    matrices = [twin[0].weight, twin[2].weight]
    rest = [twin[0].bias, twin[2].bias, twin[4].bias]
    theirs = [
        torch.optim.Muon(matrices, lr=0.01, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW([twin[4].weight], lr=0.01, weight_decay=0.1),
        torch.optim.AdamW(rest, lr=0.01, weight_decay=0.0),
    ]
    for step in range(4):
        inputs = torch.randn(5, 6, generator=torch_generator(0, "data", step))
        for module, optimizers in ((net, [ours]), (twin, theirs)):
            module(inputs).square().mean().backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
    for a, b in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_muons_step_has_singular_values_near_one() -> None:
    """The step of a kernel (16, 3, 3, 3), as a matrix: 0.2 lr sqrt(27) times a nearly orthogonal one (0.7 to 1.2)."""
    net = small_net(channels_last=True)
    before = net.get_parameter("stem.conv.weight").detach().clone()
    steps(net, Muon(lr=0.01, weight_decay=0.0).build(net), 0, 1)
    step = (net.get_parameter("stem.conv.weight").detach() - before).flatten(1) / (0.01 * 0.2 * math.sqrt(27))
    values = torch.linalg.svdvals(step.double())
    assert 0.5 < float(values.min()) <= float(values.max()) < 1.3


def test_muon_of_a_single_matrix_is_adamw() -> None:
    """A net whose only weights are its last ones has no hidden layer for Muon."""
    net = nn.Linear(3, 2)
    twin = copy.deepcopy(net)
    for module, spec in ((net, Muon(lr=0.1)), (twin, AdamW(lr=0.1))):
        for parameter in module.parameters():
            parameter.grad = torch.ones_like(parameter)
        spec.build(module).step()
    assert torch.equal(net.weight, twin.weight)


def test_trainable_keeps_the_order() -> None:
    net = small_net()
    assert [id(p) for p in trainable(net)] == [id(p) for p in net.parameters()]
