"""watch: follows a PyTorch training that is not ours, without changing it, and gives a Run.

    with markone.watch(model, optimizer) as run:
        ...                                    # the training loop, as it is
    print(markone.diagnose(run.finished))

Nothing is disturbed: no number is drawn, no tensor written, no mode switched; and whatever fails in here ends the watching, with one line
of warning, and never the training.
"""

import contextlib
import functools
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakSet

import torch

from markone.errors import MarkoneError
from markone.training.conclude import conclude
from markone.training.exceptions import see_exception
from markone.training.modules import Modules, is_compiled
from markone.training.optimizer_fact import optimizer_fact
from markone.training.pace import Pace
from markone.training.places import line_of_binding, name_of, users_line
from markone.training.practice_taps import listen
from markone.training.record import Recorder, create_folder
from markone.training.run import Run
from markone.training.taps import Ear, Taps
from markone.training.witness import Witness, innermost

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

BUDGET = 0.02  # of the training's time
CONCLUDE_SECONDS = 1.0  # how often what is known so far is written down


class StopWatching(BaseException):
    """Ends a script after the number of steps that was asked for; no ``except Exception`` of a script holds it up."""


def watch(
    model: "nn.Module | Iterable[nn.Module]",
    optimizer: "Optimizer | Iterable[Optimizer]",
    *,
    folder: Path | str | None = None,
    every: "int | Literal['auto']" = "auto",
    probes: bool = True,
) -> "Watch":
    """Watches a training loop: ``with markone.watch(model, optimizer) as run: ...``, or ``run = markone.watch(...)`` and ``run.close()``.

    model, optimizer: one, or several (a GAN has two of each). folder: where the Run goes (default: a new one in runs/). every: a step in
    so many is looked at closely; "auto" keeps the cost under 2 % of the training's time. probes: experiments on a copy of the net after the
    second step. In a process group only rank 0 records. Raises nothing: what cannot be watched is said in one line on standard error.
    """
    stem = Path(getattr(sys.modules.get("__main__"), "__file__", None) or "session").stem
    watching = Watch(folder=folder, name=stem, every=every, probes=probes, door="api")
    watching.begin([model] if isinstance(model, torch.nn.Module) else model)
    watching.guard(watching.meet_all, [optimizer] if isinstance(optimizer, torch.optim.Optimizer) else optimizer)
    return watching


class Watch:
    """A watching that is on. As a context manager it closes itself."""

    def __init__(
        self,
        *,
        folder: Path | str | None,
        name: str,
        every: "int | Literal['auto']" = "auto",
        probes: bool = True,
        door: str,
        most_steps: int | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self.taps = Taps()
        self.witness: Witness | None = None
        self.folder = Path(folder) if folder is not None else None
        self.most_steps = most_steps
        self.failure: str | None = None
        self._name, self._every, self._probes, self._door = name, every, probes, door
        self._recorder = recorder  # of the run, once it is there
        self._concluded = time.monotonic()
        self._inside = self._in_backward = False
        self.rounds: Callable[[Run], list[dict[str, Any]]] | None = None  # a diagnosis of what is recorded so far
        _ON.add(self)

    # --- the user's side -----------------------------------------------------------------------------------------------------------

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is not None and not isinstance(error, StopWatching):
            self.saw_exception(error)
        interrupted = isinstance(error, KeyboardInterrupt)
        self.close("interrupted" if interrupted else "failed" if isinstance(error, Exception) else "finished")

    def saw_exception(self, error: BaseException) -> None:
        """Takes what the exception that ends a training proves."""
        if self.witness is not None:
            self.guard(see_exception, self.witness, error)

    def log(self, name: str, value: float) -> None:
        """Records a number of the user's own at the present step, such as an accuracy."""
        self.guard(self._log, name, value, "batch")

    def validation(self, **metrics: float) -> None:
        """Records what an evaluation gave: ``run.validation(loss=0.3, accuracy=0.91)``."""
        for name, value in metrics.items():
            self.guard(self._log, name, value, "validation")

    def stepped(self) -> None:
        """Says that the weights were just changed, where no optimizer of torch does it: watch(model, []), and this after every step."""
        if self.witness is not None:
            self.guard(self.witness.stepped)

    def _log(self, name: str, value: float, part: str) -> None:
        assert self.witness is not None
        self.witness.validated |= part == "validation"
        row = (self.witness.step, self.witness.epoch, part, name, float(value))
        self.witness.recorder.scalars([row])

    @property
    def finished(self) -> Run:
        """The record; complete once the watching is closed. Raises RunError where nothing could be recorded."""
        return Run(self.folder or Path("runs"))

    def close(self, status: str = "finished") -> None:
        """Takes everything off and completes the record. Further calls do nothing."""
        witness, self.witness = self.witness, None
        self.taps.remove()
        if witness is None:
            return
        try:
            witness.tracing.turn(on=False)
            self._write(witness, last=True)
            status = "non-finite" if witness.non_finite and status == "finished" else status
            witness.recorder.event(status, step=witness.step)
            witness.recorder.close(status)
        except Exception as error:
            self._end_record(error, witness.step)

    # --- beginning -----------------------------------------------------------------------------------------------------------------

    def begin(self, nets: "Iterable[nn.Module] | None") -> None:
        """Opens the record and listens to backward passes, steps, clipping, scaling and schedules."""
        if torch.distributed.is_available() and torch.distributed.is_initialized() and torch.distributed.get_rank():
            return
        try:
            recorder = self._recorder = self._recorder or open_record(self.folder, self._name)
            self.folder = recorder.folder
            modules = Modules(nets)
            pace = Pace(BUDGET, every=None if self._every == "auto" else self._every)
            self.witness = Witness(recorder, modules, self.taps, self.guard, pace=pace, probes=self._probes)
            self.witness.compiled = any(is_compiled(net) for net in modules.roots.values())
            self.witness.meet_nets()
            self.witness.trace_lines()
            self._listen()
        except Exception as error:
            self.taps.remove()
            self._give_up(error)

    def meet_all(self, optimizers: "Iterable[Optimizer]") -> None:
        """The optimizers are there: their steps are listened to."""
        for one in optimizers:
            self._meet(one, name_of(one), line_of_binding(one))

    def _meet(self, optimizer: "Optimizer", name: str | None, place: str | None) -> None:
        assert self.witness is not None
        optimizer = innermost(optimizer)
        if any(one.optimizer is optimizer for one in self.witness.descents):
            return
        self.witness.meet_optimizer(optimizer, name=name, place=place)
        if self._door == "api":
            self.taps.add(
                optimizer.register_step_pre_hook(Ear(self._before_step)),
                optimizer.register_step_post_hook(Ear(self._after_step)),
            )

    def _listen(self) -> None:
        from torch.nn.utils import clip_grad
        from torch.optim import lr_scheduler
        from torch.utils.data import DataLoader

        taps = self.taps
        taps.replace(torch.autograd, "backward", self._around_backward)
        taps.replace(clip_grad, "_clip_grads_with_norm_", self._after_clip)
        scaler = torch.amp.grad_scaler.GradScaler
        taps.replace(scaler, "scale", self._before_scale)
        taps.replace(scaler, "unscale_", self._after_unscale)
        taps.replace(scaler, "step", self._around_scaler)
        taps.replace(DataLoader, "__iter__", self._before_epoch)
        for schedule in vars(lr_scheduler).values():
            if (
                isinstance(schedule, type)
                and "step" in vars(schedule)
                and not issubclass(schedule, torch.optim.Optimizer)
            ):
                taps.replace(schedule, "step", self._before_schedule)
        listen(self, script=self._door == "script")
        if self._door == "script":
            from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

            taps.replace(torch.optim.Optimizer, "__init__", self._after_optimizer)
            taps.replace(torch, "compile", self._before_compile)
            taps.add(
                register_optimizer_step_pre_hook(Ear(self._before_step)),
                register_optimizer_step_post_hook(Ear(self._after_step)),
            )

    # --- what hooks and replaced functions call ------------------------------------------------------------------------------------

    def guard(self, act: Callable[..., Any], *arguments: Any) -> None:
        """Calls it while watching; whatever it raises ends the watching and nothing else."""
        if torch.compiler.is_compiling() or self.witness is None or self._inside:
            return
        self._inside = True
        try:
            act(*arguments)
        except Exception as error:
            self._give_up(error)
        finally:
            self._inside = False

    def _give_up(self, error: Exception) -> None:
        """Hooks may be running at this moment: they fall silent now, and are taken off at the end."""
        witness, self.witness = self.witness, None
        if witness is not None:
            witness.tracing.turn(on=False)
        self._end_record(error, witness.step if witness is not None else 0)

    def _end_record(self, error: Exception, step: int) -> None:
        """Says that the training goes on unobserved: to the user, and in the record."""
        self._warn(error)
        recorder = self._recorder
        if recorder is None:
            return
        try:
            recorder.event("unobserved", {"error": self.failure}, step=step)
            recorder.close("unobserved")
        except Exception:  # what could not be recorded is the very reason, more often than not
            recorder.release()

    def _warn(self, error: Exception) -> None:
        """One line on standard error, if there is one to write to."""
        with contextlib.suppress(Exception):
            self.failure = f"{type(error).__name__}: {error}"
            text = str(error) if isinstance(error, MarkoneError) else self.failure
            print(
                f"markone: watching ended ({' '.join(text.split())}); the training goes on unobserved.", file=sys.stderr
            )

    def _around_backward(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def backward(tensors: Any = None, *arguments: Any, **options: Any) -> Any:
            witness = self.witness
            if witness is None or self._in_backward:  # activation checkpointing calls it for parts of a pass that is on
                return original(tensors, *arguments, **options)
            self.guard(witness.before_backward, tensors)
            self._in_backward = True
            try:
                result = original(tensors, *arguments, **options)
            except Exception as error:
                if self.witness is not None:
                    self.guard(self.witness.backward_failed, tensors, error)
                raise
            finally:
                self._in_backward = False
            if witness.window.inspected:
                self.guard(witness.after_backward)
            return result

        return backward

    def _before_step(self, optimizer: "Optimizer", arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        witness = self.witness
        if witness is None or (len(arguments) == 1 and not options and not witness.window.inspected):
            return
        closure = any(callable(one) for one in (*arguments[1:], *options.values()))
        self.guard(witness.before_step, optimizer, closure)

    def _after_step(self, optimizer: "Optimizer", _arguments: tuple[Any, ...], _options: dict[str, Any]) -> None:
        witness = self.witness
        if witness is None:
            return
        self.guard(witness.after_step, optimizer)
        if self.most_steps is not None and witness.step >= self.most_steps:
            raise StopWatching
        if witness.window.inspected and (now := time.monotonic()) - self._concluded >= CONCLUDE_SECONDS:
            self._concluded = now
            self.guard(self._write, witness)

    def _write(self, witness: Witness, *, last: bool = False) -> None:
        """Writes down what is known so far."""
        began = time.perf_counter()
        conclude(witness)
        record = witness.recorder
        if witness.waiting:
            witness.arrive()
        record.fact("sightings", witness.sightings.to_list(), step=witness.step)
        record.fact("watched", self._watched(witness), step=witness.step)
        if len(witness.descents) == 1:
            rows, only = witness.rows_of_batch, witness.descents[0]
            fact = optimizer_fact(only.optimizer, batch_size=rows or None, schedule=only.schedule)
            record.fact("optimizer", fact, step=witness.step)
        if witness.probing is not None:
            guess, inputs = witness.probing.blind_guess(), witness.probing.input_fact()
            if guess is not None:
                record.fact("blind_guess", guess, step=witness.step)
            if (targets := witness.probing.targets_fact()) is not None:
                record.fact("targets", targets, step=witness.step)
            if last and (emptied := witness.probing.at_end()) is not None:
                record.fact("zero_input", {**emptied, "step": witness.step}, step=witness.step)
            if inputs is not None and "input" not in record.known_facts:
                record.fact("input", inputs, step=witness.step)
        if (sheet := witness.specimens.fact(last=last)) is not None:
            record.fact("datasheet", sheet, step=witness.step)
        record.fact("samples", {"training": len(witness.training_rows), "validation": witness.evaluated_count})
        record.flush()
        if self.rounds is not None and (last or witness.pace.affords()):
            self._diagnose(self.rounds, record, witness.step)
        witness.pace.cost_seconds += time.perf_counter() - began

    def _diagnose(self, rounds: "Callable[[Run], list[dict[str, Any]]]", record: Recorder, step: int) -> None:
        """Records what is found so far. A diagnosis that fails costs findings while the training goes on, and nothing else."""
        try:
            record.findings(rounds(Run(record.folder)), step=step)
            record.flush()
        except Exception:
            self.rounds = None

    def _watched(self, witness: Witness) -> dict[str, Any]:
        return {
            "door": self._door,
            "script": self._name,
            "nets": [entry.name for entry in witness.entries],
            "optimizers": [
                {"name": one.name, "kind": type(one.optimizer).__name__, "place": one.place, "steps": one.steps,
                 "adaptive": one.is_adaptive, "weight_decay": one.decay}
                for one in witness.descents
            ],
            "call": witness.call_place,
            "backward": witness.backward_place,
            "unseen": witness.unseen(),
        }  # fmt: skip

    def _after_clip(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def clip(parameters: Any, most: float, total: Any, *arguments: Any, **options: Any) -> Any:
            if self.witness is not None:
                self.guard(self.witness.clipped, parameters, most, total)
            return original(parameters, most, total, *arguments, **options)

        return clip

    def _before_scale(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def scale(scaler: Any, *arguments: Any, **options: Any) -> Any:
            if self.witness is not None and scaler.is_enabled():
                self.guard(self.witness.scaled, scaler)
            return original(scaler, *arguments, **options)

        return scale

    def _after_unscale(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def unscale(scaler: Any, optimizer: "Optimizer") -> Any:
            if self.witness is not None and scaler.is_enabled():
                self.guard(self.witness.unscaled, optimizer)
            return original(scaler, optimizer)

        return unscale

    def _around_scaler(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def step(scaler: Any, optimizer: "Optimizer", *arguments: Any, **options: Any) -> Any:
            witness = self.witness
            before = (
                [one.steps for one in witness.descents if one.optimizer is optimizer] if witness is not None else []
            )
            result = original(scaler, optimizer, *arguments, **options)
            if self.witness is not None and scaler.is_enabled():
                self.guard(self.witness.scaler_stepped, optimizer, before[0] if before else 0)
            return result

        return step

    def _before_epoch(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def iterate(loader: Any) -> Any:
            if self.witness is not None:
                self.guard(self.witness.iterated, loader)
            return original(loader)

        return iterate

    def _before_schedule(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def step(schedule: Any, *arguments: Any, **options: Any) -> Any:
            if self.witness is not None:
                self.guard(self.witness.scheduled, schedule)
            return original(schedule, *arguments, **options)

        return step

    def _after_optimizer(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def construct(optimizer: "Optimizer", *arguments: Any, **options: Any) -> None:
            original(optimizer, *arguments, **options)
            self.guard(self._found_optimizer, optimizer)

        return construct

    def _found_optimizer(self, optimizer: "Optimizer") -> None:
        assert self.witness is not None
        self._meet(optimizer, None, users_line())
        self.witness.find_nets([one for group in optimizer.param_groups for one in group["params"]])

    def _before_compile(self, original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def compile(*arguments: Any, **options: Any) -> Any:
            self.guard(self._compiles)
            return original(*arguments, **options)

        return compile

    def _compiles(self) -> None:
        assert self.witness is not None
        self.witness.leave_nets()


_ON: WeakSet[Watch] = WeakSet()


def _fall_silent() -> None:
    """A forked process shares the record, and must not write to it."""
    for watching in _ON:
        watching.witness = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fall_silent)


def open_record(folder: Path | None, name: str) -> Recorder:
    """A new run folder without a recipe, and its recorder. Raises RunError where it cannot be written."""
    from markone.device import Environment

    made = create_folder(folder, recipe=None, name=name, environment=Environment.here(torch.device("cpu")), split=None)
    recorder = Recorder(made)
    recorder.claim()
    recorder.event("started", step=0)
    return recorder
