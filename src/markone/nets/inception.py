"""Inception nets: convolutions of several sizes side by side."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, PositiveInt

from markone.errors import SpecError
from markone.nets.activations import ActivationName
from markone.nets.net import SMALL_SIDE, NetSpec, NormalizationName, Variant, has_small_stem

if TYPE_CHECKING:
    from torch import nn

GOOGLENET = (
    "Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke and Rabinovich, Going deeper with convolutions"
)
INCEPTION_V3 = "Szegedy, Vanhoucke, Ioffe, Shlens and Wojna, Rethinking the Inception architecture for computer vision"
SMALL = "Zhang, Bengio, Hardt, Recht and Vinyals, Understanding deep learning requires rethinking generalization, appendix A"

V3_SIDE = 75  # the smallest images of which Inception v3 with its stem for 299 pixels leaves anything


class Inception(NetSpec):
    """x <- [F(x), G(x), ...], F, G, ... convolutions of several sizes, or a pool and a convolution.

    Images (n, channels, height, width) -> (n, outputs). The modules of GoogLeNet and Inception v3 have torchvision's
    names, and GoogLeNet, as there, has batch normalization and 3x3 convolutions in place of the paper's 5x5. While such a
    net trains, with auxiliary heads it gives WithAuxiliary.
    """

    kind: Literal["googlenet", "inception-v3", "small-inception"] = "googlenet"
    width: int = Field(64, ge=1, le=4096, description="channels of the first convolution; all others in proportion")
    depths: tuple[PositiveInt, ...] = Field(
        (2, 5, 2), min_length=3, max_length=3, description="blocks of each of the three stages; more repeat the last"
    )
    auxiliary: float | None = Field(
        0.3,  # GoogLeNet's paper, section 5
        gt=0.0,
        le=1.0,
        description="weight of the losses of the auxiliary heads while training; none: no such heads",
    )
    stem: Literal["imagenet", "small"] | None = Field(
        None,
        description="strides and pooling, 4 to 8 times smaller; or 3x3, same size; none: small up to 64 pixels (inception-v3:"
        " 74)",
    )
    activation: ActivationName = Field("relu", description="the function behind every convolution")
    normalization: NormalizationName = Field(
        "batch", description="normalization between a convolution and its activation"
    )
    dropout: float = Field(
        0.2,
        ge=0.0,
        lt=1.0,
        description="fraction of features before the head set to zero while training; 0.7 in GoogLeNet's auxiliary heads"
        " unless 0 here",
    )

    variants: ClassVar = {
        "googlenet": Variant(GOOGLENET, 2014, fields={"width": 64, "dropout": 0.2}),
        "inception-v3": Variant(
            INCEPTION_V3, 2015, (3, 299, 299), fields={"width": 32, "depths": (3, 5, 3), "dropout": 0.5}
        ),
        "small-inception": Variant(
            SMALL, 2017, (3, 28, 28), 10, {"width": 96, "depths": (2, 4, 2), "auxiliary": None, "dropout": 0.0}
        ),
    }

    def make(self, input_shape: tuple[int, ...], outputs: int) -> "nn.Module":
        from markone.nets import branches

        most = V3_SIDE - 1 if self.kind == "inception-v3" else SMALL_SIDE
        small = has_small_stem(self.stem, input_shape, most=most)
        if self.kind == "small-inception" and self.auxiliary is not None:
            raise SpecError(
                "net-auxiliary",
                f'net small-inception has no auxiliary heads to weigh by {self.auxiliary}; take net.auxiliary = "none".',
            )
        made = {
            "googlenet": branches.googlenet,
            "inception-v3": branches.inception_v3,
            "small-inception": branches.small_inception,
        }[self.kind]
        return made(self, channels=input_shape[0], outputs=outputs, small=small)
