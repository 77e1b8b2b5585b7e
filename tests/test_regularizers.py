"""Regularization against autograd of the cost, AdamW, torch's clipping and a plain average."""

import copy
import math

import pytest
import torch
from torch import Tensor, nn

from markone.errors import SpecError
from markone.nets import MLP, ConvNet
from markone.nets.initializers import HeNormal
from markone.optimizers import Adam, AdamW
from markone.regularizers import Regularization, complexity, weights_of
from markone.seeds import torch_generator

SAMPLES = 50


def small_net(dtype: torch.dtype = torch.float64) -> nn.Module:
    net = MLP(width=6, depth=2, normalization="batch").build((4,), 3)
    HeNormal().build()(net, torch_generator(0, "init"))
    return net.to(dtype)


def backward(net: nn.Module) -> None:
    dtype = next(net.parameters()).dtype
    net(torch.randn(8, 4, generator=torch_generator(0, "data"), dtype=dtype)).square().mean().backward()


def gradients(net: nn.Module) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in net.parameters() if parameter.grad is not None]


def cost_by_hand(net: nn.Module, l1: float, l2: float) -> Tensor:
    weights = [parameter for parameter in net.parameters() if parameter.ndim >= 2]
    total = torch.zeros((), dtype=torch.float64)
    for weight in weights:
        total = total + l1 / SAMPLES * weight.abs().sum() + l2 / (2 * SAMPLES) * (weight**2).sum()
    return total


@pytest.mark.parametrize(("l1", "l2"), [(0.7, None), (None, 1.3), (0.7, 1.3)])
def test_gradients_are_those_of_the_cost(l1: float | None, l2: float | None) -> None:
    net, twin = small_net(), small_net()
    with torch.no_grad():
        for module in (net, twin):
            next(module.parameters())[0, 0] = 0.0  # sign(0) = 0, as autograd has it
    regularizer = Regularization(l1=l1, l2=l2).build(net, samples=SAMPLES)
    backward(net)
    regularizer.add_gradients()
    backward(twin)
    expected = cost_by_hand(twin, l1 or 0.0, l2 or 0.0)
    expected.backward()
    assert float(regularizer.cost()) == pytest.approx(float(expected.detach()), rel=1e-12)
    for ours, theirs in zip(gradients(net), gradients(twin), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-12, atol=1e-14)


def test_decay_before_adam_is_adamw() -> None:
    net, twin = small_net(torch.float32), small_net(torch.float32)
    regularizer = Regularization(weight_decay=0.1).build(net, samples=SAMPLES)
    ours, theirs = Adam(lr=0.02).build(net), AdamW(lr=0.02, weight_decay=0.1).build(twin)
    for _ in range(5):
        for module, optimizer in ((net, ours), (twin, theirs)):
            backward(module)
            if module is net:
                regularizer.decay(0.02)
            optimizer.step()
            optimizer.zero_grad()
    for a, b in zip(net.parameters(), twin.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-6, atol=1e-8)


def test_clip_gives_the_norm_before_and_leaves_at_most_the_bound() -> None:
    net = small_net()
    backward(net)
    before = gradients(net)
    norm = math.sqrt(sum(float((gradient**2).sum()) for gradient in before))
    for bound in (norm / 2, norm * 2):
        twin = copy.deepcopy(net)
        for parameter, gradient in zip(twin.parameters(), before, strict=True):
            parameter.grad = gradient.clone()
        found = Regularization(clip=bound).build(twin, samples=SAMPLES).clip()
        assert found is not None
        assert float(found) == pytest.approx(norm)
        scale = min(1.0, bound / norm)
        for gradient, clipped in zip(before, gradients(twin), strict=True):
            assert torch.allclose(clipped, gradient * scale, rtol=1e-5)


def test_what_is_off_does_nothing() -> None:
    net = small_net()
    backward(net)
    before, state = gradients(net), copy.deepcopy(net.state_dict())
    regularizer = Regularization().build(net, samples=SAMPLES)
    regularizer.add_gradients()
    regularizer.decay(1.0)
    assert regularizer.clip() is None
    assert Regularization().build_average(net) is None
    assert float(regularizer.cost()) == 0
    assert all(torch.equal(a, b) for a, b in zip(before, gradients(net), strict=True))
    assert all(torch.equal(state[name], value) for name, value in net.state_dict().items())


def test_frozen_weights_and_weights_without_gradient_are_left_alone() -> None:
    net = small_net()
    first = next(net.parameters())
    first.requires_grad_(False)
    head = net.get_parameter("head.weight")
    frozen = first.clone()
    regularizer = Regularization(l1=1.0, l2=1.0, weight_decay=0.5).build(net, samples=SAMPLES)
    regularizer.add_gradients()  # before any backward: there is no gradient to add to
    backward(net)
    head.grad = None
    regularizer.add_gradients()
    regularizer.decay(0.1)
    assert torch.equal(first, frozen)
    assert first.grad is None
    assert head.grad is None
    assert weights_of(net)[-1] is head


def test_a_net_without_weights() -> None:
    net = nn.BatchNorm1d(3)
    regularizer = Regularization(l1=1.0, l2=1.0, weight_decay=0.5, clip=1.0).build(net, samples=1)
    net(torch.randn(4, 3, generator=torch_generator(0, "data"))).sum().backward()
    regularizer.add_gradients()
    regularizer.decay(0.1)
    assert float(regularizer.cost()) == 0
    assert complexity(net) == {"l0": 0.0, "l1": 0.0, "l2": 0.0, "parameters": 6.0}


def moved(net: nn.Module, step: int) -> None:
    """Changes parameters, running statistics and the count of batches."""
    net.train()(torch.randn(5, 4, generator=torch_generator(0, "move", step), dtype=torch.float64))
    with torch.no_grad():
        for place, parameter in enumerate(net.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=torch_generator(step, "weights", place)))


def test_average_by_hand() -> None:
    """a <- d a + (1 - d) w with d = min(0.9, (1 + n) / (10 + n)): 1/10, 2/11, ... and 0.9 from n = 80 on."""
    net = small_net()
    average = Regularization(ema=0.9).build_average(net)
    assert average is not None
    expected = {name: value.clone() for name, value in net.state_dict().items()}
    for n in range(100):
        moved(net, n)
        average.update_parameters(net)
        d = min(0.9, (1 + n) / (10 + n))
        for name, value in net.state_dict().items():
            floating = value.is_floating_point()
            expected[name] = d * expected[name] + (1 - d) * value if floating else value.clone()
    for name, value in average.module.state_dict().items():
        assert torch.allclose(value, expected[name], rtol=1e-9), name


def test_average_changes_nothing_and_needs_no_gradient() -> None:
    net = small_net()
    average = Regularization(ema=0.9).build_average(net)
    assert average is not None
    before = copy.deepcopy(net.state_dict())
    average.update_parameters(net)
    assert net.training
    assert not average.module.training
    assert not any(parameter.requires_grad for parameter in average.module.parameters())
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert complexity(average.module)["parameters"] == complexity(net)["parameters"]


def test_average_goes_on_bit_for_bit() -> None:
    net = small_net()
    whole, first, second = (Regularization(ema=0.5).build_average(net) for _ in range(3))
    assert whole is not None
    assert first is not None
    assert second is not None
    for step in range(6):
        moved(net, step)
        whole.update_parameters(net)
        if step < 3:
            first.update_parameters(net)
            continue
        if step == 3:
            second.load_state_dict({name: value.clone() for name, value in first.state_dict().items()})
        second.update_parameters(net)
    kept = second.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in whole.state_dict().items())
    assert all(isinstance(value, Tensor) for value in kept.values())


def test_complexity_by_hand() -> None:
    net = ConvNet(width=4).build((1, 8, 8), 3)
    HeNormal().build()(net, torch_generator(0, "init"))
    with torch.no_grad():
        net.get_parameter("stem.conv.weight")[:2] = 0.0
    flat = torch.cat([p.detach().double().flatten() for p in net.parameters() if p.ndim >= 2])
    found = complexity(net)
    assert found["l0"] == float((flat != 0).sum()) == len(flat) - 18
    assert found["l1"] == pytest.approx(float(flat.abs().sum()), rel=1e-6)
    assert found["l2"] == pytest.approx(float(flat.norm()), rel=1e-6)
    assert found["parameters"] == sum(p.numel() for p in net.parameters())


def test_fields_have_bounds() -> None:
    for field, wrong in (("l1", 0.0), ("weight_decay", -1.0), ("label_smoothing", 1.0), ("ema", 1.0), ("clip", 0.0)):
        with pytest.raises(SpecError, match=f"{field} = .* is not allowed"):
            Regularization(**{field: wrong})
    with pytest.raises(SpecError, match="at least 1 training sample, and got 0"):
        Regularization().build(small_net(), samples=0)
