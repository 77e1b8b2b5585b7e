"""SqueezeNet: fire modules, with a fiftieth of AlexNet's parameters."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt

from markone.nets.activations import ActivationName
from markone.nets.net import NetSpec, NormalizationName, Variant, has_small_stem

if TYPE_CHECKING:
    from torch import nn

PAPER = (
    "Iandola, Han, Moskewicz, Ashraf, Dally and Keutzer, SqueezeNet: AlexNet-level accuracy with 50x fewer parameters"
    " and <0.5MB model size"
)


class SqueezeNet(NetSpec):
    """Fire modules, which squeeze maps by 1x1 and expand them by 1x1 and 3x3 convolutions, then 1x1 to the scores.

    Images (n, channels, height, width) -> (n, outputs), the mean over places of f(scores there), f the activation. Version
    1.1, by the same authors in their code, computes 2.4 times less. The modules have torchvision's names.
    """

    kind: Literal["squeezenet-1.0", "squeezenet-1.1"] = "squeezenet-1.1"
    depths: tuple[PositiveInt, ...] = Field(
        (2, 2, 4), min_length=1, max_length=8, description="fire modules in each stage; a pool is between two stages"
    )
    width: int = Field(
        64,
        ge=4,
        le=4096,
        description="channels of each expansion of the first two fire modules; as many more every two",
    )
    stem_width: int = Field(64, ge=1, le=4096, description="channels of the first convolution")
    stem_kernel: int = Field(3, ge=1, le=15, description="side of the first convolution's kernel in the imagenet stem")
    stem: Literal["imagenet", "small"] | None = Field(
        None, description="a convolution and pooling, 4 times smaller; or 3x3, same size; none: small up to 64 pixels"
    )
    activation: ActivationName = Field("relu", description="the function behind every convolution")
    normalization: NormalizationName = Field(
        "none", description="normalization between a convolution and its activation, but for the last"
    )
    dropout: float = Field(
        0.5, ge=0.0, lt=1.0, description="fraction of features before the last convolution set to zero while training"
    )

    variants: ClassVar = {
        "squeezenet-1.0": Variant(PAPER, 2016, fields={"depths": (3, 4, 1), "stem_width": 96, "stem_kernel": 7}),
        "squeezenet-1.1": Variant(PAPER, 2016, fields={"depths": (2, 2, 4), "stem_width": 64, "stem_kernel": 3}),
    }

    def make(self, input_shape: tuple[int, ...], outputs: int) -> "nn.Module":
        from markone.nets import classic

        small = has_small_stem(self.stem, input_shape)
        return classic.SqueezeNet(self, channels=input_shape[0], outputs=outputs, small=small)
