"""Summary: what each layer of a net gives, holds, sees and costs."""

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

    from markone.nets.flow import View

FLOAT32 = 4  # bytes


@dataclass(frozen=True)
class LayerSummary:
    """One module that computes something itself; a module used twice has its last shape and all its FLOPs.

    ``kernel`` to ``groups`` are None where the layer has no such thing. ``receptive_field`` and ``effective_stride`` are
    in input pixels along the height and the width: how many lie between the ends of what one output place sees, on the
    widest path, padding included; and how many between neighbours. A layer that sees the whole input has its size and no
    stride; both are None where it is not known. ``activation_bytes`` is the output of one input at float32.
    ``used`` is False for a part that only a training uses (auxiliary scores): it has parameters and nothing else.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    flops: int
    kernel: tuple[int, ...] | None = None
    stride: tuple[int, ...] | None = None
    padding: tuple[int, ...] | None = None
    dilation: tuple[int, ...] | None = None
    groups: int | None = None
    receptive_field: tuple[int, ...] | None = None
    effective_stride: tuple[float, ...] | None = None
    activation_bytes: int = 0
    used: bool = True


@dataclass(frozen=True)
class Summary:
    """The layers in the order of their first use, and the totals; shapes have the batch first, FLOPs are of the batch.

    ``training_bytes`` are what autograd keeps of one input between the forward and the backward pass, at float32: each
    tensor once that some op saves for its gradient (masks and places of maxima with their own width), parameters left
    out. Gradients, the optimizer's state and what a kernel needs while it runs come on top.
    """

    input_shape: tuple[int, ...]
    layers: tuple[LayerSummary, ...]
    parameters: int
    trainable: int
    flops: int
    training_bytes: int


def summarize(net: "nn.Module", input_shape: tuple[int, ...], *, batch: int = 1) -> Summary:
    """What the net does with a batch of inputs (batch, *input_shape), in eval mode.

    Nothing is computed but shapes, on a copy without data, so that a large net costs no memory and nothing of the net
    changes. FLOPs are torch's count for the forward pass: 2 per multiply-add of convolutions and matrix products, 0 for
    everything else.
    """
    import torch

    from markone.nets.flow import Flow, blank

    twin = without_data(net).eval()
    flow = Flow()
    outputs: dict[str, tuple[tuple[int, ...], View]] = {}
    named = dict(twin.named_modules())
    for name, module in named.items():
        _note(module, name, flow, outputs)
    with torch.no_grad(), flow:
        twin(blank((batch, *input_shape)))
    unused = {name: ((), None) for name, module in named.items() if name not in outputs and _owns(module)}
    counted, layers = set[int](), list[LayerSummary]()
    for name, (shape, view) in (outputs | unused).items():
        if _computes(named[name]) or name in flow.flops:
            layers.append(_layer(name, named[name], shape, view, flow.flops.get(name, 0), input_shape, counted))
    held = list(net.parameters())
    return Summary(
        (batch, *input_shape),
        tuple(layers),
        sum(parameter.numel() for parameter in held),
        sum(parameter.numel() for parameter in held if parameter.requires_grad),
        sum(flow.flops.values()),
        _kept_bytes(twin, input_shape),
    )


def without_data(net: "nn.Module") -> "nn.Module":
    """A deep copy whose tensors are on the meta device, numbers with a point in float32 as the inputs are."""
    import torch
    from torch import nn

    def blank_of(tensor: "Tensor") -> "Tensor":
        return torch.empty(
            tensor.shape, dtype=torch.float32 if tensor.is_floating_point() else tensor.dtype, device="meta"
        )

    memo: dict[int, object] = {}
    for parameter in net.parameters():
        memo[id(parameter)] = nn.Parameter(blank_of(parameter), requires_grad=parameter.requires_grad)
    for buffer in net.buffers():
        memo[id(buffer)] = blank_of(buffer)
    return copy.deepcopy(net, memo)


def _note(module: "nn.Module", name: str, flow: Any, outputs: dict[str, Any]) -> None:
    """Hooks that tell the flow where it is, and note what the module gives."""
    from markone.nets.flow import view_of

    def enter(_module: "nn.Module", _inputs: object) -> None:
        flow.where.append(name)

    def leave(_module: "nn.Module", _inputs: object, output: Any) -> None:
        flow.where.pop()
        first = output if hasattr(output, "shape") else output[0]
        outputs[name] = (tuple(first.shape), view_of(first))

    module.register_forward_pre_hook(enter)
    module.register_forward_hook(leave)


def _layer(
    name: str,
    module: "nn.Module",
    shape: tuple[int, ...],
    view: "View",
    flops: int,
    input_shape: tuple[int, ...],
    counted: set[int],
) -> LayerSummary:
    own = [parameter for parameter in module.parameters(recurse=False) if id(parameter) not in counted]
    counted.update(map(id, own))
    field = tuple(sight.size for sight in view) if isinstance(view, tuple) else None
    if view == "all":
        field = input_shape[-2:] if len(input_shape) == 3 else input_shape
    return LayerSummary(
        name=name,
        kind=type(module).__name__,
        output_shape=shape,
        parameters=sum(parameter.numel() for parameter in own),
        flops=flops,
        kernel=_setting(module, "kernel_size"),
        stride=_setting(module, "stride"),
        padding=_setting(module, "padding"),
        dilation=_setting(module, "dilation"),
        groups=getattr(module, "groups", None),
        receptive_field=field,
        effective_stride=tuple(float(sight.stride) for sight in view) if isinstance(view, tuple) else None,
        activation_bytes=FLOAT32 * math.prod(shape[1:]) if shape else 0,
        used=bool(shape),
    )


def _setting(module: "nn.Module", key: str) -> tuple[int, ...] | None:
    """A layer's kernel, stride, padding or dilation along both sides; None where it is not that sort of layer."""
    value = getattr(module, key, None) if hasattr(module, "kernel_size") else None
    if value == "same":
        return tuple(
            dilation * (kernel - 1) // 2
            for kernel, dilation in zip(module.kernel_size, module.dilation, strict=True)  # type: ignore[arg-type]
        )
    if value == "valid":
        return (0, 0)
    return (value, value) if isinstance(value, int) else value if isinstance(value, tuple) else None


def _computes(module: "nn.Module") -> bool:
    """Whether the module is a leaf or holds parameters of its own."""
    from torch import nn

    if isinstance(module, nn.Identity):
        return False
    return next(module.children(), None) is None or _owns(module)


def _owns(module: "nn.Module") -> bool:
    return next(module.parameters(recurse=False), None) is not None


def _kept_bytes(twin: "nn.Module", input_shape: tuple[int, ...]) -> int:
    """Of one input: what autograd saves in training mode. Taken of a batch of two, which batch normalization needs."""
    import torch
    from torch.autograd.graph import saved_tensors_hooks

    from markone.nets.flow import Flow, blank

    batch = 2
    parameters = {parameter.untyped_storage()._cdata for parameter in twin.parameters()}
    kept: dict[int, tuple[int, Tensor]] = {}

    def keep(tensor: "Tensor") -> "Tensor":
        storage = tensor.untyped_storage()
        if storage._cdata not in parameters:
            kept[storage._cdata] = (storage.nbytes(), tensor)
        return tensor

    with torch.enable_grad(), saved_tensors_hooks(keep, lambda tensor: tensor), Flow():
        twin.train()(blank((batch, *input_shape)))
    return sum(size for size, _ in kept.values()) // batch
