"""The perceptron: one layer of weights."""

from typing import TYPE_CHECKING, ClassVar, Literal

from markone.nets.net import NetSpec, Variant

if TYPE_CHECKING:
    from torch import nn


class Perceptron(NetSpec):
    """scores = W x + b: linear scores of the flattened input, (n, ...) -> (n, outputs).

    With ``loss = "perceptron-criterion"``, plain SGD and batches of one it is Rosenblatt's machine
    (The perceptron: a probabilistic model for information storage and organization in the brain, 1958).
    """

    kind: Literal["perceptron"] = "perceptron"

    variants: ClassVar = {
        "perceptron": Variant(
            "Rosenblatt, The perceptron: a probabilistic model for information storage and organization in the brain",
            1958,
            (1, 20, 20),
            8,
        )
    }
    images_only: ClassVar = False

    def make(self, input_shape: tuple[int, ...], outputs: int) -> "nn.Module":
        from markone.nets import blocks

        return blocks.Perceptron(blocks.flat_size(input_shape), outputs)
