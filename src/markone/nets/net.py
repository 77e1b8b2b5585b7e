"""NetSpec: the contract of every net, and the checks that all share."""

from abc import abstractmethod
from typing import TYPE_CHECKING

from markone.errors import SpecError
from markone.spec import Spec

if TYPE_CHECKING:
    from torch import nn


class NetSpec(Spec):
    """An architecture; ``build`` gives the module for one shape of input."""

    @abstractmethod
    def build(self, input_shape: tuple[int, ...], outputs: int) -> "nn.Module":
        """The net for inputs (n, *input_shape), giving scores (n, outputs).

        ``input_shape`` is (channels, height, width) for images and (columns,) for tables. The weights are torch's
        defaults until an Initialization has drawn them. Raises SpecError that names a shape the net cannot take.
        """


def require_shape(kind: str, shape: tuple[int, ...], *, images_only: bool) -> None:
    """Raises SpecError unless the shape is one of an image or, where allowed, of a table row."""
    allowed = "(channels, height, width)" if images_only else "(columns,) or (channels, height, width)"
    ranks = (3,) if images_only else (1, 3)
    if len(shape) in ranks and all(size >= 1 for size in shape):
        return
    table = " For a table take mlp or perceptron." if images_only and len(shape) == 1 else ""
    raise SpecError("input-shape", f"net {kind} cannot take inputs of shape {shape}; it takes {allowed}.{table}")


def require_outputs(outputs: int) -> None:
    """Raises SpecError unless there is at least one output."""
    if outputs < 1:
        raise SpecError("output-count", f"a net needs at least 1 output, and {outputs} were asked for.")
