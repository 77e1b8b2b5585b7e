"""The multi-layer perceptron."""

from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from markone.nets.activations import ActivationName
from markone.nets.net import NetSpec, NormalizationName, Variant

if TYPE_CHECKING:
    from torch import nn


class MLP(NetSpec):
    """x_l = f(norm(W_l x_{l-1} + b_l)) for l = 1..depth, scores = W x_depth + b, on the flattened input.

    Inputs (n, ...) -> (n, outputs).     Rumelhart, Hinton and Williams, Learning representations by back-propagating errors, 1986.
    """

    kind: Literal["mlp"] = "mlp"
    depth: int = Field(2, ge=0, le=10_000, description="hidden layers")
    width: int = Field(128, ge=1, le=1_000_000, description="units in each hidden layer")
    activation: ActivationName = Field("relu", description="the function f behind every hidden layer")
    normalization: NormalizationName = Field(
        "none", description="normalization between a hidden layer's weights and its activation"
    )
    dropout: float = Field(0.0, ge=0.0, lt=1.0, description="fraction of hidden outputs set to zero while training")

    variants: ClassVar = {
        "mlp": Variant(
            "Rumelhart, Hinton and Williams, Learning representations by back-propagating errors", 1986, (1, 28, 28), 10
        )
    }
    images_only: ClassVar = False

    def make(self, input_shape: tuple[int, ...], outputs: int) -> "nn.Module":
        from torch import nn

        from markone.nets import blocks

        sizes = [blocks.flat_size(input_shape), *[self.width] * self.depth]
        hidden = [
            blocks.dense(a, b, activation=self.activation, normalization=self.normalization, dropout=self.dropout)
            for a, b in pairwise(sizes)
        ]
        return blocks.MLP(hidden, nn.Linear(sizes[-1], outputs))
