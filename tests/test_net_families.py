"""The families of published nets: torchvision's names and shapes, published sizes, small images, auxiliary heads.

tests/fixtures/torchvision_state_dicts.json has every tensor's name and shape of torchvision 0.26.0's models, made there on
the meta device with its defaults. On random weights ours gave torchvision's own scores to the last bit.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from markone.errors import SpecError
from markone.nets import VGG, AlexNet, DenseNet, Inception, NetSpec, ResNet, SqueezeNet
from markone.nets.blocks import WithAuxiliary
from markone.nets.initializers import HeNormal
from markone.seeds import torch_generator

TORCHVISION: dict[str, dict[str, list[int]]] = json.loads(
    (Path(__file__).parent / "fixtures" / "torchvision_state_dicts.json").read_text()
)
FAMILIES = (AlexNet, VGG, SqueezeNet, Inception, ResNet, DenseNet)
DIGIT, PHOTO = (1, 28, 28), (3, 32, 32)

SMALL: list[NetSpec] = [
    AlexNet(width=8, head_width=16),
    VGG(width=8, head_width=16),
    VGG(kind="cifar-vgg-16", width=8),
    SqueezeNet(width=16, stem_width=16),
    SqueezeNet(kind="squeezenet-1.0", width=16, stem_width=16, normalization="group"),
    Inception(width=8),
    Inception(kind="inception-v3", width=4),
    Inception(kind="small-inception", width=16),
    DenseNet(depths=(2, 2), growth=8, width=16),
    DenseNet(kind="densenet-bc-100-12", depths=(2, 2, 2), bottleneck=None, dropout=0.1),
]

each = pytest.mark.parametrize("spec", SMALL, ids=lambda spec: f"{spec.kind}-{spec.digest[:4]}")


def of_kind(kind: str, **fields: Any) -> NetSpec:
    family = next(family for family in FAMILIES if kind in family.variants)
    return family.from_dict({"kind": kind, **fields})


def weightless(spec: NetSpec, shape: tuple[int, ...], outputs: int) -> nn.Module:
    """On the meta device: no memory, no arithmetic."""
    with torch.device("meta"):
        return spec.build(shape, outputs)


def published(kind: str, **fields: Any) -> nn.Module:
    """The net as its paper has it."""
    spec = of_kind(kind, **fields)
    variant = spec.variants[kind]
    with torch.device("meta"):
        return spec.make(variant.input_shape, variant.outputs)


def size(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def drawn(spec: NetSpec, shape: tuple[int, ...], outputs: int = 4) -> nn.Module:
    net = spec.build(shape, outputs)
    HeNormal().build()(net, torch_generator(0, "init"))
    return net


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch_generator(0, "data"))


@pytest.mark.parametrize("kind", TORCHVISION)
def test_names_and_shapes_are_those_of_torchvision(kind: str) -> None:
    ours = {name: list(value.shape) for name, value in published(kind).state_dict().items()}
    assert ours == TORCHVISION[kind]


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("alexnet", 61_100_840),
        ("vgg-16", 138_357_544),
        ("vgg-19", 143_667_240),
        ("resnet-18", 11_689_512),
        ("resnet-50", 25_557_032),
        ("resnet-152", 60_192_808),
        ("densenet-121", 7_978_856),
        ("squeezenet-1.0", 1_248_424),
        ("squeezenet-1.1", 1_235_496),
        ("googlenet", 13_004_888),
        ("inception-v3", 27_161_264),
    ],
)
def test_published_size(kind: str, parameters: int) -> None:
    assert size(published(kind)) == parameters


@pytest.mark.parametrize(("kind", "parameters"), [("googlenet", 6_624_904), ("inception-v3", 23_834_568)])
def test_published_size_without_auxiliary_heads(kind: str, parameters: int) -> None:
    assert size(published(kind, auxiliary=None)) == parameters


@pytest.mark.parametrize(
    ("spec", "millions"),
    [
        (ResNet(kind="cifar-resnet-110"), 1.7),
        (ResNet(kind="cifar-resnet-1202"), 19.4),
        (DenseNet(kind="densenet-bc-100-12"), 0.8),
        (DenseNet(kind="densenet-bc-100-12", depths=(41, 41, 41), growth=24, width=48), 15.3),
        (DenseNet(kind="densenet-bc-100-12", depths=(31, 31, 31), growth=40, width=80), 25.6),
        (DenseNet(kind="densenet-bc-100-12", depths=(12,) * 3, width=16, compression=1.0, bottleneck=None), 1.0),
        (DenseNet(kind="densenet-bc-100-12", depths=(32,) * 3, width=16, compression=1.0, bottleneck=None), 7.0),
    ],
)
def test_size_in_the_papers_tables(spec: NetSpec, millions: float) -> None:
    """He et al. 2015, table 6; Huang et al. 2017, table 2."""
    with torch.device("meta"):
        assert round(size(spec.make(PHOTO, 10)) / 1e6, 1) == millions


def test_published_size_of_the_small_inception() -> None:
    """Zhang et al. 2017, table 1: 1,649,402; their batch normalization has a shift but no scale."""
    net = published("small-inception")
    scales = sum(module.weight.numel() for module in net.modules() if isinstance(module, nn.BatchNorm2d))
    assert size(net) - scales == 1_649_402


@pytest.mark.parametrize(
    "kind",
    [
        *("alexnet", "vgg-11", "vgg-19-bn", "cifar-vgg-16", "squeezenet-1.0", "squeezenet-1.1", "googlenet"),
        *("inception-v3", "small-inception", "densenet-121", "densenet-bc-100-12"),
    ],
)
def test_every_family_takes_digits(kind: str) -> None:
    net = weightless(of_kind(kind), DIGIT, 7).train()
    given = net(torch.zeros(2, *DIGIT, device="meta"))
    scores = [given.scores, *given.auxiliary] if isinstance(given, WithAuxiliary) else [given]
    assert all(part.shape == (2, 7) for part in scores)


@pytest.mark.parametrize(
    "spec",
    [
        AlexNet(width=8, head_width=32, dropout=0.0),
        VGG(kind="vgg-16-bn", width=8, head_width=32, dropout=0.0),
        SqueezeNet(width=16, stem_width=16, dropout=0.0, normalization="batch"),
        Inception(kind="small-inception", width=16),
        DenseNet(depths=(2, 2), growth=8, width=16),
    ],
    ids=lambda spec: spec.kind,
)
def test_learns_eight_images_by_heart(spec: NetSpec) -> None:
    net, images, labels = drawn(spec, DIGIT), noise(8, *DIGIT), torch.arange(8) % 4
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    losses = list[float]()
    for _ in range(25):
        loss = functional.cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


class Operations(TorchDispatchMode):
    """Counts what torch computes, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = Counter[str]()

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[operation.overloadpacket.__name__] += 1
        return operation(*args, **(kwargs or {}))


@each
def test_every_activation_is_a_module_of_its_own(spec: NetSpec) -> None:
    """Neither a function nor one module in two places: hooks would miss them."""
    net = weightless(spec.edit("activation", "tanh"), PHOTO, 3).train()
    modules = [module for module in net.modules() if isinstance(module, nn.Tanh)]
    with Operations() as operations:
        net(torch.zeros(2, *PHOTO, device="meta"))
    assert operations.counts["tanh"] == len(modules) > 0
    assert not any("relu" in name for name in operations.counts)


@each
def test_nothing_is_overwritten(spec: NetSpec) -> None:
    assert not any(getattr(module, "inplace", False) for module in weightless(spec, PHOTO, 3).modules())


@each
def test_normalization_dropout_and_bias_are_fields(spec: NetSpec) -> None:
    bare = weightless(spec.edit_all({"normalization": "none", "dropout": 0.0}), PHOTO, 3)
    assert not any(isinstance(m, nn.BatchNorm2d | nn.GroupNorm | nn.Dropout) for m in bare.modules())
    assert all(m.bias is not None for m in bare.modules() if isinstance(m, nn.Conv2d))
    rich = weightless(spec.edit_all({"normalization": "group", "dropout": 0.25}), PHOTO, 3)
    convs = sum(isinstance(module, nn.Conv2d) for module in rich.modules())
    norms = sum(isinstance(module, nn.GroupNorm) for module in rich.modules())
    # SqueezeNet's last convolution gives the scores; DenseNet has none behind the stem, but one behind all
    assert norms == convs - (spec.kind.startswith("squeezenet"))
    assert {module.p for module in rich.modules() if isinstance(module, nn.Dropout)} <= {0.25, 0.7}


@pytest.mark.parametrize("kind", ["alexnet", "squeezenet-1.0", "googlenet", "inception-v3", "densenet-121"])
def test_a_small_stem_changes_no_later_layer(kind: str) -> None:
    for name, value in weightless(of_kind(kind, stem="small"), PHOTO, 1000).state_dict().items():
        first = name in ("features.0.weight", "features.conv0.weight", "conv1.conv.weight")
        assert first or list(value.shape) == TORCHVISION[kind][name]


def test_vgg_leaves_off_the_pools_that_an_image_is_too_small_for() -> None:
    """The 28 pixels of a digit halve four times, and convolutions keep their names."""
    for side, pools in ((1, 0), (8, 3), (28, 4), (32, 5), (224, 5)):
        net = weightless(VGG(), (3, side, side), 1000)
        assert sum(isinstance(module, nn.MaxPool2d) for module in net.modules()) == pools
        assert {name: list(value.shape) for name, value in net.state_dict().items()} == TORCHVISION["vgg-16"]


@pytest.mark.parametrize("kind", ["googlenet", "inception-v3"])
def test_auxiliary_heads_are_for_training_only(kind: str) -> None:
    net = drawn(of_kind(kind, width=4, auxiliary=0.25), PHOTO)
    given = net.train()(noise(3, *PHOTO))
    assert isinstance(given, WithAuxiliary)
    assert given.weight == 0.25
    assert [part.shape for part in given.auxiliary] == [(3, 4)] * (2 if kind == "googlenet" else 1)
    sum(part.sum() for part in (given.scores, *given.auxiliary)).backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    assert isinstance(net.eval()(noise(3, *PHOTO)), Tensor)
    assert isinstance(drawn(of_kind(kind, width=4, auxiliary=None), PHOTO).train()(noise(3, *PHOTO)), Tensor)


@pytest.mark.parametrize("side", [1, 15, 16, 17, 35])
def test_auxiliary_head_of_inception_v3_at_every_size(side: int) -> None:
    """torchvision's takes maps of 17x17 and more; smaller ones give the 5x5 map for its convolution all the same."""
    net = drawn(Inception(kind="inception-v3", width=1), PHOTO).eval()
    maps = noise(2, 24, side, side)
    pooled = functional.avg_pool2d(maps, 5, 3) if side >= 17 else functional.adaptive_avg_pool2d(maps, 5)
    head = net.get_submodule("AuxLogits")
    features = head.get_submodule("conv1")(head.get_submodule("conv0")(pooled)).mean(dim=(2, 3))
    assert torch.equal(head(maps), head.get_submodule("fc")(features))


def test_small_inception_has_no_auxiliary_heads() -> None:
    with pytest.raises(SpecError, match=r'no auxiliary heads to weigh by 0\.3; take net\.auxiliary = "none"'):
        Inception(kind="small-inception", auxiliary=0.3).build(PHOTO, 10)


@pytest.mark.parametrize(
    ("spec", "side", "message"),
    [
        (
            AlexNet(stem="imagenet", head_width=8),
            62,
            "at layer features.12 nothing .* the next size it can take is 63x63",
        ),
        (SqueezeNet(), 3, "at layer features.8 nothing .* the next size it can take is 4x4"),
        (Inception(kind="small-inception", stem="imagenet", width=4), 2, "at layer maxpool1 .* is 3x3"),
        # the 3x3 stem up to 64 pixels needs 2^6 of them, and the 7x7 one behind them four times as many, less its rounding up
        (DenseNet(depths=(1,) * 7, growth=4), 40, "at layer features.transition6.pool .* is 64x64"),
        (DenseNet(depths=(1,) * 7, growth=4), 66, "at layer features.transition5.pool .* is 253x253"),
        (DenseNet(depths=(1, 1, 1, 1), growth=4), 7, "at layer features.transition3.pool .* is 8x8"),
    ],
)
def test_too_small_an_image(spec: NetSpec, side: int, message: str) -> None:
    with torch.device("meta"), pytest.raises(SpecError, match=message):
        spec.build((3, side, side), 10)


def test_a_dense_block_written_out() -> None:
    """Huang et al. 2017, equation 2: x_l = H([x_0, ..., x_(l-1)]), H = BN, ReLU, 1x1, BN, ReLU, 3x3."""
    net = drawn(DenseNet(depths=(3,), growth=4, width=6), PHOTO).eval()
    block = net.get_submodule("features.denseblock1")
    maps = [noise(2, 6, 5, 5)]
    for place in (1, 2, 3):
        layer = block.get_submodule(f"denselayer{place}")
        x = torch.cat(maps, 1)
        for part in (1, 2):
            x = functional.relu(layer.get_submodule(f"norm{part}")(x))
            x = functional.conv2d(x, layer.get_parameter(f"conv{part}.weight"), padding=part - 1)
        maps.append(x)
    assert torch.allclose(block(maps[0]), torch.cat(maps, 1), atol=1e-6)


def test_a_forked_inception_block_written_out() -> None:
    """Szegedy et al. 2015, figure 7."""
    net = drawn(Inception(kind="inception-v3", width=4), PHOTO).eval()
    block = net.get_submodule("Mixed_7c")
    x = noise(2, block.get_parameter("branch1x1.conv.weight").shape[1], 4, 4)

    def conv(name: str, x: Tensor) -> Tensor:
        weight = block.get_parameter(f"{name}.conv.weight")
        x = functional.conv2d(x, weight, padding=(weight.shape[2] // 2, weight.shape[3] // 2))
        return functional.relu(x / (1 + 1e-3) ** 0.5)  # fresh running statistics: mean 0, variance 1

    three, double = conv("branch3x3_1", x), conv("branch3x3dbl_2", conv("branch3x3dbl_1", x))
    parts = [
        conv("branch1x1", x),
        conv("branch3x3_2a", three),
        conv("branch3x3_2b", three),
        conv("branch3x3dbl_3a", double),
        conv("branch3x3dbl_3b", double),
        conv("branch_pool", functional.avg_pool2d(x, 3, 1, 1)),
    ]
    assert torch.allclose(block(x), torch.cat(parts, 1), atol=1e-5)


@pytest.mark.parametrize(
    ("photo", "name"), [("cat", "tabby"), ("coffee", "espresso"), ("jellyfish", "jellyfish"), ("lighthouse", "beacon")]
)
def test_squeezenet_names_photos(photo: str, name: str, real_data: Path) -> None:
    from PIL import Image
    from safetensors.torch import load_file

    net = SqueezeNet(kind="squeezenet-1.1").build((3, 224, 224), 1000).eval()
    net.load_state_dict(load_file(real_data / "weights" / "squeezenet1_1_imagenet.safetensors"))
    picture = Image.open(real_data / "photos" / f"{photo}.jpg").convert("RGB")
    factor = 256 / min(picture.size)
    picture = picture.resize((round(picture.width * factor), round(picture.height * factor)), Image.Resampling.BILINEAR)
    left, top = (picture.width - 224) // 2, (picture.height - 224) // 2
    crop = picture.crop((left, top, left + 224, top + 224))
    levels = torch.frombuffer(bytearray(crop.tobytes()), dtype=torch.uint8).view(224, 224, 3).permute(2, 0, 1) / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        scores = net(((levels - mean[:, None, None]) / std[:, None, None])[None])[0]
    names = (real_data / "weights" / "imagenet_synset_words.txt").read_text().splitlines()
    assert any(name in names[place] for place in scores.topk(5).indices)
