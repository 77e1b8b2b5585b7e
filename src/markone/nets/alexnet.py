"""AlexNet: the net that began deep learning for pictures."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from markone.nets.activations import ActivationName
from markone.nets.net import NetSpec, NormalizationName, Variant, has_small_stem

if TYPE_CHECKING:
    from torch import nn


class AlexNet(NetSpec):
    """Five convolutions, three pools, three linear layers; maps are averaged to 6x6 before the first linear layer.

    Images (n, channels, height, width) -> (n, outputs). The layers are those of one column of Krizhevsky, One weird trick
    for parallelizing convolutional neural networks, 2014, without local response normalization, and have torchvision's
    names.
    """

    kind: Literal["alexnet"] = "alexnet"
    width: int = Field(
        64, ge=1, le=4096, description="channels of the first convolution; 3, 6, 4, 4, ... times of it later"
    )
    depth: int = Field(3, ge=1, le=1000, description="3x3 convolutions behind the first two convolutions")
    head_width: int = Field(4096, ge=1, le=65_536, description="units of each of the two hidden linear layers")
    stem: Literal["imagenet", "small"] | None = Field(
        None,
        description="11x11 convolution and pooling, 8 times smaller; or 3x3, same size; none: small up to 64 pixels",
    )
    activation: ActivationName = Field("relu", description="the function behind every hidden layer")
    normalization: NormalizationName = Field(
        "none", description="normalization between a convolution and its activation"
    )
    dropout: float = Field(
        0.5,
        ge=0.0,
        lt=1.0,
        description="fraction of features before each hidden linear layer set to zero while training",
    )

    variants: ClassVar = {
        "alexnet": Variant(
            "Krizhevsky, Sutskever and Hinton, ImageNet classification with deep convolutional neural networks", 2012
        )
    }

    def make(self, input_shape: tuple[int, ...], outputs: int) -> "nn.Module":
        from markone.nets import classic

        small = has_small_stem(self.stem, input_shape)
        return classic.alexnet(self, channels=input_shape[0], outputs=outputs, small=small)
