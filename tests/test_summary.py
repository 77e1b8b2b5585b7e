"""What a summary says of layers, against torch's own counts, gradients of real nets, and published numbers."""

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from markone.errors import SpecError
from markone.nets import MLP, NETS, ConvNet, NetSpec, ResNet, UNet
from markone.nets.catalogue import SIZELESS, catalogue, counted
from markone.nets.fit import failing_layer, next_side, require_fit
from markone.nets.summary import LayerSummary, Summary, summarize
from markone.seeds import torch_generator

FEW_LAYERS = 70


class Branches(nn.Module):
    """Two paths joined by concatenation, a sum over a shortcut with a slice, padding, and scores for training only."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 4, 5, stride=2, padding="valid")
        self.b = nn.Sequential(nn.ZeroPad2d((1, 2, 3, 4)), nn.Conv2d(3, 4, (12, 8), stride=2))
        self.wide = nn.Conv2d(8, 8, 3, padding="same", dilation=2, groups=2)
        self.inplace = nn.ReLU(inplace=True)
        self.up = nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1)
        self.extra = nn.Linear(3, 2)
        self.head = nn.Linear(3, 2)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat([self.a(x), self.b(x)[:, :, : (x.shape[2] - 5) // 2 + 1, : (x.shape[3] - 5) // 2 + 1]], dim=1)
        y = self.up(self.inplace(y + self.wide(y)))
        y = (y * self.scale).mean(dim=(2, 3))
        if self.training:
            return self.head(y) + self.extra(y)
        scores: Tensor = self.head(y)
        return scores


def layer(summary: Summary, name: str) -> LayerSummary:
    return next(layer for layer in summary.layers if layer.name == name)


def test_every_column_by_hand() -> None:
    net = Branches().eval()
    summary = summarize(net, (3, 20, 24), batch=2)
    a = layer(summary, "a")
    assert (a.kernel, a.stride, a.padding, a.dilation, a.groups) == ((5, 5), (2, 2), (0, 0), (1, 1), 1)
    assert a.output_shape == (2, 4, 8, 10)
    assert (a.parameters, a.flops) == (4 * 3 * 25 + 4, 2 * 2 * 4 * 8 * 10 * 3 * 25)
    assert (a.receptive_field, a.effective_stride, a.activation_bytes) == ((5, 5), (2, 2), 4 * 4 * 8 * 10)
    assert layer(summary, "b.1").receptive_field == (12, 8)
    wide = layer(summary, "wide")
    assert (wide.kernel, wide.padding, wide.dilation, wide.groups) == ((3, 3), (2, 2), (2, 2), 2)
    # rows: a sees 0 to 4, b -3 to 8, so both -3 to 8, and two steps of 2 x 2 to either side; columns: -1 to 6
    assert wide.receptive_field == (12 + 2 * 4, 8 + 2 * 4)
    assert layer(summary, "up").effective_stride == (1, 1)
    assert (layer(summary, "head").receptive_field, layer(summary, "head").effective_stride) == ((20, 24), None)
    extra = layer(summary, "extra")
    assert (extra.used, extra.parameters, extra.flops, extra.activation_bytes) == (False, 8, 0, 0)
    assert all(layer.used for layer in summary.layers if layer.name != "extra")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(torch.zeros(2, 3, 20, 24))
    assert summary.flops == counter.get_total_flops() == sum(layer.flops for layer in summary.layers)
    assert summary.parameters == sum(p.numel() for p in net.parameters()) == sum(x.parameters for x in summary.layers)


def test_what_a_net_computes_between_its_layers_counts_too() -> None:
    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(3, 4)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.first(x)
            return y @ y.T

    summary = summarize(Product(), (3,), batch=5)
    assert [(layer.name, layer.flops) for layer in summary.layers] == [
        ("first", 2 * 5 * 3 * 4),
        ("", 2 * 5 * 4 * 5),
    ]


@pytest.mark.parametrize(
    "module",
    [
        nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 2), groups=2),
        nn.Conv2d(4, 6, 3, padding="same", dilation=2),
        nn.ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1, groups=2),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.MaxPool2d((2, 3), padding=(0, 1), dilation=(2, 1)),
        nn.MaxPool2d(2),
        nn.AvgPool2d(2),
        nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
        nn.AdaptiveAvgPool2d((3, 5)),
        nn.AdaptiveAvgPool2d((None, 1)),
        nn.AdaptiveMaxPool2d(2),
        nn.BatchNorm2d(4),
        nn.GroupNorm(2, 4),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.ReplicationPad2d((1, 0, 2, 3)),
        nn.PixelShuffle(2),
    ],
    ids=repr,
)
def test_shapes_are_torchs(module: nn.Module) -> None:
    real = module.eval()(torch.zeros(2, 4, 10, 13))
    assert summarize(module, (4, 10, 13), batch=2).layers[0].output_shape == tuple(real.shape)


def test_a_layer_that_is_not_followed_says_nothing() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.PixelShuffle(2), nn.Conv2d(1, 1, 3))
    assert [layer.receptive_field for layer in summarize(net, (3, 9, 9)).layers] == [(3, 3), None, None]


def smooth(spec: NetSpec, shape: tuple[int, ...]) -> nn.Module:
    """The net with weights above zero and means for maxima, so that no gradient inside a field is zero by chance."""
    net = spec.build(shape, 2).eval()
    for module in list(net.modules()):
        for name, inner in list(module.named_children()):
            if isinstance(inner, nn.MaxPool2d):
                setattr(module, name, nn.AvgPool2d(inner.kernel_size, inner.stride, inner.padding))
    generator = torch_generator(0, "init")
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            elif parameter.dim() > 1:
                parameter.copy_(torch.rand(parameter.shape, generator=generator) / parameter[0].numel() + 1e-3)
    return net.double()


@pytest.mark.parametrize(
    ("spec", "shape", "name"),
    [
        (ResNet(kind="cifar-resnet-20", width=2, depths=(2, 2, 2)), (1, 100, 96), "layer3.1.conv2"),
        (ResNet(kind="preact-resnet-164", width=2, depths=(2, 2, 2)), (1, 100, 96), "layer3.1.conv2"),
        (ResNet(kind="resnet-18", width=2, depths=(1, 1), stem="imagenet"), (1, 120, 120), "layer2.0.downsample.0"),
        (ResNet(kind="plain-20", width=2, depths=(1, 2)), (1, 64, 80), "layer2.1.conv2"),
        (ConvNet(width=2), (1, 120, 128), "stages.1.1.conv"),
        (UNet(width=2, depth=3), (1, 200, 200), "head"),
        (UNet(width=2, depth=2, upsampling="resize"), (1, 144, 160), "head"),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_the_field_is_where_the_gradient_is(spec: NetSpec, shape: tuple[int, ...], name: str) -> None:
    """The widest extent of non-zero gradients over places in the middle; which is the widest depends on the phase."""
    net, maps = smooth(spec, shape), list[Tensor]()
    net.get_submodule(name).register_forward_hook(lambda _module, _inputs, output: maps.append(output))
    x = torch.rand(1, *shape, dtype=torch.float64, generator=torch_generator(0, "data")).requires_grad_()
    net(x)
    height, width = maps[0].shape[2:]
    extents = []
    for shift in range(8 if spec.kind == "unet" else 1):
        value = maps[0][0, 0, height // 2 + shift, width // 2 + shift]
        seen = torch.autograd.grad(value, x, retain_graph=True)[0][0, 0].nonzero()
        extents.append(seen.amax(dim=0) - seen.amin(dim=0) + 1)
    found = layer(summarize(net, shape), name)
    assert found.receptive_field == tuple(torch.stack(extents).amax(dim=0).tolist())
    assert all(size < side for size, side in zip(found.receptive_field or (), shape[1:], strict=True)), "cut off"


@pytest.mark.parametrize(
    ("kind", "size"), [("alexnet", 195), ("vgg-16", 212), ("resnet-18", 435), ("inception-v3", 1311)]
)
def test_published_fields(kind: str, size: int) -> None:
    """What the last map before the head sees; ResNet-18 by its own layers, the others in table 1 of Araujo, Norris and Sim,
    Computing receptive fields of convolutional neural networks, Distill 2019."""
    maps = [layer for layer in of_kind(kind).layers if layer.effective_stride is not None]
    last = [layer.receptive_field for layer in maps if layer.effective_stride == (32, 32)]
    assert maps[-1].effective_stride == (32, 32)
    for side in (0, 1):  # the last blocks of Inception have branches of 1x3 and of 3x1
        assert max(field[side] for field in last if field) == size


def test_resnet_50_sees_less_than_published_because_of_where_its_stride_is() -> None:
    """The published 483 has the stride of a stage before or behind all its 3x3 convolutions; torchvision's has it in the
    first, which then steps by the finer pixels of the stage before: 8 + 16 + 32 less."""
    assert layer(of_kind("resnet-50"), "layer4.2.conv3").receptive_field == (483 - 8 - 16 - 32,) * 2


def of_kind(kind: str) -> Summary:
    spec = next(net for net in NETS if kind in net.variants).from_dict({"kind": kind})
    variant = spec.variants[kind]
    with torch.device("meta"):
        net = spec.build(variant.input_shape, variant.outputs)
    return summarize(net, variant.input_shape)


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        (MLP(width=16, dropout=0.5), (1, 6, 6)),
        (ConvNet(width=8), (3, 16, 16)),
        (ResNet(kind="cifar-resnet-20", width=4), (3, 32, 32)),
        (ResNet(kind="preact-resnet-164", width=4, depths=(1, 1, 1)), (3, 16, 16)),
        (UNet(width=4, depth=2), (3, 32, 32)),
    ],
    ids=lambda value: getattr(value, "kind", None),
)
def test_training_bytes_are_what_autograd_keeps(spec: NetSpec, shape: tuple[int, ...]) -> None:
    net = spec.build(shape, 5).train()
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    parameters = {parameter.untyped_storage().data_ptr() for parameter in net.parameters()}
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        net(torch.rand(2, *shape))
    total = sum(t.untyped_storage().nbytes() for place, t in kept.items() if place not in parameters)
    assert summarize(net, shape).training_bytes == pytest.approx(total / 2, abs=1)


def test_the_catalogue_lists_every_kind_and_is_fresh() -> None:
    """Nets of many layers are counted anew in the slow test below."""
    entries = catalogue()
    assert {entry.name for entry in entries} == {kind for net in NETS for kind in net.variants}, (
        "python scripts/nets.py"
    )
    years = [entry.year for entry in entries]
    assert years == sorted(years)
    for entry in entries:
        if entry.layers is not None and entry.layers < FEW_LAYERS:
            assert_fresh(entry.name)


@pytest.mark.slow
def test_the_whole_catalogue_is_fresh() -> None:
    for entry in catalogue():
        if entry.name not in SIZELESS:
            assert_fresh(entry.name)


def assert_fresh(kind: str) -> None:
    entry, found = next(entry for entry in catalogue() if entry.name == kind), counted(kind)
    assert (entry.parameters, entry.flops) == (found["parameters"], found["flops"]), f"{kind}: python scripts/nets.py"


class Shrinking(nn.Module):
    """A chain that leaves nothing of images below 15 pixels: (15 - 5) // 2 + 1 = 6, 6 // 2 = 3, 3 - 3 + 1 = 1."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 2, 5, stride=2)
        self.pool = nn.MaxPool2d(2)
        self.last = nn.Conv2d(2, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.last(self.pool(self.first(x))).mean(dim=(2, 3))
        return scores


class ShrinkingSpec(ConvNet):
    def make(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        return Shrinking()


def test_the_layer_that_fails_and_the_smallest_image() -> None:
    spec, net = ShrinkingSpec(), Shrinking()
    assert [failing_layer(net, (1, side, side)) for side in (3, 6, 14, 15)] == ["first", "pool", "last", None]
    assert [next_side(spec, 1, 2, above=side) for side in (0, 1, 8, 14, 15, 40)] == [15, 15, 15, 15, 16, 41]
    with pytest.raises(SpecError) as caught:
        require_fit(spec, net, (1, 40, 8), 2)
    assert caught.value.slug == "input-too-small"
    assert str(caught.value) == (
        "net convnet cannot take images of 40x8 pixels: at layer last nothing is left of the map; "
        "the next size it can take is 15x15."
    )
    assert not any(module._forward_pre_hooks for module in net.modules())


def test_what_looks_at_values_is_left_to_the_first_real_input() -> None:
    class Looking(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if bool(x.sum() > 0) else -x

    assert failing_layer(Looking(), (3, 4, 4)) is None
