"""Every net through the same properties, and the arithmetic and summary of layers."""

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from markone.errors import SpecError
from markone.nets import MLP, NETS, ConvNet, Net, NetSpec, Perceptron, ResNet
from markone.nets.activations import ACTIVATIONS, ActivationName
from markone.nets.arithmetic import Window, conv_output, receptive_field, transposed_output
from markone.nets.initializers import HeNormal
from markone.nets.summary import summarize
from markone.seeds import torch_generator
from markone.spec import Spec

TABLE, DIGIT, PHOTO, STRIP = (7,), (1, 8, 8), (3, 32, 32), (2, 5, 16)
NORMALIZATIONS = ("none", "batch", "layer", "group")

VARIANTS: list[tuple[NetSpec, tuple[int, ...]]] = [
    *((Perceptron(), shape) for shape in (TABLE, DIGIT, STRIP)),
    *((MLP(width=32, normalization=kind), TABLE) for kind in NORMALIZATIONS),
    (MLP(depth=0), DIGIT),
    (MLP(width=16, depth=3, dropout=0.5), PHOTO),
    (MLP(width=16, activation="threshold"), TABLE),
    *((ConvNet(width=16, normalization=kind), DIGIT) for kind in NORMALIZATIONS),
    (ConvNet(width=8, dropout=0.5), PHOTO),
    (ConvNet(width=8, depth=0), STRIP),
    (ConvNet(width=8, convs_per_stage=1, activation="gelu"), STRIP),
    (ConvNet(width=8, depth=2, convs_per_stage=3, activation="leaky-relu"), PHOTO),
    (ResNet(kind="cifar-resnet-20", width=4), PHOTO),
]


def name_of(value: object) -> str:
    return f"{value.kind}-{value.digest[:4]}" if isinstance(value, NetSpec) else "x".join(map(str, value))


each = pytest.mark.parametrize(("spec", "shape"), VARIANTS, ids=name_of)


def made(spec: NetSpec, shape: tuple[int, ...], outputs: int = 5) -> nn.Module:
    net = spec.build(shape, outputs)
    HeNormal().build()(net, torch_generator(0, "init"))
    return net


def batch(shape: tuple[int, ...], samples: int = 6) -> torch.Tensor:
    return torch.randn(samples, *shape, generator=torch_generator(0, "data"))


def test_every_net_is_tested() -> None:
    assert {type(spec) for spec, _ in VARIANTS} == set(NETS)


@each
def test_scores_have_the_right_shape(spec: NetSpec, shape: tuple[int, ...]) -> None:
    for outputs in (1, 5):
        for samples in (2, 6):
            assert made(spec, shape, outputs)(batch(shape, samples)).shape == (samples, outputs)


@each
def test_gradient_reaches_every_parameter(spec: NetSpec, shape: tuple[int, ...]) -> None:
    net = made(spec, shape)
    net(batch(shape)).square().sum().backward()
    stopped = getattr(spec, "activation", None) == "threshold"
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.any()) != (stopped and not name.startswith("head")), name


@each
def test_state_dict_makes_a_twin(spec: NetSpec, shape: tuple[int, ...]) -> None:
    net, twin = made(spec, shape).eval(), spec.build(shape, 5).eval()
    twin.load_state_dict(net.state_dict())
    assert torch.equal(net(batch(shape)), twin(batch(shape)))


@each
def test_deepcopy_shares_nothing(spec: NetSpec, shape: tuple[int, ...]) -> None:
    net = made(spec, shape).eval()
    before = net(batch(shape))
    twin = copy.deepcopy(net)
    assert torch.equal(twin(batch(shape)), before)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1)
    assert torch.equal(net(batch(shape)), before)


@each
def test_bfloat16_autocast_is_close(spec: NetSpec, shape: tuple[int, ...]) -> None:
    if getattr(spec, "activation", None) == "threshold":
        return  # a rounding there flips a unit
    net = made(spec, shape).eval()
    exact = net(batch(shape))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = net(batch(shape))
    assert rough.dtype == torch.bfloat16
    assert torch.allclose(rough.float(), exact, atol=0.05 * float(exact.detach().abs().max()))


@each
def test_channels_last_gives_the_same_scores(spec: NetSpec, shape: tuple[int, ...]) -> None:
    net, inputs = made(spec, shape).eval(), batch(shape)
    before = net(inputs)
    if len(shape) == 3:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    assert torch.allclose(net.to(memory_format=torch.channels_last)(inputs), before, atol=1e-5)


@each
def test_train_and_eval_differ_only_by_dropout_and_batch_norm(spec: NetSpec, shape: tuple[int, ...]) -> None:
    net = made(spec, shape)
    fields = spec.to_dict()
    differs = bool(fields.get("dropout")) or fields.get("normalization") == "batch"
    if fields.get("depth") == 0 and spec.kind == "mlp":
        differs = False
    torch.manual_seed(0)
    assert torch.equal(net.train()(batch(shape)), net.eval()(batch(shape))) != differs


@each
def test_summary_adds_up(spec: NetSpec, shape: tuple[int, ...]) -> None:
    net = made(spec, shape).eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    summary = summarize(net, shape, batch=3)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(batch(shape, 3))
    assert summary.flops == counter.get_total_flops() == sum(layer.flops for layer in summary.layers)
    assert summary.parameters == summary.trainable == sum(p.numel() for p in net.parameters())
    assert summary.parameters == sum(layer.parameters for layer in summary.layers)
    assert summary.layers[-1].name == "head"
    assert summary.layers[-1].output_shape == (3, 5)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())


@each
def test_activations_are_modules_of_the_tree(spec: NetSpec, shape: tuple[int, ...]) -> None:
    """Hooks see what every activation gives: each is a module of its own, behind each hidden layer."""
    names = [name for name, _ in made(spec, shape).named_modules() if name.endswith("activation")]
    layers = [name for name, module in made(spec, shape).named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    assert len(names) == len(layers) - 1


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("build", [MLP, ConvNet])
def test_every_activation_fits_every_net(build: Callable[..., NetSpec], activation: ActivationName) -> None:
    net = made(build(width=16, activation=activation), DIGIT)
    kinds = {type(module) for name, module in net.named_modules() if name.endswith("activation")}
    assert kinds == {type(ACTIVATIONS[activation].build())}
    assert net(batch(DIGIT)).isfinite().all()


def test_names_of_the_modules() -> None:
    assert [name for name, _ in MLP(depth=2, normalization="batch", dropout=0.1).build((4,), 3).named_modules()] == [
        "",
        "hidden",
        *(f"hidden.{i}{part}" for i in (0, 1) for part in ("", ".linear", ".norm", ".activation", ".dropout")),
        "head",
    ]
    names = [name for name, _ in ConvNet(depth=1).build(DIGIT, 10).named_modules()]
    assert names == [
        "",
        *(f"stem{part}" for part in ("", ".conv", ".pool", ".norm", ".activation")),
        "stages",
        "stages.0",
        *(f"stages.0.0{part}" for part in ("", ".conv", ".pool", ".norm", ".activation")),
        *(f"stages.0.1{part}" for part in ("", ".conv", ".norm", ".activation")),
        "head",
    ]


def test_depth_follows_the_size_of_the_image() -> None:
    maps = {side: side >> (ConvNet().stages((1, side, side)) + 1) for side in (2, 4, 8, 16, 28, 32, 48, 64, 200)}
    assert maps == {2: 1, 4: 1, 8: 2, 16: 4, 28: 3, 32: 4, 48: 3, 64: 4, 200: 3}


def test_channels_are_multiples_of_sixteen_and_conv_bias_is_off_before_batch_norm() -> None:
    convs = [module for module in ConvNet().build(PHOTO, 10).modules() if isinstance(module, nn.Conv2d)]
    assert all(conv.out_channels % 16 == 0 and conv.bias is None for conv in convs)
    biased = ConvNet(normalization="none").build(PHOTO, 10)
    assert all(module.bias is not None for module in biased.modules() if isinstance(module, nn.Conv2d))


@pytest.mark.parametrize(
    ("spec", "shape", "message"),
    [
        (ConvNet(), (7,), r"net convnet cannot take inputs of shape \(7,\).*take mlp or perceptron"),
        (MLP(), (7, 7), r"net mlp cannot take inputs of shape \(7, 7\)"),
        (Perceptron(), (), r"net perceptron cannot take inputs of shape \(\)"),
        (MLP(), (0,), r"cannot take inputs of shape \(0,\)"),
        (
            ConvNet(depth=3),
            DIGIT,
            "needs images of at least 16x16 pixels, and these are 8x8; take net.depth = 2 or less",
        ),
        (ConvNet(), (1, 1, 9), "at least 2x2 pixels, and these are 1x9; take net.kind = mlp"),
    ],
)
def test_a_shape_that_does_not_fit(spec: NetSpec, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        spec.build(shape, 3)


@pytest.mark.parametrize("build", NETS)
def test_no_outputs(build: type[NetSpec]) -> None:
    with pytest.raises(SpecError, match="at least 1 output, and 0 were asked for"):
        build().build(DIGIT, 0)


def test_edit_of_depth_works_for_both() -> None:
    class Holder(Spec):
        net: Net = ConvNet()

    for kind in ("mlp", "convnet"):
        assert Holder().edit("net", kind).edit("net.depth", 3).net.depth == 3


def test_groups_leave_something_to_normalize() -> None:
    from markone.nets.blocks import groups_of

    for channels in range(1, 200):
        groups = groups_of(channels)
        assert channels % groups == 0
        assert groups == 1 or channels // groups >= 16
    assert groups_of(64) == 4


sizes = st.integers(1, 40)


@settings(deadline=None)
@given(sizes, st.integers(1, 7), st.integers(1, 4), st.integers(0, 3), st.integers(1, 3))
def test_conv_output_like_torch(size: int, kernel: int, stride: int, padding: int, dilation: int) -> None:
    conv = nn.Conv1d(1, 1, kernel, stride, padding, dilation)
    try:
        theirs = conv(torch.zeros(1, 1, size)).shape[2]
    except RuntimeError:
        theirs = 0
    if theirs == 0:
        with pytest.raises(SpecError, match="the smallest that works is") as raised:
            conv_output(size, kernel=kernel, stride=stride, padding=padding, dilation=dilation)
        least = int(str(raised.value).rstrip(".").split()[-1])
        assert conv(torch.zeros(1, 1, least)).shape[2] == 1
        assert conv_output(least, kernel=kernel, stride=stride, padding=padding, dilation=dilation) == 1
    else:
        assert conv_output(size, kernel=kernel, stride=stride, padding=padding, dilation=dilation) == theirs


@settings(deadline=None)
@given(sizes, st.integers(1, 7), st.integers(2, 4), st.integers(0, 2), st.integers(1, 3), st.integers(0, 1))
def test_transposed_output_like_torch(
    size: int, kernel: int, stride: int, padding: int, dilation: int, more: int
) -> None:
    reach = (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + more + 1
    if reach < 1:
        with pytest.raises(SpecError, match="leaves nothing of a map"):
            transposed_output(
                size, kernel=kernel, stride=stride, padding=padding, dilation=dilation, output_padding=more
            )
        return
    conv = nn.ConvTranspose1d(1, 1, kernel, stride, padding, more, dilation=dilation)
    ours = transposed_output(
        size, kernel=kernel, stride=stride, padding=padding, dilation=dilation, output_padding=more
    )
    assert ours == conv(torch.zeros(1, 1, size)).shape[2]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.builds(Window, st.integers(1, 4), st.integers(1, 3), st.integers(1, 2)), min_size=1, max_size=4))
def test_receptive_field_like_the_gradient(windows: list[Window]) -> None:
    """What one output sees is where its gradient is not zero; its neighbour sees the same, moved by the stride."""
    layers = [nn.Conv1d(1, 1, w.kernel, w.stride, dilation=w.dilation, dtype=torch.float64) for w in windows]
    for layer in layers:
        nn.init.ones_(layer.weight)
    inputs = torch.zeros(1, 1, 400, dtype=torch.float64, requires_grad=True)
    outputs = nn.Sequential(*layers)(inputs)[0, 0]
    seen = [torch.autograd.grad(outputs[i], inputs, retain_graph=True)[0].flatten().nonzero().flatten() for i in (0, 1)]
    field = receptive_field(windows)
    assert int(seen[0].max() - seen[0].min()) + 1 == field.size
    assert int(seen[1].min() - seen[0].min()) == field.stride


def test_published_receptive_field() -> None:
    """VGG-16's last pooled map sees 212 pixels, 32 apart (Araujo, Norris and Sim, Distill 2019)."""
    vgg = [[Window(3)] * n + [Window(2, 2)] for n in (2, 2, 3, 3, 3)]
    assert receptive_field(window for stage in vgg for window in stage) == (212, 32)


def test_the_inputs_of_a_summary_may_be_huge() -> None:
    """Nothing is computed: a net of 1.6 billion weights is summed up at once."""
    with torch.device("meta"):
        net = MLP(width=40_000, depth=2).build((10,), 10)
    assert summarize(net, (10,)).parameters == 10 * 40_000 + 40_000**2 + 40_000 * 10 + 80_010
