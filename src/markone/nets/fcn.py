"""Fully convolutional nets: VGG's classifier at every place, its scores brought back to the picture's size."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt

from markone.errors import SpecError
from markone.nets.activations import ActivationName
from markone.nets.net import NetSpec, NormalizationName, Variant

if TYPE_CHECKING:
    from torch import nn

PAPER = "Long, Shelhamer and Darrell, Fully convolutional networks for semantic segmentation"


def _kind(skips: int) -> Variant:
    return Variant(PAPER, 2015, (3, 500, 500), 21, {"skips": skips})


class FCN(NetSpec):
    """VGG-16 with its linear layers as convolutions; coarse scores are enlarged and added to those of finer maps.

    Images (n, channels, height, width) -> maps (n, outputs, height, width), any size. fcn-32 enlarges the scores of the
    last map 32 times; fcn-16 and fcn-8 add those of the one or two before it on the way. Long, Shelhamer and Darrell 2015;
    ``upsampling = "bilinear"`` is their fixed interpolation, "transposed" a learned one with a kernel of twice its stride,
    which begins as the recipe's initialization draws it and not as their bilinear kernel.
    """

    kind: Literal["fcn-32", "fcn-16", "fcn-8"] = "fcn-8"
    depths: tuple[PositiveInt, ...] = Field(
        (2, 2, 3, 3, 3), min_length=1, max_length=8, description="3x3 convolutions in each stage, before its pooling"
    )
    width: int = Field(
        64, ge=1, le=1024, description="channels of the first stage; doubled by each, up to 8 times as many"
    )
    hidden: int = Field(4096, ge=1, le=16384, description="channels of the two convolutions that were linear layers")
    skips: int = Field(2, ge=0, le=7, description="how many finer maps give scores too; less than there are stages")
    upsampling: Literal["bilinear", "transposed", "resize"] = Field(
        "bilinear",
        description="how scores are enlarged: interpolated; by a transposed convolution; or interpolated and then a 3x3"
        " convolution",
    )
    activation: ActivationName = Field("relu", description="the function behind every convolution of a stage")
    normalization: NormalizationName = Field(
        "none", description="normalization between a convolution and its activation; batch trains faster than none"
    )
    dropout: float = Field(
        0.5, ge=0.0, lt=1.0, description="fraction of features behind the once linear layers set to zero while training"
    )

    variants: ClassVar = {"fcn-32": _kind(0), "fcn-16": _kind(1), "fcn-8": _kind(2)}
    gives: ClassVar[Literal["scores", "maps"]] = "maps"

    def make(self, input_shape: tuple[int, ...], outputs: int) -> "nn.Module":
        from markone.nets import maps

        if self.skips >= len(self.depths):
            raise SpecError(
                "net-skips",
                f"net.skips = {self.skips} needs more stages than that, and net.depths has {len(self.depths)};"
                f" take net.skips = {len(self.depths) - 1} or less.",
            )
        return maps.FCN(
            self,
            channels=input_shape[0],
            outputs=outputs,
            widths=maps.vgg_widths(self.width, len(self.depths)),
            depths=self.depths,
            hidden=self.hidden,
            dropout=self.dropout,
            skips=self.skips,
            up=self.upsampling,
        )
