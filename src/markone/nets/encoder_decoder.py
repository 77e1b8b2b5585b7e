"""Encoder and decoder: a picture is made small and large again, without skip connections."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt

from markone.nets.activations import ActivationName
from markone.nets.net import NetSpec, NormalizationName, Variant

if TYPE_CHECKING:
    from torch import nn


class EncoderDecoder(NetSpec):
    """Stages of 3x3 convolutions that each end in a 2x2 max pooling, then their mirror image.

    Images (n, channels, height, width) -> maps (n, outputs, height, width), any size. All that the decoder knows has passed
    the smallest map; with ``upsampling = "unpooling"`` also where in each 2x2 window the maximum was. Noh, Hong and Han
    2015; segnet: Badrinarayanan, Kendall and Cipolla 2017.
    """

    kind: Literal["encoder-decoder", "segnet"] = "encoder-decoder"
    depths: tuple[PositiveInt, ...] = Field(
        (2, 2, 2, 2),
        min_length=1,
        max_length=8,
        description="convolutions in each stage of the encoder, and of its mirror",
    )
    width: int = Field(
        64, ge=1, le=1024, description="channels of the first stage; doubled by each, up to 8 times as many"
    )
    upsampling: Literal["transposed", "resize", "unpooling"] = Field(
        "transposed",
        description="2x2 transposed convolution; nearest neighbours and a 3x3 convolution; or each value back to where"
        " it was the maximum",
    )
    activation: ActivationName = Field("relu", description="the function behind every convolution of a stage")
    normalization: NormalizationName = Field(
        "batch", description="normalization between a convolution and its activation"
    )
    dropout: float = Field(
        0.0, ge=0.0, lt=1.0, description="fraction of the smallest map's features set to zero while training"
    )

    variants: ClassVar = {
        "encoder-decoder": Variant(
            "Noh, Hong and Han, Learning deconvolution network for semantic segmentation", 2015, outputs=21
        ),
        "segnet": Variant(
            "Badrinarayanan, Kendall and Cipolla, SegNet: a deep convolutional encoder-decoder architecture for image"
            " segmentation",
            2017,
            (3, 360, 480),
            11,
            {"depths": (2, 2, 3, 3, 3), "upsampling": "unpooling"},
        ),
    }
    gives: ClassVar[Literal["scores", "maps"]] = "maps"

    def make(self, input_shape: tuple[int, ...], outputs: int) -> "nn.Module":
        from markone.nets import maps

        return maps.EncoderDecoder(
            self,
            channels=input_shape[0],
            outputs=outputs,
            widths=maps.vgg_widths(self.width, len(self.depths)),
            depths=self.depths,
            up=self.upsampling,
            dropout=self.dropout,
        )
