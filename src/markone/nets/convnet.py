"""A small, fast convolutional net for images from 8x8 to 64x64."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from markone.errors import SpecError
from markone.nets.activations import ActivationName
from markone.nets.net import CIFAR, NetSpec, NormalizationName, Variant

if TYPE_CHECKING:
    from torch import nn

SMALLEST_MAP = 4  # stages are added until the shorter side of the map is at most this


class ConvNet(NetSpec):
    """A stem, stages that halve the map and double the width, the mean over places, a linear head.

    The stem and the first convolution of each stage are [3x3 conv, 2x2 max pool, norm, activation], the others of a
    stage [3x3 conv, norm, activation]: pooled before they are normalized, maps cost a quarter, and with ReLU it is the
    same function up to the statistics. Images (n, channels, height, width) -> (n, outputs). In the line of LeCun et al.
    1998, with batch normalization (Ioffe and Szegedy 2015) and global average pooling (Lin, Chen and Yan 2014), in the
    order of Jordan, 94% on CIFAR-10 in 3.29 seconds on a single GPU, 2024.
    """

    kind: Literal["convnet"] = "convnet"
    depth: int | None = Field(
        None, ge=0, le=16, description="stages; none: as many as bring the shorter side of the map to 4 or less"
    )
    width: int = Field(32, ge=1, le=4096, description="channels of the stem; doubled by each stage")
    convs_per_stage: int = Field(2, ge=1, le=64, description="convolutions in each stage")
    activation: ActivationName = Field("relu", description="the function behind every convolution")
    normalization: NormalizationName = Field(
        "batch", description="normalization between a convolution and its activation"
    )
    dropout: float = Field(
        0.0, ge=0.0, lt=1.0, description="fraction of features before the head set to zero while training"
    )

    variants: ClassVar = {
        "convnet": Variant("Jordan, 94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024, CIFAR, 10)
    }

    def stages(self, input_shape: tuple[int, ...]) -> int:
        """How many stages the net has on this shape of input. Raises SpecError if a map would shrink to nothing."""
        side = min(input_shape[1:])
        most = side.bit_length() - 2
        if most < (self.depth or 0):
            needed, size = 2 ** ((self.depth or 0) + 1), f"{input_shape[1]}x{input_shape[2]}"
            cure = f"take net.depth = {most} or less" if most >= 0 else "take net.kind = mlp"
            raise SpecError(
                "input-too-small",
                f"net convnet of {self.depth or 0} stages halves the map {(self.depth or 0) + 1} times and needs images of "
                f"at least {needed}x{needed} pixels, and these are {size}; {cure}.",
            )
        if self.depth is not None:
            return self.depth
        least = min(1, most)  # one stage wherever there is room for it
        return next(stages for stages in range(least, 64) if side >> (stages + 1) <= SMALLEST_MAP)

    def make(self, input_shape: tuple[int, ...], outputs: int) -> "nn.Module":
        from torch import nn

        from markone.nets import blocks

        def convolution(inputs: int, width: int, *, pool: bool) -> nn.Sequential:
            return blocks.convolution(
                inputs, width, pool=pool, activation=self.activation, normalization=self.normalization
            )

        stages = list[nn.Sequential]()
        for stage in range(self.stages(input_shape)):
            inputs, width = self.width << stage, self.width << (stage + 1)
            rest = [convolution(width, width, pool=False) for _ in range(self.convs_per_stage - 1)]
            stages.append(nn.Sequential(convolution(inputs, width, pool=True), *rest))
        stem = convolution(input_shape[0], self.width, pool=True)
        return blocks.ConvNet(stem, stages, self.dropout, nn.Linear(self.width << len(stages), outputs))
