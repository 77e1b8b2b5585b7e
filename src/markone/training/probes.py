"""Probes: experiments on a copy of a net and of one batch. Nothing that a probe does reaches the training.

Every probe works on a further copy of its subject, so that probes can run in any order. A foreign net may fail in any way: a probe
then says nothing. What a net reaches by a global name, and not through itself, is not copied; of that, batch normalization in
training mode is what a probe would change, and a probe that meets it gives up.
"""

import contextlib
import dataclasses
import functools
import math
import os
import random
import sys
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.utils._python_dispatch import TorchDispatchMode

from markone.training.copies import Subject, cloned, copy_of, mapped, tensors_in, undisturbed

Result = TypeVar("Result")

ROUNDING = 16  # units in the last place, by which a row may differ when the rows beside it change
LEARNING_RATE, BETAS, EPSILON = 1e-3, (0.9, 0.999), 1e-8  # Adam as published, https://arxiv.org/abs/1412.6980
FITTED = 0.01  # of the first loss: the rows are known by heart
NOT_USERS = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]), "<frozen")


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
            arguments, options = mapped((subject.arguments, subject.options), cloned)
            trial = dataclasses.replace(subject, net=net, arguments=arguments, options=options)
            with nn.modules.module.register_module_forward_pre_hook(functools.partial(_refuse_outside, inside)):
                return experiment(trial)
    except Exception:  # foreign code
        return None


def _refuse_outside(inside: set[int], module: nn.Module, _inputs: Any) -> None:
    if isinstance(module, _NormBase) and module.training and id(module) not in inside:
        raise RuntimeError("the running statistics of a module outside of the copied net would change")


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
    emptied = mapped((trial.arguments, trial.options), lambda value: _emptied(value, first, trial.rows))
    pairs = zip(tensors_in((trial.arguments, trial.options)), tensors_in(emptied), strict=True)
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
        return cloned(value)
    if value.is_floating_point():
        return torch.zeros_like(value)
    return value.roll(1, 0) if value is first or value.ndim > 1 else cloned(value)


def _first(trial: Subject) -> Tensor:
    """The tensor that the batch size was read from."""
    return next(
        value for value in tensors_in((trial.arguments, trial.options)) if value.ndim and value.shape[0] == trial.rows
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
        inputs = mapped((trial.arguments, trial.options), cloned)
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
    arguments, options = mapped(
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
        inputs = mapped((trial.arguments, trial.options), lambda value: (values if value is first else value).clone())
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
