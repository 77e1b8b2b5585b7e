"""Flow: what goes through a net, op by op, without computing it: shapes, FLOPs, and how much of the input a map sees."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from markone.nets.arithmetic import Sight, conv_output, transposed_output

View = tuple[Sight, Sight] | Literal["all"] | None
"""What a tensor sees of the input: along the height and the width; all of it; or None, not known."""

aten = torch.ops.aten
_SIGHT = "_sight"

# one output place depends on the same place alone; normalization by a sample's own statistics is taken as such, as usual
_LOCAL = {
    *(aten.native_batch_norm, aten._native_batch_norm_legit, aten._native_batch_norm_legit_no_training),
    *(aten.native_group_norm, aten.native_dropout, aten.bernoulli, aten.bernoulli_),
    *(aten.clone, aten.detach, aten.alias, aten._to_copy, aten.contiguous, aten.expand, aten.copy_, aten.lift_fresh),
}
_ALONG = {aten.select, aten.unsqueeze, aten.squeeze, aten.split, aten.chunk, aten.unbind, aten._softmax}  # a dimension
_SPREADING = {aten.mean, aten.sum, aten.amax, aten.amin, aten._softmax, aten._log_softmax}
_MIXING = {aten.mm, aten.addmm, aten.bmm, aten.baddbmm, aten.linear, aten.mv, aten.addmv}
_POOLING = {aten.max_pool2d_with_indices, aten.avg_pool2d}
_NUMBERED = {aten.ge, aten.gt, aten.le, aten.lt, aten.eq, aten.ne}  # pointwise, and give other numbers than they take


class Flow(TorchDispatchMode):
    """Runs a net on the meta device and notes each op: its FLOPs under ``where``, its sight on its output.

    Shapes of convolution, batch normalization and of what is pointwise are computed here: torch's own for the meta
    device are slow, and first import its compiler (2 s).
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.where = [""]
        self.flops: dict[str, int] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # else torch wraps __torch_dispatch__ so that its first call imports the compiler

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is aten._local_scalar_dense.default:
            raise NotImplementedError("the net looks at a value, and shapes have none")
        out = _outlined(func, args)
        if out is None:
            out = func(*args, **(kwargs or {}))
        op = func.overloadpacket
        if op in flop_registry:
            flops = flop_registry[op](*args, **(kwargs or {}), out_val=out)
            self.flops[self.where[-1]] = self.flops.get(self.where[-1], 0) + int(flops)
        sources = [tensor for tensor in _tensors(args) if hasattr(tensor, _SIGHT)]
        if sources:
            for tensor in _tensors((out,)):
                setattr(tensor, _SIGHT, _seen(func, args, sources, tensor))
        return out


def blank(shape: Sequence[int]) -> Tensor:
    """An input (n, ...) of the meta device that sees itself: each pixel itself, a row all of its columns."""
    tensor = torch.empty(tuple(shape), device="meta")
    setattr(tensor, _SIGHT, (Sight(), Sight()) if len(shape) == 4 else "all")
    return tensor


def view_of(tensor: Tensor) -> View:
    """What a tensor that has come through a Flow sees of its blank."""
    found: View = getattr(tensor, _SIGHT, None)
    return found


def _tensors(values: Sequence[Any]) -> list[Tensor]:
    flat = (inner for value in values for inner in (value if isinstance(value, list | tuple) else (value,)))
    return [value for value in flat if isinstance(value, Tensor)]


def _outlined(func: Any, args: tuple[Any, ...]) -> Any:
    """What the op gives, as far as shapes tell; None to leave it to torch."""
    tensors = _tensors(args[:1])
    if not tensors or not tensors[0].is_meta:
        return None
    op, x = func.overloadpacket, tensors[0]
    if op is aten.convolution and x.dim() == 4:
        return _blank_like(x, _convolved(*args))
    if op in _POOLING and x.dim() == 4:
        pooled = _blank_like(x, (*x.shape[:2], *(_pooled(op, args, side) for side in (0, 1))))
        return (
            pooled if op is aten.avg_pool2d else (pooled, torch.empty(pooled.shape, dtype=torch.int64, device="meta"))
        )
    if op is aten._adaptive_avg_pool2d:
        return _blank_like(x, (*x.shape[:-2], *args[1]))
    if op is aten.native_batch_norm:
        statistics = x.shape[1] if args[5] else 0
        return _blank_like(x, x.shape), _blank_like(x, (statistics,)), _blank_like(x, (statistics,))
    if op in (aten.addmm, aten.mm):
        a, b = args[-2:]
        return None if a.shape[1] != b.shape[0] else _blank_like(x, (a.shape[0], b.shape[1]))
    if op is aten.cat and len(args) > 1 and args[1] == 1 and len({t.shape[2:] for t in tensors}) == 1:
        return _blank_like(x, (x.shape[0], sum(t.shape[1] for t in tensors), *x.shape[2:]))
    if func is aten.mean.dim and args[1]:
        over = {int(dim) % x.dim() for dim in args[1]}
        keep = len(args) > 2 and args[2]
        return _blank_like(x, [1 if d in over else n for d, n in enumerate(x.shape) if keep or d not in over])
    alike = x.is_floating_point() and all(t.shape == x.shape and t.dtype == x.dtype for t in _tensors(args))
    if alike and torch.Tag.pointwise in func.tags and op not in _NUMBERED:
        return x if func._schema.is_mutable else _blank_like(x, x.shape)
    return None


def _blank_like(x: Tensor, shape: Sequence[int]) -> Tensor:
    return torch.empty(tuple(shape), dtype=x.dtype, device="meta")


def _convolved(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> tuple[int, ...]:
    inputs = weight.shape[0] if transposed else weight.shape[1] * groups
    if x.shape[1] != inputs:
        raise RuntimeError(f"a convolution of {inputs} channels was given {x.shape[1]}")
    channels = weight.shape[1] * groups if transposed else weight.shape[0]
    sides = []
    for side in (0, 1):
        size, kernel = x.shape[2 + side], weight.shape[2 + side]
        step, zeros, spread = _at(stride, side), _at(padding, side), _at(dilation, side)
        if transposed:
            more = _at(output_padding, side)
            output = transposed_output(
                size, kernel=kernel, stride=step, padding=zeros, dilation=spread, output_padding=more
            )
        else:
            output = conv_output(size, kernel=kernel, stride=step, padding=zeros, dilation=spread)
        sides.append(output)
    return (x.shape[0], channels, *sides)


def _pooled(op: Any, args: tuple[Any, ...], side: int) -> int:
    kernel, stride, padding, dilation, ceil_mode = _pooling(op, args, side)
    size = args[0].shape[2 + side]
    return conv_output(size, kernel=kernel, stride=stride, padding=padding, dilation=dilation, ceil_mode=ceil_mode)


def _pooling(op: Any, args: tuple[Any, ...], side: int) -> tuple[int, int, int, int, bool]:
    """Kernel, stride, padding, dilation and ceil_mode of a pooling along a side; what is left out has torch's default."""
    mean = op is aten.avg_pool2d
    defaults: list[Any] = [[], 0, False] if mean else [[], 0, 1, False]
    stride, padding, *more = [*args[2:], *defaults[len(args) - 2 :]]
    kernel, dilation, ceil_mode = _at(args[1], side), 1 if mean else more[0], more[0 if mean else 1]
    return kernel, _at(stride, side) if stride else kernel, _at(padding, side), _at(dilation, side), bool(ceil_mode)


def _at(values: Sequence[int] | int, side: int) -> int:
    """The value along a side: torch gives one number, one for both, or one for each."""
    return values if isinstance(values, int) else values[side if len(values) > 1 else 0]


def _seen(func: Any, args: tuple[Any, ...], sources: list[Tensor], out: Tensor) -> View:
    """What the output sees, from what the op's inputs see."""
    views = [view_of(source) for source in sources]
    if None in views:
        return None
    maps = [view for view in views if isinstance(view, tuple)]
    if len(maps) < len(views):
        return "all"
    x, op = args[0], func.overloadpacket
    if op is aten.cat:
        return _joined(maps) if len(args) > 1 and args[1] == 1 else None
    if op in _MIXING or (op in _SPREADING and _over_places(x, args)):
        return "all"
    here = maps[0]
    if isinstance(x, Tensor) and x.dim() == 4 and out.dim() == 4:
        moved = _moved(op, args, here, out)
        if moved is not None:
            return moved
    kept = all(source.shape[-2:] == out.shape[-2:] or source.numel() == 1 for source in sources)
    if torch.Tag.pointwise in func.tags or op in _LOCAL:
        return _joined(maps)  # a map of 1x1 is spread over the others by broadcasting
    if op in (aten.view, aten._unsafe_view, aten.reshape):
        return here if kept else "all"
    if op in (aten.permute, aten.transpose):
        last = [int(d) % x.dim() for d in (args[1] if op is aten.permute else args[1:3])]
        still = last[-2:] == [x.dim() - 2, x.dim() - 1] if op is aten.permute else max(last) < x.dim() - 2
        return here if still else None
    return here if kept and (op in _ALONG or op in _SPREADING) else None


def _joined(maps: Sequence[tuple[Sight, Sight]]) -> tuple[Sight, Sight]:
    (height, width), *others = maps
    for other in others:
        height, width = height.joined(other[0]), width.joined(other[1])
    return height, width


def _over_places(x: Tensor, args: tuple[Any, ...]) -> bool:
    """Whether the op goes over the height or the width of a map."""
    dims = args[1] if len(args) > 1 else None
    dims = [dims] if isinstance(dims, int) else dims
    return not dims or any(int(d) % x.dim() >= x.dim() - 2 for d in dims)


def _moved(op: Any, args: tuple[Any, ...], here: tuple[Sight, Sight], out: Tensor) -> View:
    """Behind an op that takes places from a window or from elsewhere; None for any other."""
    x = args[0]
    if op in _POOLING and out.shape[-2:].numel() == 1 and _covers(x, args):
        return "all"
    if op in (aten._adaptive_avg_pool2d, aten.adaptive_max_pool2d) and out.shape[-2:].numel() == 1:
        return "all"
    if op is aten.slice and _dimension(x, args) < 2:
        return here
    found = [_side(op, args, here[side], side, x.shape[2 + side], out.shape[2 + side]) for side in (0, 1)]
    return None if None in found else (found[0], found[1])  # type: ignore[return-value]


def _covers(x: Tensor, args: tuple[Any, ...]) -> bool:
    return all(_at(args[1], side) >= x.shape[2 + side] for side in (0, 1))


def _dimension(x: Tensor, args: tuple[Any, ...]) -> int:
    return int(args[1] if len(args) > 1 else 0) % x.dim()


def _side(op: Any, args: tuple[Any, ...], sight: Sight, side: int, size: int, output: int) -> Sight | None:
    """Along one side of a map that goes from ``size`` to ``output`` places."""
    if op is aten.convolution:
        _, weight, _, stride, padding, dilation, transposed, _, _ = args
        turn = sight.transposed if transposed else sight.convolved
        return turn(
            kernel=weight.shape[2 + side],
            stride=_at(stride, side),
            padding=_at(padding, side),
            dilation=_at(dilation, side),
        )
    if op in _POOLING:
        kernel, stride, padding, dilation, _ = _pooling(op, args, side)
        return sight.convolved(kernel=kernel, stride=stride, padding=padding, dilation=dilation)
    if op in (aten._adaptive_avg_pool2d, aten.adaptive_max_pool2d):
        return sight.adapted(size, output)
    if op in (aten.upsample_nearest2d, aten.max_unpool2d):
        return sight.resized(size, output)
    if op is aten.upsample_bilinear2d:
        return sight.resized(size, output, linear=True, align_corners=bool(args[2]))
    if op in (aten.constant_pad_nd, aten.reflection_pad2d, aten.replication_pad2d):
        before = args[1][2 * (1 - side)] if len(args[1]) > 2 * (1 - side) else 0
        return sight.through(lambda q: (q - before,))
    if op is aten.slice and _dimension(args[0], args) == 2 + side:
        start = args[2] if len(args) > 2 and args[2] is not None else 0
        step = args[4] if len(args) > 4 else 1
        begin = start + size if start < 0 else start
        return sight.through(lambda q: (begin + q * step,), moved=step)
    return sight if op is aten.slice else None
