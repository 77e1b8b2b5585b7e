"""Summary: what each layer of a net gives, holds and costs."""

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class LayerSummary:
    """One module that computes something itself; a module used twice has its last shape and all its FLOPs."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    flops: int


@dataclass(frozen=True)
class Summary:
    """The layers in the order of their first use, and the totals; shapes have the batch first, FLOPs are of the batch."""

    input_shape: tuple[int, ...]
    layers: tuple[LayerSummary, ...]
    parameters: int
    trainable: int
    flops: int


def summarize(net: "nn.Module", input_shape: tuple[int, ...], *, batch: int = 1) -> Summary:
    """What the net does with a batch of inputs (batch, *input_shape), in eval mode.

    Computed on a copy without data, so that a large net costs no memory and nothing of the net changes. FLOPs are
    torch's count for the forward pass: 2 per multiply-add of convolutions and matrix products, 0 for everything else.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    shape, twin = (batch, *input_shape), _without_data(net).eval()
    shapes: dict[str, tuple[int, ...]] = {}
    named = {name: module for name, module in twin.named_modules() if _computes(module)}
    hooks = [module.register_forward_hook(_shape_to(shapes, name)) for name, module in named.items()]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        twin(torch.empty(shape, device="meta"))
    for hook in hooks:
        hook.remove()
    flops = {str(name): sum(counts.values()) for name, counts in counter.get_flop_counts().items()}
    root = type(twin).__name__
    layers = tuple(
        LayerSummary(
            name, type(named[name]).__name__, given, _own(named[name]), flops.get(f"{root}.{name}" if name else root, 0)
        )
        for name, given in shapes.items()
    )
    counted = list(net.parameters())
    trainable = sum(parameter.numel() for parameter in counted if parameter.requires_grad)
    return Summary(shape, layers, sum(p.numel() for p in counted), trainable, counter.get_total_flops())


def _without_data(net: "nn.Module") -> "nn.Module":
    """A deep copy whose tensors are on the meta device."""
    import torch
    from torch import nn

    memo: dict[int, object] = {}
    for parameter in net.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)
    for buffer in net.buffers():
        memo[id(buffer)] = torch.empty_like(buffer, device="meta")
    return copy.deepcopy(net, memo)


def _computes(module: "nn.Module") -> bool:
    """Whether the module is a leaf or holds parameters of its own."""
    from torch import nn

    if isinstance(module, nn.Identity):
        return False
    return next(module.children(), None) is None or next(module.parameters(recurse=False), None) is not None


def _own(module: "nn.Module") -> int:
    return sum(parameter.numel() for parameter in module.parameters(recurse=False))


def _shape_to(shapes: dict[str, tuple[int, ...]], name: str):  # type: ignore[no-untyped-def]
    def note(module: "nn.Module", inputs: object, output: "Tensor") -> None:
        shapes[name] = tuple(output.shape)

    return note
