"""Every activation against its definition, its derivative and its numbers."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from markone.nets.activations import ACTIVATIONS, SATURATED_SLOPE, Activation, activation_of

each = pytest.mark.parametrize("activation", ACTIVATIONS.values(), ids=lambda activation: activation.name)


def plain(name: str, x: np.ndarray) -> np.ndarray:
    """A second implementation, straight from the formulas."""
    erf = np.vectorize(math.erf)
    negative = np.minimum(x, 0)
    return {
        "threshold": (x >= 0).astype(float),
        "identity": x,
        "sigmoid": 1 / (1 + np.exp(-x)),
        "tanh": (np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x)),
        "relu": np.maximum(0, x),
        "leaky-relu": np.where(x >= 0, x, 0.01 * x),
        "elu": np.where(x >= 0, x, np.exp(negative) - 1),
        "selu": 1.0507009873554805 * np.where(x >= 0, x, 1.6732632423543772 * (np.exp(negative) - 1)),
        "gelu": x * (1 + erf(x / math.sqrt(2))) / 2,
        "silu": x / (1 + np.exp(-x)),
    }[name]


def slopes(activation: Activation, x: torch.Tensor) -> torch.Tensor:
    x = x.clone().requires_grad_()
    activation.build()(x).sum().backward()
    assert x.grad is not None
    return x.grad


def test_the_table_is_the_list_of_the_field() -> None:
    from typing import get_args

    from markone.nets.activations import ActivationName

    assert tuple(ACTIVATIONS) == get_args(ActivationName)


@each
def test_formula(activation: Activation) -> None:
    x = np.linspace(-6, 6, 1201)
    ours = activation.build()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(ours, plain(activation.name, x), rtol=1e-12, atol=1e-12)


@each
def test_range(activation: Activation) -> None:
    outputs = activation.build()(torch.linspace(-50, 50, 100_001, dtype=torch.float64))
    low, high = activation.range
    assert low - 1e-6 <= float(outputs.min())
    assert float(outputs.max()) <= high + 1e-6
    if math.isfinite(low):
        assert float(outputs.min()) == pytest.approx(low, abs=1e-4)
    if math.isfinite(high):
        assert float(outputs.max()) == pytest.approx(high, abs=1e-4)


@each
def test_gain_keeps_the_second_moment(activation: Activation) -> None:
    """1 / gain^2 = E f(z)^2, by the midpoint rule on the two sides of 0 (where some f have a corner or a jump)."""
    z = (torch.arange(400_000, dtype=torch.float64) + 0.5) * 2.5e-5
    density = torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    module = activation.build()
    moment = ((module(z) ** 2 + module(-z) ** 2) * density).sum() * 2.5e-5
    assert activation.gain == pytest.approx(float(moment) ** -0.5, rel=1e-6)


@each
def test_saturated_where_the_slope_is_small(activation: Activation) -> None:
    x = torch.cat((torch.linspace(-12, 12, 20_000), torch.tensor([-1e-9]))).double()  # SELU is steepest just below 0
    outputs, slope = activation.build()(x), slopes(activation, x).abs()
    if activation.saturates == "never":
        assert not activation.saturated(outputs).any()
        return
    flat = slope < SATURATED_SLOPE * slope.max()
    clear = (slope - SATURATED_SLOPE * slope.max()).abs() > 1e-9  # rounding may decide exactly on the bound
    assert torch.equal(activation.saturated(outputs)[clear], flat[clear])


def test_only_sigmoid_and_tanh_saturate_on_both_sides() -> None:
    assert {name for name, a in ACTIVATIONS.items() if a.saturates == "both"} == {"sigmoid", "tanh"}


@each
def test_gradient_in_float64(activation: Activation) -> None:
    if activation.name == "threshold":
        return
    x = torch.tensor([-2.0, -0.7, 0.4, 1.9], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(activation.build(), x)


def test_threshold_has_zero_gradient_and_fires_at_zero() -> None:
    x = torch.tensor([-1.0, 0.0, 1.0], requires_grad=True)
    outputs = ACTIVATIONS["threshold"].build()(x)
    assert outputs.tolist() == [0.0, 1.0, 1.0]
    outputs.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 0.0, 0.0]


@each
def test_a_module_is_known_again(activation: Activation) -> None:
    module = activation.build()
    assert module is not activation.build()
    assert activation_of(module) is (None if activation.name == "identity" else activation)
    assert activation_of(nn.Linear(2, 2)) is None
