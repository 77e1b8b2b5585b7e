"""DenseNet: every layer sees the maps of all layers before it."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt

from markone.nets.activations import ActivationName
from markone.nets.net import CIFAR, NetSpec, NormalizationName, Variant, has_small_stem

if TYPE_CHECKING:
    from torch import nn

PAPER = "Huang, Liu, van der Maaten and Weinberger, Densely connected convolutional networks"

Kind = Literal["densenet-121", "densenet-161", "densenet-169", "densenet-201", "densenet-bc-100-12"]


def _imagenet(*depths: int, growth: int = 32) -> Variant:
    return Variant(PAPER, 2017, fields={"depths": depths, "growth": growth, "width": 2 * growth})


class DenseNet(NetSpec):
    """x <- [x, F(x)], F = norm, f, 1x1 convolution, norm, f, 3x3 convolution that adds ``growth`` channels.

    Images (n, channels, height, width) -> (n, outputs). Between two blocks of layers a 1x1 convolution compresses the
    channels and a mean halves the map. The modules have torchvision's names.
    """

    kind: Kind = "densenet-121"
    depths: tuple[PositiveInt, ...] = Field(
        (6, 12, 24, 16), min_length=1, max_length=8, description="layers in each block"
    )
    growth: int = Field(32, ge=1, le=1024, description="channels that each layer adds")
    width: int = Field(64, ge=1, le=4096, description="channels of the stem")
    compression: float = Field(0.5, gt=0.0, le=1.0, description="fraction of its channels that a block hands on")
    bottleneck: int | None = Field(
        4, ge=1, le=64, description="channels before each 3x3 convolution, as a multiple of growth; none: all there are"
    )
    stem: Literal["imagenet", "small"] | None = Field(
        None, description="7x7 convolution and pooling, 4 times smaller; or 3x3, same size; none: small up to 64 pixels"
    )
    activation: ActivationName = Field("relu", description="the function f")
    normalization: NormalizationName = Field("batch", description="normalization before each activation")
    dropout: float = Field(
        0.0, ge=0.0, lt=1.0, description="fraction of the channels' values that a layer adds set to zero while training"
    )

    variants: ClassVar = {
        "densenet-121": _imagenet(6, 12, 24, 16),
        "densenet-161": _imagenet(6, 12, 36, 24, growth=48),
        "densenet-169": _imagenet(6, 12, 32, 32),
        "densenet-201": _imagenet(6, 12, 48, 32),
        # 100 layers: three blocks of 16 layers of two convolutions, two transitions, the first and the last
        "densenet-bc-100-12": Variant(
            PAPER, 2017, CIFAR, 10, {"depths": (16, 16, 16), "growth": 12, "width": 24, "stem": "small"}
        ),
    }

    def make(self, input_shape: tuple[int, ...], outputs: int) -> "nn.Module":
        from markone.nets import dense

        small = has_small_stem(self.stem, input_shape)
        return dense.DenseNet(self, channels=input_shape[0], outputs=outputs, small=small)
