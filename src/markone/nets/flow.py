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
_MIXING = {aten.mm, aten.addmm, aten.bmm}
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
        return _blank_like(x, _convolved(args))
    if op in _POOLING and x.dim() == 4:
        pooled = _blank_like(x, _pooled(op, args))
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


def _convolved(args: tuple[Any, ...]) -> tuple[int, ...]:
    x, weight, *_, transposed, output_padding, groups = args
    inputs, channels = weight.shape[0], weight.shape[1] * groups
    if not transposed:
        inputs, channels = channels, inputs
    if x.shape[1] != inputs:
        raise RuntimeError(f"a convolution of {inputs} channels was given {x.shape[1]}")
    sides = []
    for side in (0, 1):
        size, window = x.shape[2 + side], _window(aten.convolution, args, side)
        more = _at(output_padding, side)
        sides.append(
            transposed_output(size, **window, output_padding=more) if transposed else conv_output(size, **window)
        )
    return (x.shape[0], channels, *sides)


def _pooled(op: Any, args: tuple[Any, ...]) -> tuple[int, ...]:
    x, ceil = args[0], 4 if op is aten.avg_pool2d else 5
    ceil_mode = len(args) > ceil and bool(args[ceil])
    sides = (conv_output(x.shape[2 + side], **_window(op, args, side), ceil_mode=ceil_mode) for side in (0, 1))
    return (*x.shape[:2], *sides)


def _window(op: Any, args: tuple[Any, ...], side: int) -> dict[str, Any]:
    """Kernel, stride, padding and dilation of a convolution or pooling along a side; what is left out has torch's default."""
    usual: list[Any] = [None, [], 0, 1]
    last = 4 if op is aten.avg_pool2d else 5  # a mean has no dilation
    given = [args[1].shape[2:], *args[3:6]] if op is aten.convolution else list(args[1:last])
    kernel, stride, padding, dilation = given + usual[len(given) :]
    values = {"kernel": kernel, "stride": stride or kernel, "padding": padding, "dilation": dilation}
    return {name: _at(value, side) for name, value in values.items()}


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
    if op in _MIXING or (op is aten.mean and _over_places(x, args)):
        return "all"
    here = maps[0]
    if isinstance(x, Tensor) and x.dim() == 4 and out.dim() == 4:
        moved = _moved(op, args, here, out)
        if moved is not None:
            return moved
    if torch.Tag.pointwise in func.tags or op in _LOCAL:
        return _joined(maps)  # a map of 1x1 is spread over the others by broadcasting
    if op is aten.view:
        return here if x.shape[-2:] == out.shape[-2:] else "all"
    return None


def _joined(maps: Sequence[tuple[Sight, Sight]]) -> tuple[Sight, Sight]:
    (height, width), *others = maps
    for other in others:
        height, width = height.joined(other[0]), width.joined(other[1])
    return height, width


def _over_places(x: Tensor, args: tuple[Any, ...]) -> bool:
    """Whether a mean goes over the height or the width of a map."""
    dims = args[1] if len(args) > 1 else None
    return not dims or any(int(d) % x.dim() >= x.dim() - 2 for d in dims)


def _moved(op: Any, args: tuple[Any, ...], here: tuple[Sight, Sight], out: Tensor) -> View:
    """Behind an op that takes places from a window or from elsewhere; None for any other."""
    x = args[0]
    whole = op is aten._adaptive_avg_pool2d or (
        op in _POOLING and all(_at(args[1], s) >= x.shape[2 + s] for s in (0, 1))
    )
    if whole and out.shape[-2:].numel() == 1:
        return "all"
    if op is aten.slice and _dimension(x, args) < 2:
        return here
    found = [_side(op, args, here[side], side, x.shape[2 + side], out.shape[2 + side]) for side in (0, 1)]
    return None if None in found else (found[0], found[1])  # type: ignore[return-value]


def _dimension(x: Tensor, args: tuple[Any, ...]) -> int:
    return int(args[1] if len(args) > 1 else 0) % x.dim()


def _side(op: Any, args: tuple[Any, ...], sight: Sight, side: int, size: int, output: int) -> Sight | None:
    """Along one side of a map that goes from ``size`` to ``output`` places."""
    if op is aten.convolution or op in _POOLING:
        turn = sight.transposed if op is aten.convolution and args[6] else sight.convolved
        return turn(**_window(op, args, side))
    if op is aten._adaptive_avg_pool2d:
        return sight.adapted(size, output)
    if op in (aten.upsample_nearest2d, aten.max_unpool2d):
        return sight.resized(size, output)
    if op is aten.upsample_bilinear2d:
        return sight.resized(size, output, linear=True, align_corners=bool(args[2]))
    if op in (aten.constant_pad_nd, aten.replication_pad2d):
        before = args[1][2 * (1 - side)] if len(args[1]) > 2 * (1 - side) else 0
        return sight.through(lambda q: (q - before,))
    if op is aten.slice and _dimension(args[0], args) == 2 + side:
        start = args[2] if len(args) > 2 and args[2] is not None else 0
        step = args[4] if len(args) > 4 else 1
        begin = start + size if start < 0 else start
        return sight.through(lambda q: (begin + q * step,), moved=step)
    return sight if op is aten.slice else None
