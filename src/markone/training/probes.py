"""Probes: experiments on a copy of a net and of one batch. Nothing that a probe does reaches the training.

Every probe works on a further copy of its subject, so that probes can run in any order. A foreign net may fail in any way: a probe
then says nothing. What a net reaches by a global name, and not through itself, is not copied; of that, batch normalization in
training mode is what a probe would change, and a probe that meets it gives up.
"""

import contextlib
import copy
import dataclasses
import functools
import io
import math
import os
import random
import sys
import time
import types
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks_of_all
from torch.nn.modules.batchnorm import SyncBatchNorm, _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from torch.utils._python_dispatch import TorchDispatchMode

Result = TypeVar("Result")

ROUNDING = 16  # units in the last place, by which a row may differ when the rows beside it change
LEARNING_RATE, BETAS, EPSILON = 1e-3, (0.9, 0.999), 1e-8  # Adam as published, https://arxiv.org/abs/1412.6980
FITTED = 0.01  # of the first loss: the rows are known by heart
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
NOT_USERS = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]), "<frozen")


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
            given, named = _mapped(arguments, cut), _mapped(options, cut)
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


def cross_talk(subject: Subject) -> float | None:
    """How much the output of one row depends on the other rows in evaluation mode; 0 where it does not.

    The largest |d output_i / d input_j| over j != i relative to that of j = i, of a random projection of the middle row's output: a
    recurrent net that takes the rows for time steps mixes only what came before. Where there is no gradient (tokens), the other rows are
    replaced, and the change of the output is taken relative to its size. None where it cannot be said: one row; an output without a
    batch axis; noise; a net of sequences whose first axis may as well be time; an output of all rows against all rows.
    """
    return _tried(subject, _cross_talk)


def dropout_in_eval(subject: Subject) -> list[str]:
    """The operators that drop values in evaluation mode, each with FILE:LINE of the user's call where there is one.

    A draw with probabilities that the net computed is sampling, and none of these.
    """
    return _tried(subject, _dropout_in_eval) or []


def train_eval_gap(subject: Subject) -> dict[str, float] | None:
    """The loss of the same rows in training mode (``train``) and in evaluation mode (``eval``)."""
    return _tried(subject, _train_eval_gap)


def zero_input(subject: Subject) -> dict[str, float] | None:
    """The loss of the rows (``loss``) and of an empty input (``zero``), in evaluation mode: equal where the input is ignored.

    Floating-point inputs are set to zero, tokens are taken from the next row. None where that changes nothing.
    """
    return _tried(subject, _zero_input)


def fit_rows(subject: Subject, *, seconds: float = 0.1, steps: int = 200) -> dict[str, float] | None:
    """Fits the rows by Adam in training mode without dropout: the loss ``before`` and ``after``, and the ``steps`` taken.

    Ends where the loss is below 1 % of the first, or the time is over.
    """
    return _tried(subject, lambda trial: _fit(trial, trial.loss, seconds=seconds, steps=steps))


def shuffled_labels(subject: Subject, *, seconds: float = 0.1, steps: int = 200) -> dict[str, float] | None:
    """The same as ``fit_rows``, to the targets of other rows."""
    return _tried(subject, lambda trial: _fit(trial, trial.shuffled, seconds=seconds, steps=steps))


def _tried(subject: Subject, experiment: Callable[[Subject], Result]) -> Result | None:
    try:
        with undisturbed():
            memo: dict[int, Any] = {}
            net = copy_of(subject.net, memo)
            inside = {id(value) for value in memo.values() if isinstance(value, nn.Module)}
            arguments, options = _mapped((subject.arguments, subject.options), _cloned)
            trial = dataclasses.replace(subject, net=net, arguments=arguments, options=options)
            with nn.modules.module.register_module_forward_pre_hook(functools.partial(_refuse_outside, inside)):
                return experiment(trial)
    except Exception:  # foreign code
        return None


def _refuse_outside(inside: set[int], module: nn.Module, _inputs: Any) -> None:
    if isinstance(module, _NormBase) and module.training and id(module) not in inside:
        raise RuntimeError("the running statistics of a module outside of the copied net would change")


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
        for value in _tensors(list(vars(module).values())):
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


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """A copy of nested containers with each tensor, packed sequence and list of numbers in them changed."""
    if isinstance(value, Tensor | PackedSequence) or _is_plain_list(value):
        return change(value)
    if isinstance(value, dict):
        changed = copy.copy(value)
        changed.update({key: _mapped(inner, change) for key, inner in value.items()})
        return changed
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_mapped(inner, change) for inner in value))
    if type(value) in (list, tuple):
        return type(value)(_mapped(inner, change) for inner in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        instance: Any = copy.copy(value)
        for field in dataclasses.fields(value):
            object.__setattr__(instance, field.name, _mapped(getattr(value, field.name), change))
        return instance
    return copy.deepcopy(value)


def _is_plain_list(value: Any) -> bool:
    return type(value) is list and bool(value) and all(isinstance(item, int | float | str) for item in value)


def _cloned(value: Any) -> Any:
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


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif not isinstance(value, PackedSequence):
        for inner in _inner(value):
            yield from _tensors(inner)


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
    first = next((tensor for tensor in _tensors(value) if tensor.ndim), None)
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


def _users_line() -> str | None:
    """FILE:LINE of the innermost call between a probe and the operator that is neither torch's nor ours."""
    frame: types.FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename != __file__:
        name = frame.f_code.co_filename
        if not name.startswith(NOT_USERS):
            inside = name.startswith(f"{Path.cwd()}{os.sep}")
            return f"{os.path.relpath(name) if inside else name}:{frame.f_lineno}"
        frame = frame.f_back
    return None


class _Drops(TorchDispatchMode):
    """Collects the operators that drop values, in the order in which they ran."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: dict[str, None] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: that would import the compiler, for seconds, and probes compile nothing."""
        return False

    def __torch_dispatch__(self, func: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
        if _drops(func, args, kwargs or {}):
            name, line = func.overloadpacket.__name__, _users_line()
            self.found[f"{name} at {line}" if line else name] = None
        return func(*args, **(kwargs or {}))


def _drops(operator: Any, args: tuple[Any, ...], options: dict[str, Any]) -> bool:
    """Whether an operator sets values to zero at random, each with the same probability."""
    name = operator.overloadpacket.__name__
    if not ("dropout" in name or "bernoulli" in name or "scaled_dot_product" in name):
        return False
    names = [argument.name for argument in operator._schema.arguments]
    given = {argument.name: argument.default_value for argument in operator._schema.arguments}
    given |= dict(zip(names, args, strict=False)) | options
    if "bernoulli" in name:
        probability = given.get("p", given["self"])
        if not isinstance(probability, Tensor):
            return True
        return probability.numel() > 1 and bool((probability == probability.flatten()[0]).all())
    drawn = float(given.get("p", given.get("dropout_p", 0.0)) or 0.0) > 0
    return drawn and given.get("train", True) is not False


def _dropout_in_eval(trial: Subject) -> list[str]:
    trial.net.eval()
    with _Drops() as drops:
        trial.net(*trial.arguments, **trial.options)
    return list(drops.found)


def _train_eval_gap(trial: Subject) -> dict[str, float] | None:
    if trial.loss is None:
        return None
    values = {}
    for mode in ("eval", "train"):  # the second moves running statistics that the first reads
        trial.net.train(mode == "train")
        values[mode] = float(trial.loss(trial.predict()).detach())
    return values if all(map(math.isfinite, values.values())) else None


def _zero_input(trial: Subject) -> dict[str, float] | None:
    if trial.loss is None:
        return None
    first = _first(trial)
    emptied = _mapped((trial.arguments, trial.options), lambda value: _emptied(value, first, trial.rows))
    pairs = zip(_tensors((trial.arguments, trial.options)), _tensors(emptied), strict=True)
    if all(torch.equal(before, after) for before, after in pairs):
        return None
    trial.net.eval()
    _same_draws()
    loss = float(trial.loss(trial.predict()).detach())
    _same_draws()
    zero = float(trial.loss(trial.pick(trial.net(*emptied[0], **emptied[1]))).detach())
    return {"loss": loss, "zero": zero} if math.isfinite(loss) and math.isfinite(zero) else None


def _same_draws() -> None:
    """Starts all generators anew, without the seed that torch would keep for a CUDA that is not in use yet."""
    random.seed(0)
    np.random.seed(0)
    torch.default_generator.manual_seed(0)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(0)


def _emptied(value: Any, first: Tensor, rows: int) -> Any:
    """Zeros, or the next row's tokens. One whole number per row beside the input may be a length, and stays."""
    if not isinstance(value, Tensor) or not value.ndim or value.shape[0] != rows:
        return _cloned(value)
    if value.is_floating_point():
        return torch.zeros_like(value)
    return value.roll(1, 0) if value is first or value.ndim > 1 else _cloned(value)


def _first(trial: Subject) -> Tensor:
    """The tensor that the batch size was read from."""
    return next(
        value for value in _tensors((trial.arguments, trial.options)) if value.ndim and value.shape[0] == trial.rows
    )


def _fit(
    trial: Subject, loss_of: Callable[[Tensor], Tensor] | None, *, seconds: float, steps: int
) -> dict[str, float] | None:
    parameters = [parameter for parameter in trial.net.parameters() if parameter.requires_grad]
    if loss_of is None or not parameters:
        return None
    trial.net.train()
    _without_dropout(trial.net)
    moments = [(torch.zeros_like(one), torch.zeros_like(one)) for one in parameters]
    end, before, taken = time.perf_counter() + seconds, None, 0
    while True:
        inputs = _mapped((trial.arguments, trial.options), _cloned)
        loss = loss_of(trial.pick(trial.net(*inputs[0], **inputs[1])))
        after = float(loss.detach())
        before = after if before is None else before
        if not math.isfinite(after):
            return None
        if after < FITTED * before or taken == steps or (taken and time.perf_counter() > end):
            return {"before": before, "after": after, "steps": float(taken)}
        taken += 1
        _adam(parameters, torch.autograd.grad(loss, parameters, allow_unused=True), moments, taken)


def _without_dropout(net: nn.Module) -> None:
    for module in net.modules():
        if isinstance(module, _DropoutNd):
            module.eval()
        elif isinstance(module, nn.RNNBase | nn.MultiheadAttention):
            module.dropout = 0.0


@torch.no_grad()
def _adam(
    parameters: list[nn.Parameter],
    gradients: tuple[Tensor | None, ...],
    moments: list[tuple[Tensor, Tensor]],
    step: int,
) -> None:
    """One step of Adam. torch's own would be seen by whoever watches all optimizers."""
    for parameter, gradient, (mean, square) in zip(parameters, gradients, moments, strict=True):
        if gradient is None:
            continue
        mean.lerp_(gradient, 1 - BETAS[0])
        square.mul_(BETAS[1]).addcmul_(gradient, gradient.conj(), value=1 - BETAS[1])
        scale = (square / (1 - BETAS[1] ** step)).sqrt_().add_(EPSILON)
        parameter.sub_(mean / scale, alpha=LEARNING_RATE / (1 - BETAS[0] ** step))


Part = Callable[[Tensor], Tensor]
Dependence = Callable[[Part, int, int], float | None]
"""How much a part of the output depends on the rest of the input relative to the row ``index`` along ``axis`` of it."""


def _cross_talk(trial: Subject) -> float | None:
    trial.net.eval()
    first, rows = _first(trial), trial.rows
    if rows < 2:
        return None
    if first.is_floating_point():
        with contextlib.suppress(
            RuntimeError
        ):  # no derivative: a detached input, or a recurrent net of cuDNN in this mode
            return _judged(trial, *_by_gradient(trial, first), first)
    return _judged(trial, *_by_replacement(trial, first), first)


def _judged(trial: Subject, output: Tensor, dependence: Dependence, first: Tensor) -> float | None:
    rows = trial.rows
    if not output.ndim or not output.shape[0] or output.shape[0] % rows:
        return None
    size, middle = output.shape[0] // rows, rows // 2
    value = dependence(lambda out: out[middle * size : (middle + 1) * size], 0, middle)
    if value is None or value == 0 or trial.by_row:
        return value
    if rows in output.shape[1:] or (first.ndim == 1 and not first.is_floating_point()):
        return None  # rows against rows; or one sequence of tokens without a batch axis
    others = [(lambda out: out[middle::rows], 0, middle)] if size > 1 else []
    if any(dependence(*other) == 0 for other in [*others, *_time_first(output, first)]):
        return None
    return value


def _time_first(output: Tensor, first: Tensor) -> Iterator[tuple[Part, int, int]]:
    """The parts of an output that belong to one sequence, if the sequences lie along the second axis of the input."""
    columns = first.shape[1] if first.ndim > 1 else 0
    if not columns or (columns == 1 and first.ndim > 3):  # an image of one channel
        return
    middle = columns // 2
    if output.shape[0] % columns == 0:
        size = output.shape[0] // columns
        yield (lambda out: out[middle * size : (middle + 1) * size]), 1, middle
        yield (lambda out: out[middle::columns]), 1, middle
    if output.shape[1:2] == (columns,):
        yield (lambda out: out[:, middle]), 1, middle


def _by_gradient(trial: Subject, first: Tensor) -> tuple[Tensor, Dependence]:
    leaf = first.clone().requires_grad_()
    arguments, options = _mapped(
        (trial.arguments, trial.options),
        lambda value: leaf * 1 if value is first else value,  # may be changed in place
    )
    output = trial.pick(trial.net(*arguments, **options))
    if not output.requires_grad:
        raise RuntimeError("the output has no derivative")

    def dependence(part: Part, axis: int, index: int) -> float | None:
        piece = part(output).float()
        direction = torch.randn(piece.shape, generator=torch.Generator().manual_seed(0), device="cpu")
        (gradient,) = torch.autograd.grad((piece * direction.to(piece.device)).sum(), leaf, retain_graph=True)
        sizes = gradient.float().abs().movedim(axis, 0).flatten(1).amax(1)
        return _ratio(_largest_beside(sizes, index), float(sizes[index]), 0.0)

    return output, dependence


def _by_replacement(trial: Subject, first: Tensor) -> tuple[Tensor, Dependence]:
    def run(values: Tensor) -> Tensor:
        _same_draws()
        inputs = _mapped((trial.arguments, trial.options), lambda value: (values if value is first else value).clone())
        return trial.pick(trial.net(*inputs[0], **inputs[1])).detach()

    output = run(first)

    def dependence(part: Part, axis: int, index: int) -> float | None:
        others = first.roll(1, axis)
        others.select(axis, index).copy_(first.select(axis, index))
        if torch.equal(others, first):
            return 0.0 if first.shape[axis] == 1 else None
        before = part(output).float()
        change = float((part(run(others)).float() - before).abs().max())
        noise = float((part(run(first)).float() - before).abs().max()) if change else 0.0
        eps = torch.finfo(output.dtype if output.is_floating_point() else torch.float32).eps
        return None if noise else _ratio(change, float(before.abs().max()), ROUNDING * eps)

    return output, dependence


def _largest_beside(sizes: Tensor, index: int) -> float:
    others = torch.cat((sizes[:index], sizes[index + 1 :]))
    return float(others.max()) if len(others) else 0.0


def _ratio(others: float, own: float, tolerance: float) -> float | None:
    """None where neither counts, or one of them is no number."""
    if not (math.isfinite(others) and math.isfinite(own)) or (own == 0 and others == 0):
        return None
    if others <= tolerance * own:
        return 0.0
    return others / own if own else math.inf
