"""Residual nets: ResNet, ResNeXt and Wide ResNet for ImageNet, the thin ones for CIFAR, pre-activation, and plain nets."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt

from markone.errors import SpecError
from markone.nets.activations import ActivationName
from markone.nets.net import CIFAR, NetSpec, NormalizationName, Variant, has_small_stem

if TYPE_CHECKING:
    from torch import nn

RESNET = "He, Zhang, Ren and Sun, Deep residual learning for image recognition"
PREACT = "He, Zhang, Ren and Sun, Identity mappings in deep residual networks"
RESNEXT = "Xie, Girshick, Dollár, Tu and He, Aggregated residual transformations for deep neural networks"
WIDE = "Zagoruyko and Komodakis, Wide residual networks"

Kind = Literal[
    "resnet-18",
    "resnet-34",
    "resnet-50",
    "resnet-101",
    "resnet-152",
    "resnext-50-32x4d",
    "resnext-101-32x8d",
    "wide-resnet-50-2",
    "wide-resnet-101-2",
    "cifar-resnet-20",
    "cifar-resnet-32",
    "cifar-resnet-44",
    "cifar-resnet-56",
    "cifar-resnet-110",
    "cifar-resnet-1202",
    "preact-resnet-164",
    "preact-resnet-1001",
    "plain-18",
    "plain-34",
    "plain-20",
    "plain-32",
    "plain-44",
    "plain-56",
    "plain-110",
]


def _imagenet(*depths: int, bottleneck: bool = True, **fields: object) -> Variant:
    return Variant(RESNET, 2015, fields={"depths": depths, "bottleneck": bottleneck, **fields})


def _cifar(layers: int, **fields: object) -> Variant:
    """Three stages of n blocks with two layers each, and the first and the last: 6 n + 2."""
    thin = {"depths": ((layers - 2) // 6,) * 3, "width": 16, "stem": "small", "shortcut": "padding"}
    return Variant(RESNET, 2015, CIFAR, 10, {**thin, **fields})


def _preactivation(layers: int) -> Variant:
    """Three stages of n bottlenecks with three layers each, and the first and the last: 9 n + 2."""
    fields = {
        "depths": ((layers - 2) // 9,) * 3,
        "width": 16,
        "stem": "small",
        "bottleneck": True,
        "preactivation": True,
    }
    return Variant(PREACT, 2016, CIFAR, 10, fields)


def _cited(variant: Variant, paper: str, year: int) -> Variant:
    return Variant(paper, year, variant.input_shape, variant.outputs, variant.fields)


class ResNet(NetSpec):
    """x <- f(x + F(x)), F two 3x3 or a bottleneck of 1x1, 3x3, 1x1 convolutions; with pre-activation x <- x + F(f(norm(x))).

    Images (n, channels, height, width) -> (n, outputs). Each stage after the first halves the map and doubles the width.
    The modules of the ImageNet kinds have torchvision's names. ``shortcut = "none"`` gives the plain net of the same
    layers, which the paper compares with; ``depths`` makes any depth of either.
    """

    kind: Kind = "resnet-18"
    depths: tuple[PositiveInt, ...] = Field(
        (2, 2, 2, 2), min_length=1, max_length=8, description="blocks in each stage"
    )
    width: int = Field(64, ge=1, le=4096, description="channels of the stem and the first stage; doubled by each stage")
    bottleneck: bool = Field(False, description="blocks of 1x1, 3x3 and 1x1 convolutions that give 4 times the width")
    groups: int = Field(1, ge=1, le=4096, description="groups of the 3x3 convolution of a bottleneck (ResNeXt: 32)")
    group_width: int = Field(
        64, ge=1, le=4096, description="channels of one group where width is 64; in proportion elsewhere (Wide: 128)"
    )
    shortcut: Literal["projection", "padding"] | None = Field(
        "projection",
        description="how a shortcut changes size: by a 1x1 convolution, or by leaving out pixels and padding channels with"
        " zeros; none: no shortcut anywhere, a plain net",
    )
    preactivation: bool = Field(
        False, description="normalization and activation before each convolution, none behind the sum"
    )
    stem: Literal["imagenet", "small"] | None = Field(
        None, description="7x7 convolution and pooling, 4 times smaller; or 3x3, same size; none: small up to 64 pixels"
    )
    activation: ActivationName = Field("relu", description="the function f")
    normalization: NormalizationName = Field("batch", description="normalization of each convolution")
    dropout: float = Field(
        0.0, ge=0.0, lt=1.0, description="fraction of features before the head set to zero while training"
    )

    variants: ClassVar = {
        "resnet-18": _imagenet(2, 2, 2, 2, bottleneck=False),
        "resnet-34": _imagenet(3, 4, 6, 3, bottleneck=False),
        "resnet-50": _imagenet(3, 4, 6, 3),
        "resnet-101": _imagenet(3, 4, 23, 3),
        "resnet-152": _imagenet(3, 8, 36, 3),
        "resnext-50-32x4d": _cited(_imagenet(3, 4, 6, 3, groups=32, group_width=4), RESNEXT, 2017),
        "resnext-101-32x8d": _cited(_imagenet(3, 4, 23, 3, groups=32, group_width=8), RESNEXT, 2017),
        "wide-resnet-50-2": _cited(_imagenet(3, 4, 6, 3, group_width=128), WIDE, 2016),
        "wide-resnet-101-2": _cited(_imagenet(3, 4, 23, 3, group_width=128), WIDE, 2016),
        **{f"cifar-resnet-{layers}": _cifar(layers) for layers in (20, 32, 44, 56, 110, 1202)},
        **{f"preact-resnet-{layers}": _preactivation(layers) for layers in (164, 1001)},
        "plain-18": _imagenet(2, 2, 2, 2, bottleneck=False, shortcut=None),
        "plain-34": _imagenet(3, 4, 6, 3, bottleneck=False, shortcut=None),
        **{f"plain-{layers}": _cifar(layers, shortcut=None) for layers in (20, 32, 44, 56, 110)},
    }

    def make(self, input_shape: tuple[int, ...], outputs: int) -> "nn.Module":
        from markone.nets import residual

        if self.groups > 1 and not self.bottleneck:
            raise SpecError(
                "net-groups", f"net.groups = {self.groups} needs net.bottleneck = true, or take net.groups = 1."
            )
        if self.shortcut == "padding" and self.bottleneck:
            raise SpecError(
                "net-shortcut",
                'net.shortcut = "padding" is made for blocks of two convolutions; with net.bottleneck take "projection".',
            )
        small = has_small_stem(self.stem, input_shape)
        return residual.ResNet(self, channels=input_shape[0], outputs=outputs, small=small)
