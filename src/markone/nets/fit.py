"""Whether a net's maps survive its input: the layer at which they shrink to nothing, and the next larger image that works."""

from functools import partial
from typing import TYPE_CHECKING

from markone.errors import SpecError

if TYPE_CHECKING:
    from torch import nn

    from markone.nets.net import NetSpec

LARGEST_SIDE = 4096  # no published net needs more


def require_fit(spec: "NetSpec", net: "nn.Module", input_shape: tuple[int, ...], outputs: int) -> None:
    """Passes the shape of one input through the net. Raises SpecError that names the layer that can make nothing of it."""
    if len(input_shape) == 1:
        return
    layer = failing_layer(net, input_shape)
    if layer is None:
        return
    height, width = input_shape[1:]
    larger = next_side(spec, input_shape[0], outputs, above=min(height, width))
    cure = (
        "its fields leave no map for any image; lower its depth"
        if larger is None
        else f"the next size it can take is {larger}x{larger}"
    )
    raise SpecError(
        "input-too-small",
        f"net {spec.kind} cannot take images of {height}x{width} pixels: at layer {layer} nothing is left of the map; {cure}.",
    )


def failing_layer(net: "nn.Module", input_shape: tuple[int, ...]) -> str | None:
    """The layer that the map of one input is too small for; None where all is well. Changes nothing of the net.

    Nothing is computed but shapes: a net of a thousand layers takes about a second.
    """
    import torch

    from markone.nets.flow import Flow, blank
    from markone.nets.summary import without_data

    twin, entered = without_data(net).eval(), ["its first"]
    for name, module in twin.named_modules():
        module.register_forward_pre_hook(partial(_enter, entered, name))
    try:
        with torch.no_grad(), Flow():
            twin(blank((1, *input_shape)))
    except NotImplementedError:
        return None  # it looks at values, and a shape has none: nothing can be said before the first real input
    except SpecError as error:
        if error.slug != "map-too-small":
            raise
        return entered[-1]
    except RuntimeError as error:
        if not _is_about_size(str(error)):
            raise
        return entered[-1]
    return None


def _enter(entered: list[str], name: str, _module: object, _inputs: object) -> None:
    entered.append(name)


def next_side(spec: "NetSpec", channels: int, outputs: int, *, above: int = 0) -> int | None:
    """The side of a square image, above one that failed, from which on the net can take it; None if there is none.

    The sides tried are the powers of two, then by bisection those between the last that failed and the first that fits. A
    stem that depends on the size changes at one of them, SMALL_SIDE, so a net that takes 64 pixels and not 66 is no trap.
    """
    import torch

    def fits(side: int) -> bool:
        with torch.device("meta"):
            return failing_layer(spec.make((channels, side, side), outputs), (channels, side, side)) is None

    low, high = above, 1 << above.bit_length()
    while not fits(high):
        if high >= LARGEST_SIDE:
            return None
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def _is_about_size(text: str) -> bool:
    """Whether torch says that a kernel or a window is larger than its map."""
    return any(part in text for part in ("Output size is too small", "Kernel size can't be greater", "too small"))
