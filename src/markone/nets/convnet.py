"""A small, fast convolutional net for images from 8x8 to 64x64."""

from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from markone.errors import SpecError
from markone.nets.activations import ActivationName
from markone.nets.net import NetSpec, require_outputs, require_shape

if TYPE_CHECKING:
    from torch import nn

SMALLEST_MAP = 4  # stages are added until the shorter side of the map is at most this


class ConvNet(NetSpec):
    """Stages of [3x3 conv, norm, activation] x convs_per_stage and a 2x2 max pool, the mean over places, a linear head.

    Images (n, channels, height, width) -> (n, outputs); the width doubles from stage to stage. In the line of LeCun et
    al. 1998, with batch normalization (Ioffe and Szegedy 2015) and global average pooling (Lin, Chen and Yan 2014).
    """

    kind: Literal["convnet"] = "convnet"
    depth: int | None = Field(
        None, ge=1, le=16, description="stages; none: as many as bring the shorter side of the map to 4 or less"
    )
    width: int = Field(32, ge=1, le=4096, description="channels of the first stage; doubled from stage to stage")
    convs_per_stage: int = Field(1, ge=1, le=64, description="convolutions in each stage")
    activation: ActivationName = Field("relu", description="the function behind every convolution")
    normalization: Literal["none", "batch", "layer", "group"] = Field(
        "batch", description="normalization between a convolution and its activation"
    )
    dropout: float = Field(
        0.0, ge=0.0, lt=1.0, description="fraction of features before the head set to zero while training"
    )

    def stages(self, input_shape: tuple[int, ...]) -> int:
        """How many stages the net has on this shape of input. Raises SpecError if a map would shrink to nothing."""
        side = min(input_shape[1:])
        if self.depth is None:
            return next(stages for stages in range(1, 64) if side >> stages <= SMALLEST_MAP)
        if side >> self.depth < 1:
            raise SpecError(
                "input-too-small",
                f"net convnet of depth {self.depth} needs images of at least {2**self.depth}x{2**self.depth} pixels, and "
                f"these are {input_shape[1]}x{input_shape[2]}; take net.depth = {side.bit_length() - 1} or less.",
            )
        return self.depth

    def build(self, input_shape: tuple[int, ...], outputs: int) -> "nn.Module":
        from torch import nn

        from markone.nets import blocks

        require_shape(self.kind, input_shape, images_only=True)
        require_outputs(outputs)
        inputs, stages = input_shape[0], list[nn.Sequential]()
        for stage in range(self.stages(input_shape)):
            width = self.width << stage
            sizes = [inputs, *[width] * self.convs_per_stage]
            layers: list[nn.Module] = [
                blocks.convolution(a, b, activation=self.activation, normalization=self.normalization)
                for a, b in pairwise(sizes)
            ]
            stages.append(nn.Sequential(*layers, nn.MaxPool2d(2)))
            inputs = width
        return blocks.ConvNet(stages, self.dropout, nn.Linear(inputs, outputs))
