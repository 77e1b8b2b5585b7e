"""U-Net: a map of scores of the picture's own size, from coarse and fine maps together."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from markone.nets.activations import ActivationName
from markone.nets.net import NetSpec, NormalizationName, Variant

if TYPE_CHECKING:
    from torch import nn


class UNet(NetSpec):
    """Stages of two 3x3 convolutions, halved ``depth`` times and doubled as often; each way up is joined to its way down.

    Images (n, channels, height, width) -> maps (n, outputs, height, width), any size. Ronneberger, Fischer and Brox 2015;
    here convolutions are padded, so that maps keep their size, where the paper crops. ``upsampling = "resize"`` is Odena,
    Dumoulin and Olah's cure for checkerboards (2016). For small pictures take a width of 16 and a depth of 3.
    """

    kind: Literal["unet"] = "unet"
    depth: int = Field(4, ge=1, le=8, description="how often the map is halved")
    width: int = Field(64, ge=1, le=1024, description="channels of the first stage; doubled by each halving")
    upsampling: Literal["transposed", "resize"] = Field(
        "transposed", description="2x2 transposed convolution; or nearest neighbours and a 3x3 convolution"
    )
    activation: ActivationName = Field("relu", description="the function behind every convolution of a stage")
    normalization: NormalizationName = Field(
        "none", description="normalization between a convolution and its activation; batch trains faster than none"
    )
    dropout: float = Field(
        0.0, ge=0.0, lt=1.0, description="fraction of the coarsest map's features set to zero while training"
    )

    variants: ClassVar = {
        "unet": Variant(
            "Ronneberger, Fischer and Brox, U-Net: convolutional networks for biomedical image segmentation",
            2015,
            (1, 572, 572),
            2,
        )
    }
    gives: ClassVar[Literal["scores", "maps"]] = "maps"

    def make(self, input_shape: tuple[int, ...], outputs: int) -> "nn.Module":
        from markone.nets import maps

        return maps.UNet(
            self,
            channels=input_shape[0],
            outputs=outputs,
            widths=[self.width << place for place in range(self.depth + 1)],
            up=self.upsampling,
            dropout=self.dropout,
        )
