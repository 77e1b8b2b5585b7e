"""The perceptron, one layer of weights; and the Mark I Perceptron, that layer behind fixed random wiring."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from markone.nets.net import NetSpec, Variant

if TYPE_CHECKING:
    from torch import nn


ROSENBLATT = "Rosenblatt, The perceptron: a probabilistic model for information storage and organization in the brain"
MANUAL = "Hay, Lynch and Smith, Mark I Perceptron operators' manual, Cornell Aeronautical Laboratory"
RETINA = (1, 20, 20)


class Perceptron(NetSpec):
    """scores = W x + b: linear scores of the flattened input, (n, ...) -> (n, outputs).

    Rosenblatt, The perceptron: a probabilistic model for information storage and organization in the brain, 1958. With
    ``rule = "perceptron"``, plain SGD and batches of one it learns as his did.
    """

    kind: Literal["perceptron"] = "perceptron"

    variants: ClassVar = {
        "perceptron": Variant(ROSENBLATT, 1958, RETINA, 8),
    }
    images_only: ClassVar = False

    def make(self, input_shape: tuple[int, ...], outputs: int) -> "nn.Module":
        from markone.nets import blocks

        return blocks.Perceptron(blocks.flat_size(input_shape), outputs)


class MarkOne(NetSpec):
    """Photosensors, fixed random wires to association units, learned weights to response units: the Mark I Perceptron.

    a = [sum of signed wires from lit sensors >= the unit's threshold], scores = W a, on the flattened input (n, ...) -> (n, outputs).
    The machine had 20x20 photosensors, up to 40 wires from each, 512 association units, 8 response units, and a motor for
    each of the 512 x 8 weights. Hay, Lynch and Smith, Mark I Perceptron operators' manual, 1960; Rosenblatt 1958. With
    ``rule = "perceptron"`` and plain SGD it learns as the machine did: by correcting errors in W alone, in
    batches of one. Wiring and thresholds are drawn with the initial weights, from the seed, and kept beside them.
    """

    kind: Literal["mark-one"] = "mark-one"
    associations: int = Field(512, ge=1, le=1_000_000, description="association units; the machine had 512")
    connections: int = Field(
        4,
        ge=1,
        le=10_000,
        description="wires to each association unit, half of them excitatory and half inhibitory; chosen here: few tell"
        " shifted letters apart best",
    )
    threshold: float = Field(
        0.0, description="sum of wires at which an association unit fires, in the middle of their range; chosen here"
    )
    threshold_spread: float = Field(
        1.0,
        ge=0,
        le=10_000,
        description="how far a unit's threshold, drawn evenly, lies from the middle at most; 0: all alike. Chosen here: half"
        " of the units fire at a sum of 0 and half at 1",
    )
    light: float = Field(
        0.0, description="input above which a photosensor is on; 0 is the mean where inputs are standardized"
    )

    variants: ClassVar = {"mark-one": Variant(MANUAL, 1960, RETINA, 8)}
    images_only: ClassVar = False

    def make(self, input_shape: tuple[int, ...], outputs: int) -> "nn.Module":
        from markone.nets import blocks, mark_one

        wiring = mark_one.Wiring(
            blocks.flat_size(input_shape),
            self.associations,
            connections=self.connections,
            threshold=self.threshold,
            spread=self.threshold_spread,
        )
        return mark_one.MarkOne(mark_one.Light(self.light), wiring, outputs)
