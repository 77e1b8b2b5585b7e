"""Copies: a net and one batch, isolated from the training that they are of, and the state of the process put back afterwards."""

import contextlib
import copy
import dataclasses
import functools
import io
import random
import sys
import types
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks_of_all
from torch.nn.modules.batchnorm import SyncBatchNorm
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

SILENCED = tuple(
    f"_global_{kind}_hooks"
    for kind in (
        "buffer_registration",
        "module_registration",
        "parameter_registration",
        "forward",
        "forward_pre",
        "backward",
        "backward_pre",
    )
)
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@dataclass(frozen=True, eq=False)
class Subject:
    """What probes work on: an isolated copy of a net, what it was called with, and the loss of what it gives.

    arguments, options: of its forward; tensors whose first axis is the batch hold ``rows`` rows. pick: which tensor of what forward
    returns is the prediction, (rows or rows k, ...). loss: the mean loss of a prediction of all rows. shuffled: the same with the
    targets' rows rolled by one. Both are None where unknown. by_row: every target belongs to one row, so that the first axis is
    the batch for certain, and not time.
    """

    net: nn.Module
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    rows: int
    pick: Callable[[Any], Tensor]
    loss: Callable[[Tensor], Tensor] | None = None
    shuffled: Callable[[Tensor], Tensor] | None = None
    by_row: bool = False

    def predict(self) -> Tensor:
        return self.pick(self.net(*self.arguments, **self.options))


def isolate(
    net: nn.Module,
    arguments: tuple[Any, ...],
    options: dict[str, Any],
    *,
    most_rows: int = 16,
    pick: Callable[[Any], Tensor],
    loss: Callable[[Tensor], Tensor] | None = None,
    shuffled: Callable[[Tensor], Tensor] | None = None,
    by_row: bool = False,
) -> Subject | None:
    """Copies a net (out of what compiles or spreads it) and the first rows of its batch; None where that cannot be done.

    Nor is it done to a net whose forward pass waits for other processes. The batch size is the length of the first axis of the first
    tensor. Hooks are not copied, but for torch's own (spectral normalization, pruning) and those that are methods of the net's modules.
    """
    net = unwrapped(net)
    try:
        with undisturbed():
            size = next(_batch_sizes((arguments, options)))
            if size < 1 or is_collective(net):
                return None
            rows = min(size, most_rows)
            cut = functools.partial(_cut, size=size, rows=rows, time_first=_is_square((arguments, options), size))
            copied = copy_of(net)
            given, named = mapped(arguments, cut), mapped(options, cut)
            return Subject(copied, given, named, rows, pick, loss, shuffled, by_row)
    except Exception:  # foreign code
        return None


@contextmanager
def undisturbed() -> Iterator[None]:
    """Restores all generator states and modes afterwards; inside, gradients are on, hooks of all modules off, and nothing is printed."""
    python, legacy, cpu = random.getstate(), np.random.get_state(legacy=False), torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    try:
        with ExitStack() as modes:
            modes.enter_context(contextlib.redirect_stdout(io.StringIO()))
            modes.enter_context(contextlib.redirect_stderr(io.StringIO()))
            modes.enter_context(torch.inference_mode(False))
            modes.enter_context(torch.enable_grad())
            modes.enter_context(torch.autograd.set_detect_anomaly(False))
            for device in ("cpu", "cuda"):
                if torch.is_autocast_enabled(
                    device
                ):  # the precision stays; kept casts of weights would outlive a change of them
                    kind = torch.get_autocast_dtype(device)
                    modes.enter_context(torch.autocast(device, kind, cache_enabled=False))
            if "torch._dynamo" in sys.modules:  # a compiled net runs uncompiled: compiling takes longer than any probe
                modes.enter_context(torch.compiler.set_stance("force_eager"))
            modes.enter_context(_hooks_of_all_silenced())
            yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)


@contextmanager
def _hooks_of_all_silenced() -> Iterator[None]:
    kept = [(hooks, dict(hooks)) for name in SILENCED if (hooks := getattr(hooks_of_all, name, None)) is not None]
    for hooks, _ in kept:
        hooks.clear()
    try:
        yield
    finally:
        for hooks, before in kept:
            hooks.clear()
            hooks.update(before)


def unwrapped(net: nn.Module) -> nn.Module:
    """The net itself, out of what compiles or spreads it."""
    while isinstance(net, DataParallel | DistributedDataParallel) or "_orig_mod" in net._modules:
        net = net.get_submodule("_orig_mod" if "_orig_mod" in net._modules else "module")
    return net


def is_collective(net: nn.Module) -> bool:
    """Whether a forward pass waits for other processes."""
    return any(
        isinstance(module, SyncBatchNorm | DistributedDataParallel)
        or any(kind.__module__.startswith("torch.distributed") for kind in type(module).__mro__)
        for module in net.modules()
    )


def copy_of(net: nn.Module, memo: dict[int, Any] | None = None) -> nn.Module:
    """A deep copy. Results that modules keep of their last forward pass lose their graph, which cannot be copied."""
    memo = {} if memo is None else memo
    modules = list(net.modules())
    for module in modules:
        for value in tensors_in(list(vars(module).values())):
            if not value.is_leaf:
                memo[id(value)] = value.detach().clone()
        for name in HOOKS:
            memo[id(getattr(module, name))] = OrderedDict()
    copied = copy.deepcopy(net, memo)
    for module in modules:
        for name in HOOKS:
            kept = {key: _rebound(hook, memo) for key, hook in getattr(module, name).items()}
            getattr(memo[id(module)], name).update({key: hook for key, hook in kept.items() if hook is not None})
    return copied


def _rebound(hook: Any, memo: dict[int, Any]) -> Any:
    """The hook for the copied module; None for one that could reach something that was not copied."""
    if isinstance(hook, types.MethodType):
        owner = memo.get(id(hook.__self__))
        return types.MethodType(hook.__func__, owner) if isinstance(owner, nn.Module) else None
    home = getattr(hook, "__module__", None) or ""
    return hook if home.startswith("torch.") else None


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """A copy of nested containers with each tensor, packed sequence and list of numbers in them changed."""
    if isinstance(value, Tensor | PackedSequence) or _is_plain_list(value):
        return change(value)
    if isinstance(value, dict):
        changed = copy.copy(value)
        changed.update({key: mapped(inner, change) for key, inner in value.items()})
        return changed
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(mapped(inner, change) for inner in value))
    if type(value) in (list, tuple):
        return type(value)(mapped(inner, change) for inner in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        instance: Any = copy.copy(value)
        for field in dataclasses.fields(value):
            object.__setattr__(instance, field.name, mapped(getattr(value, field.name), change))
        return instance
    return copy.deepcopy(value)


def _is_plain_list(value: Any) -> bool:
    return type(value) is list and bool(value) and all(isinstance(item, int | float | str) for item in value)


def cloned(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else copy.copy(value)


def _inner(value: Any) -> list[Any]:
    """What a container holds; nothing for anything else."""
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, list | tuple):
        return list(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name) for field in dataclasses.fields(value)]
    return []


def tensors_in(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif not isinstance(value, PackedSequence):
        for inner in _inner(value):
            yield from tensors_in(inner)


def _batch_sizes(value: Any) -> Iterator[int]:
    """What may be the batch size, the likeliest first. A list of more than two tensors is a list of rows or of scales."""
    if isinstance(value, PackedSequence):
        yield int(value.batch_sizes[0])
    elif isinstance(value, Tensor):
        if value.ndim:
            yield value.shape[0]
    elif not (isinstance(value, list) and len(value) > 2):
        for inner in _inner(value):
            yield from _batch_sizes(inner)


def _is_square(value: Any, size: int) -> bool:
    """Whether the second axis of the batch is as long as the first, so that nobody knows which one is time."""
    first = next((tensor for tensor in tensors_in(value) if tensor.ndim), None)
    return first is not None and first.shape[1:2] == (size,)


def _cut(value: Any, *, size: int, rows: int, time_first: bool) -> Any:
    """The first rows. Of a recurrent net's state, (layers, rows, width), the rows are the second axis."""
    if isinstance(value, PackedSequence):
        padded, lengths = pad_packed_sequence(value, batch_first=True)
        kept = padded[:rows].detach().clone()
        return pack_padded_sequence(kept, lengths[:rows], batch_first=True, enforce_sorted=False)
    if isinstance(value, list):
        return value[:rows] if len(value) == size else list(value)
    if value.ndim and value.shape[0] == size:
        value = value[:rows]
    elif value.ndim == 3 and value.shape[1] == size and not time_first:
        value = value[:, :rows]
    return value.detach().clone()
