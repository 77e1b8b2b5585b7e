"""Every initialization against its formula."""

import math

import pytest
import torch
from torch import nn

from markone.nets import MLP, ConvNet
from markone.nets.activations import ACTIVATIONS, ActivationName
from markone.nets.initializers import (
    INITIALIZATIONS,
    Constant,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    InitializationSpec,
    LecunNormal,
    LecunUniform,
    Normal,
    Orthogonal,
    TruncatedNormal,
)
from markone.seeds import torch_generator

each = pytest.mark.parametrize("spec", [member() for member in INITIALIZATIONS], ids=lambda spec: spec.kind)
RANDOM = [member() for member in INITIALIZATIONS if member is not Constant]


def drawn(spec: InitializationSpec, net: nn.Module, seed: int = 0) -> nn.Module:
    spec.build()(net, torch_generator(seed, "init"))
    return net


def two_layers(activation: str = "relu") -> nn.Sequential:
    """Two layers of 120,000 weights each, the second behind the activation: fan_in 300, fan_out 400, then the reverse."""
    return nn.Sequential(nn.Linear(300, 400), ACTIVATIONS[activation].build(), nn.Linear(400, 300))


# variance by (fan_in, fan_out, gain)
VARIANCES = {
    Normal(std=0.3): lambda i, o, g: 0.09,
    TruncatedNormal(std=0.3): lambda i, o, g: 0.09 * (1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(2**0.5)),
    LecunNormal(): lambda i, o, g: 1 / i,
    LecunUniform(): lambda i, o, g: 1 / i,
    GlorotNormal(): lambda i, o, g: 2 * g * g / (i + o),
    GlorotUniform(): lambda i, o, g: 2 * g * g / (i + o),
    HeNormal(): lambda i, o, g: g * g / i,
    HeUniform(): lambda i, o, g: g * g / i,
    HeUniform(gain=3.0): lambda i, o, g: 9 / i,
    Orthogonal(): lambda i, o, g: g * g / max(i, o),
    Constant(value=0.5): lambda i, o, g: 0.0,
}


@pytest.mark.parametrize("activation", ["relu", "tanh", "selu", "leaky-relu"])
@pytest.mark.parametrize("spec", VARIANCES, ids=lambda spec: spec.kind)
def test_variance(spec: InitializationSpec, activation: str) -> None:
    """Of 120,000 draws the relative standard error of the variance is under 0.5 %."""
    first, _, second = drawn(spec, two_layers(activation))
    gain = ACTIVATIONS[activation].gain
    for layer, i, o, g in ((first, 300, 400, 1.0), (second, 400, 300, gain)):
        assert float(layer.weight.detach().var()) == pytest.approx(VARIANCES[spec](i, o, g), rel=0.02, abs=1e-12)
    wanted = 0.5 if spec.kind == "constant" else 0.0
    assert float(first.weight.detach().mean()) == pytest.approx(wanted, abs=0.003)


def test_every_member_has_its_variance_tested() -> None:
    assert {type(spec) for spec in VARIANCES} == set(INITIALIZATIONS)


@pytest.mark.parametrize("spec", [LecunUniform(), GlorotUniform(), HeUniform()], ids=lambda spec: spec.kind)
def test_uniform_reaches_its_edges_and_no_further(spec: InitializationSpec) -> None:
    weight = drawn(spec, two_layers())[0].weight.detach()
    edge = math.sqrt(3 * VARIANCES[spec](300, 400, 1.0))
    assert 0.999 * edge < float(weight.abs().max()) <= edge * (1 + 1e-6)


def test_truncated_normal_stays_within_two_deviations() -> None:
    weight = drawn(TruncatedNormal(std=0.3), two_layers())[0].weight.detach()
    assert 0.59 < float(weight.abs().max()) <= 0.6 + 1e-6


def test_orthogonal_rows() -> None:
    conv = nn.Conv2d(8, 16, 3)
    drawn(Orthogonal(gain=2.0), conv)
    matrix = conv.weight.detach().flatten(1).double()
    assert torch.allclose(matrix @ matrix.T, 4 * torch.eye(16, dtype=torch.float64), atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "fans"),
    [
        (nn.Linear(30, 20), (30, 20)),
        (nn.Conv1d(4, 6, 5), (20, 30)),
        (nn.Conv2d(4, 6, 3), (36, 54)),
        (nn.Conv2d(4, 6, 3, groups=2), (18, 54)),
        (nn.ConvTranspose2d(4, 6, 3), (54, 36)),
    ],
)
def test_fans_are_those_of_torch(layer: nn.Module, fans: tuple[int, int]) -> None:
    from markone.nets.initializers import _fans

    assert _fans(layer.weight) == fans == nn.init._calculate_fan_in_and_fan_out(layer.weight)


@each
def test_biases_are_zero_and_normalization_is_left_alone(spec: InitializationSpec) -> None:
    net = MLP(normalization="group", width=32).build((5,), 3)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    drawn(spec, net)
    for name, value in net.state_dict().items():
        if "norm" in name:
            assert torch.equal(value, before[name])
        elif name.endswith("bias"):
            assert not value.any()
        else:
            assert not torch.equal(value, before[name])


@pytest.mark.parametrize("spec", RANDOM, ids=lambda spec: spec.kind)
def test_every_draw_comes_from_the_generator(spec: InitializationSpec) -> None:
    net = ConvNet().build((1, 8, 8), 10)
    state = torch.random.get_rng_state()
    first = {name: value.clone() for name, value in drawn(spec, net).state_dict().items()}
    assert torch.equal(torch.random.get_rng_state(), state)
    again = drawn(spec, ConvNet().build((1, 8, 8), 10)).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    other = drawn(spec, net, seed=1).state_dict()
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("spec", RANDOM, ids=lambda spec: spec.kind)
def test_memory_format_makes_no_difference(spec: InitializationSpec) -> None:
    plain = drawn(spec, ConvNet().build((3, 8, 8), 10)).state_dict()
    last = drawn(spec, ConvNet().build((3, 8, 8), 10).to(memory_format=torch.channels_last)).state_dict()
    assert all(torch.equal(plain[name], last[name]) for name in plain)


@pytest.mark.parametrize(
    ("activation", "depth"),
    [
        ("relu", 20),
        ("leaky-relu", 20),
        ("elu", 20),
        ("selu", 20),
        ("tanh", 20),
        ("sigmoid", 20),
        ("gelu", 5),
        ("silu", 5),
    ],
)
def test_he_keeps_the_signal_from_layer_to_layer(activation: ActivationName, depth: int) -> None:
    """The second moment neither dies out nor explodes. GELU and SiLU amplify what chance makes larger, so fewer layers."""
    net = drawn(HeNormal(), MLP(width=256, depth=depth, activation=activation).build((256,), 256))
    inputs = torch.randn(256, 256, generator=torch_generator(0, "data"))
    with torch.no_grad():
        assert 0.3 < float(net(inputs).square().mean()) < 3


@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (4, 2), (3, 1), (16, 8)])
def test_transposed_convolutions_keep_the_signal(kernel: int, stride: int) -> None:
    """He's variance holds for what an output of a transposed convolution really sees: in x places / stride^2 inputs."""
    net = nn.Sequential(nn.ReLU(), nn.ConvTranspose2d(200, 50, kernel, stride, bias=False))
    drawn(HeNormal(), net)
    inputs = torch.randn(4, 200, 12, 12, generator=torch_generator(0, "data"))
    edge = kernel  # the border sees less
    outputs = net(inputs).detach()[:, :, edge:-edge, edge:-edge]
    assert float(outputs.var()) == pytest.approx(1.0, rel=0.1)
