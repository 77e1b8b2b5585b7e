"""One conformance test over all nets: every kind of every family through the same properties."""

import copy
import subprocess
import sys
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.flop_counter import FlopCounterMode

from markone.errors import SpecError
from markone.nets import MLP, NETS, ConvNet, Net, NetSpec, Perceptron
from markone.nets.activations import ACTIVATIONS, ActivationName
from markone.nets.blocks import WithAuxiliary
from markone.nets.initializers import HeNormal
from markone.nets.summary import summarize
from markone.seeds import torch_generator
from markone.spec import Spec

Shape = tuple[int, ...]

TABLE, DIGIT, PHOTO, STRIP = (7,), (1, 8, 8), (3, 32, 32), (2, 5, 16)
LARGE, SIDE, INCEPTION_SIDE = (
    64,
    64,
    96,
)  # every net for large pictures takes 64 with its own stem, Inception v3 needs 75
NORMALIZATIONS = ("none", "batch", "layer", "group")
OUTPUTS = 5
NARROW = {"width": 8, "head_width": 32, "growth": 8, "groups": 4, "associations": 64}
MOST_BLOCKS = 2  # of a stage; whole kinds: test_the_deepest, and on no data at all tests/test_net_families.py
NOT_BUILT = {"timm"}  # needs its extra: tests/test_timm.py


def narrow(spec: type[NetSpec], kind: str) -> NetSpec:
    """The kind with few channels and few blocks, so that all of them can be run."""
    whole = spec.from_dict({"kind": kind})
    fields: dict[str, Any] = {name: value for name, value in NARROW.items() if name in spec.model_fields}
    if getattr(whole, "groups", 1) == 1:
        fields.pop("groups", None)
    if isinstance(depths := getattr(whole, "depths", None), tuple):
        fields["depths"] = tuple(min(depth, MOST_BLOCKS) for depth in depths)
    if "stem" in spec.model_fields and getattr(whole, "stem", None) is None:
        fields["stem"] = "imagenet"
    return spec.from_dict({"kind": kind, **fields})


def shape_for(spec: type[NetSpec], kind: str) -> Shape:
    shape = spec.variants[kind].input_shape
    side = INCEPTION_SIDE if kind == "inception-v3" else SIDE
    return (shape[0], side, side) if min(shape) > LARGE or max(shape[1:], default=0) > LARGE else shape


VARIANTS: list[tuple[NetSpec, Shape]] = [
    *((narrow(spec, kind), shape_for(spec, kind)) for spec in NETS for kind in spec.variants if kind not in NOT_BUILT),
    *((Perceptron(), shape) for shape in (TABLE, STRIP)),
    *((MLP(width=32, normalization=kind), TABLE) for kind in NORMALIZATIONS),
    (MLP(depth=0), DIGIT),
    (MLP(width=16, depth=3, dropout=0.5), PHOTO),
    (MLP(width=16, activation="threshold"), TABLE),
    *((ConvNet(width=16, normalization=kind), DIGIT) for kind in NORMALIZATIONS),
    (ConvNet(width=8, dropout=0.5), PHOTO),
    (ConvNet(width=8, depth=0), STRIP),
    (ConvNet(width=8, convs_per_stage=1, activation="gelu"), STRIP),
    (ConvNet(width=8, depth=2, convs_per_stage=3, activation="leaky-relu"), PHOTO),
]


def name_of(value: object) -> str:
    return f"{value.kind}-{value.digest[:4]}" if isinstance(value, NetSpec) else "x".join(map(str, value))


each = pytest.mark.parametrize(("spec", "shape"), VARIANTS, ids=name_of)


def made(spec: NetSpec, shape: Shape, outputs: int = OUTPUTS) -> nn.Module:
    return copy.deepcopy(drawn(spec, shape, outputs))


@cache
def drawn(spec: NetSpec, shape: Shape, outputs: int) -> nn.Module:
    net = spec.build(shape, outputs)
    HeNormal().build()(net, torch_generator(0, "init"))
    return net


def batch(shape: Shape, samples: int = 2) -> Tensor:
    return torch.randn(samples, *shape, generator=torch_generator(0, "data"))


def scores_of(given: Any) -> Tensor:
    scores = given.scores if isinstance(given, WithAuxiliary) else given
    assert isinstance(scores, Tensor)
    return scores


def field_of(spec: NetSpec, name: str) -> Any:
    return getattr(spec, name, None)


@each
def test_scores_have_the_right_shape(spec: NetSpec, shape: Shape) -> None:
    places = shape[1:] if spec.gives == "maps" else ()
    for outputs in (1, OUTPUTS):
        for samples in (1, 3):
            assert made(spec, shape, outputs).eval()(batch(shape, samples)).shape == (samples, outputs, *places)


@each
def test_gradient_reaches_every_parameter(spec: NetSpec, shape: Shape) -> None:
    """Every one that is to be trained; those behind a threshold get zeros, as calculus has it."""
    net = made(spec, shape).train()
    given = net(batch(shape, 4))
    beside = given.auxiliary if isinstance(given, WithAuxiliary) else ()
    torch.stack([(part * torch.randn_like(part)).sum() for part in (scores_of(given), *beside)]).sum().backward()
    stopped = field_of(spec, "activation") == "threshold"
    trained = {name: parameter for name, parameter in net.named_parameters() if parameter.requires_grad}
    assert trained
    for name, parameter in trained.items():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.any()) != (stopped and not name.startswith("head")), name


@each
def test_state_dict_makes_a_twin(spec: NetSpec, shape: Shape) -> None:
    net, twin = made(spec, shape).eval(), spec.build(shape, OUTPUTS).eval()
    twin.load_state_dict(net.state_dict())
    assert torch.equal(net(batch(shape)), twin(batch(shape)))


@each
def test_deepcopy_shares_nothing(spec: NetSpec, shape: Shape) -> None:
    net = made(spec, shape).eval()
    before = net(batch(shape))
    twin = copy.deepcopy(net)
    assert torch.equal(twin(batch(shape)), before)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1)
    assert torch.equal(net(batch(shape)), before)


@each
def test_bfloat16_autocast_is_close(spec: NetSpec, shape: Shape) -> None:
    """In one direction with the exact scores: eight bits of mantissa leave 0.4 % at each of up to hundreds of layers."""
    if field_of(spec, "activation") == "threshold" or spec.kind in ("mark-one", "segnet"):
        return  # a rounding there flips a unit, or the place of a maximum
    net = made(spec, shape).eval()
    exact = net(batch(shape))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = net(batch(shape))
    assert rough.dtype == torch.bfloat16
    assert torch.cosine_similarity(rough.float().flatten(), exact.flatten(), dim=0) > 0.98


@each
def test_channels_last_gives_the_same_scores(spec: NetSpec, shape: Shape) -> None:
    net, inputs = made(spec, shape).eval(), batch(shape)
    before = net(inputs)
    if len(shape) == 3:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    after = net.to(memory_format=torch.channels_last)(inputs)
    assert torch.allclose(after, before, rtol=1e-3, atol=1e-4 * float(before.detach().abs().max()))


@each
def test_train_and_eval_differ_only_by_dropout_and_batch_norm(spec: NetSpec, shape: Shape) -> None:
    net = made(spec, shape)
    differs = any(isinstance(module, _DropoutNd | _BatchNorm) for module in net.modules())
    torch.manual_seed(0)
    assert torch.equal(scores_of(net.train()(batch(shape))), net.eval()(batch(shape))) != differs


@each
def test_summary_adds_up(spec: NetSpec, shape: Shape) -> None:
    net = made(spec, shape).eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    summary = summarize(net, shape, batch=3)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(batch(shape, 3))
    assert summary.flops == counter.get_total_flops() == sum(layer.flops for layer in summary.layers)
    assert summary.parameters == sum(p.numel() for p in net.parameters())
    assert summary.trainable == sum(p.numel() for p in net.parameters() if p.requires_grad)
    assert summary.parameters == sum(layer.parameters for layer in summary.layers)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())


@each
def test_every_activation_is_a_module_of_its_own(spec: NetSpec, shape: Shape) -> None:
    """Hooks see what every activation gives: no module runs twice, and no function stands in for one."""
    net, runs = made(spec, shape).eval(), list[str]()
    for name, module in net.named_modules():
        if type(module) in {type(activation.build()) for activation in ACTIVATIONS.values()} - {nn.Identity}:
            module.register_forward_hook(lambda *_, name=name: runs.append(name))
    net(batch(shape))
    assert len(set(runs)) == len(runs)
    assert runs or spec.kind == "perceptron" or field_of(spec, "depth") == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning:copyreg")  # torch's exporter copies what it has deprecated itself
@pytest.mark.parametrize(
    "spec", [s for s in NETS if s.model_fields["kind"].default not in NOT_BUILT], ids=lambda s: s.__name__
)
def test_onnx_export(spec: type[NetSpec], tmp_path: Any) -> None:
    """What is exported is a valid graph, and ONNX's own evaluator gives the net's scores."""
    onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    reference = pytest.importorskip("onnx.reference", reason="needs the extra onnx")
    kind = spec.model_fields["kind"].default
    shape = shape_for(spec, kind)
    net, x, path = made(narrow(spec, kind), shape).eval(), batch(shape), tmp_path / "net.onnx"
    torch.onnx.export(net, (x,), path, dynamo=True)
    model = onnx.load(path)
    onnx.checker.check_model(model)
    scores, *_ = reference.ReferenceEvaluator(model).run(None, {model.graph.input[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(scores), scores_of(net(x)).detach(), rtol=1e-3, atol=1e-5)


def test_narrow_residual_nets_in_channels_last() -> None:
    """In a process of its own: torch 2.13's backward of a strided 1x1 convolution of 4 channels breaks the heap."""
    code = (
        "import torch; from markone.nets import ResNet;"
        "net = ResNet(kind='resnet-18', width=4).build((1, 8, 8), 10).to(memory_format=torch.channels_last);"
        "x = torch.randn(128, 1, 8, 8).contiguous(memory_format=torch.channels_last);"
        "[net(x).square().mean().backward() for _ in range(20)];"
        "assert all(p.grad.isfinite().all() for p in net.parameters())"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_auxiliary_losses_are_a_mean() -> None:
    """With the same scores everywhere the loss is that of the scores, so that a blind guess judges it."""
    from markone.training.learner import _with_auxiliary

    scores, targets = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    loss = _with_auxiliary(nn.functional.cross_entropy)
    alone = loss(scores, targets)
    assert torch.allclose(loss(WithAuxiliary(scores, (scores, scores), 0.3), targets), alone)
    worse = loss(WithAuxiliary(scores, (-scores, scores), 0.3), targets)
    beside = nn.functional.cross_entropy(-scores, targets)
    assert torch.allclose(worse, (alone * 1.3 + 0.3 * beside) / 1.6)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "layers"), [("cifar-resnet-1202", 1202), ("preact-resnet-1001", 1001)])
def test_the_deepest(kind: str, layers: int) -> None:
    """At their whole depth, with a quarter of the channels: the signal and the gradient go all the way."""
    spec = next(spec for spec in NETS if kind in spec.variants).from_dict({"kind": kind, "width": 4})
    net = made(spec, (3, 16, 16)).train()
    assert sum(isinstance(m, nn.Conv2d) and m.kernel_size != (1, 1) for m in net.modules()) >= layers // 3
    net(batch((3, 16, 16), 4)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in net.parameters())


FAMILIES = [spec for spec in NETS if "normalization" in spec.model_fields]


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("spec", FAMILIES, ids=lambda spec: spec.__name__)
def test_every_normalization_fits_every_net(spec: type[NetSpec], normalization: str) -> None:
    kind = spec.model_fields["kind"].default
    chosen, shape = narrow(spec, kind).edit("normalization", normalization), shape_for(spec, kind)
    net = made(chosen, shape)
    norms = {type(module) for module in net.modules() if "Norm" in type(module).__name__}
    expected = {"none": set(), "batch": {nn.BatchNorm1d, nn.BatchNorm2d}, "layer": {nn.LayerNorm, nn.GroupNorm}}
    assert norms <= expected.get(normalization, {nn.GroupNorm})
    assert bool(norms) == (normalization != "none")
    assert scores_of(net.train()(batch(shape, 3))).isfinite().all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("spec", [s for s in NETS if "activation" in s.model_fields], ids=lambda spec: spec.__name__)
def test_every_activation_fits_every_net(spec: type[NetSpec], activation: ActivationName) -> None:
    kind = spec.model_fields["kind"].default
    net = made(narrow(spec, kind).edit("activation", activation), shape_for(spec, kind))
    kinds = {type(a.build()) for a in ACTIVATIONS.values()} - {nn.Identity}
    found = {type(module) for module in net.modules()} & kinds
    assert found == ({type(ACTIVATIONS[activation].build())} & kinds)
    assert scores_of(net.train()(batch(shape_for(spec, kind), 3))).isfinite().all()


@pytest.mark.parametrize("spec", [s for s in NETS if "dropout" in s.model_fields], ids=lambda spec: spec.__name__)
def test_dropout_is_a_field_of_every_net(spec: type[NetSpec]) -> None:
    kind = spec.model_fields["kind"].default
    if kind in NOT_BUILT:
        return
    for fraction in (0.0, 0.25):
        net = made(narrow(spec, kind).edit("dropout", fraction), shape_for(spec, kind))
        fractions = {module.p for module in net.modules() if isinstance(module, _DropoutNd)}
        assert fractions - {0.7} == ({fraction} if fraction else set())  # 0.7: GoogLeNet's auxiliary heads


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


def test_the_inputs_of_a_summary_may_be_huge() -> None:
    """Nothing is computed: a net of 1.6 billion weights is summed up at once."""
    with torch.device("meta"):
        net = MLP(width=40_000, depth=2).build((10,), 10)
    assert summarize(net, (10,)).parameters == 10 * 40_000 + 40_000**2 + 40_000 * 10 + 80_010
