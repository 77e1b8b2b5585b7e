"""VGG: 3x3 convolutions, many of them."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt

from markone.nets.activations import ActivationName
from markone.nets.net import CIFAR, NetSpec, NormalizationName, Variant

if TYPE_CHECKING:
    from torch import nn

PAPER = "Simonyan and Zisserman, Very deep convolutional networks for large-scale image recognition"
DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}  # table 1: A, B, D, E

Kind = Literal[
    "vgg-11",
    "vgg-13",
    "vgg-16",
    "vgg-19",
    "vgg-11-bn",
    "vgg-13-bn",
    "vgg-16-bn",
    "vgg-19-bn",
    "cifar-vgg-16",
]


class VGG(NetSpec):
    """Stages of 3x3 convolutions, each with a pool behind it, and three linear layers on maps averaged to 7x7.

    Images (n, channels, height, width) -> (n, outputs). Stages after the first have 2, 4, 8, 8, ... times its width. On
    images too small for all the pools the last ones are left off. The modules have torchvision's names.
    """

    kind: Kind = "vgg-16"
    depths: tuple[PositiveInt, ...] = Field(
        DEPTHS[16], min_length=1, max_length=8, description="convolutions in each stage"
    )
    width: int = Field(
        64, ge=1, le=4096, description="channels of the first stage; doubled by each stage up to 8 times"
    )
    head_width: int | None = Field(
        4096,
        ge=1,
        le=65_536,
        description="units of each of the two hidden linear layers; none: one linear layer on the mean over places",
    )
    activation: ActivationName = Field("relu", description="the function behind every hidden layer")
    normalization: NormalizationName = Field(
        "none", description="normalization between a convolution and its activation"
    )
    dropout: float = Field(
        0.5,
        ge=0.0,
        lt=1.0,
        description="fraction of each hidden linear layer's units, or without one of the features, set to zero while training",
    )

    variants: ClassVar = {
        **{f"vgg-{layers}": Variant(PAPER, 2014, fields={"depths": depths}) for layers, depths in DEPTHS.items()},
        **{
            f"vgg-{layers}-bn": Variant(PAPER, 2014, fields={"depths": depths, "normalization": "batch"})
            for layers, depths in DEPTHS.items()
        },
        "cifar-vgg-16": Variant(
            PAPER, 2014, CIFAR, 10, {"depths": DEPTHS[16], "normalization": "batch", "head_width": None, "dropout": 0.0}
        ),
    }

    def make(self, input_shape: tuple[int, ...], outputs: int) -> "nn.Module":
        from markone.nets import classic

        pools = min(input_shape[1:]).bit_length() - 1  # how often the shorter side can be halved
        return classic.vgg(self, channels=input_shape[0], outputs=outputs, pools=pools)
