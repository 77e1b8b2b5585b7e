"""Training: an iterator over steps. Stopping is ``break`` or ``stop()``; who wants to see more iterates and looks."""

import itertools
import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from markone.data.batches import Batch
from markone.data.dataset import Dataset, Part
from markone.data.progress import Progress
from markone.data.split import SplitResult
from markone.device import Environment
from markone.errors import RunError
from markone.recipe import Recipe
from markone.regularizers import complexity
from markone.seeds import numpy_generator
from markone.training.checkpoint import CheckpointWriter, Tensors, copy_tensors, read_latest, take
from markone.training.emptied import zero_input_of
from markone.training.evaluate import evaluate
from markone.training.learner import Learner
from markone.training.material import prepare
from markone.training.material_sheet import material_datasheet
from markone.training.monitor import Monitor, Row, layers_of
from markone.training.novikoff import bound_of, is_bounded
from markone.training.optimizer_fact import of_recipe
from markone.training.record import Recorder, create_folder
from markone.training.run import Run
from markone.training.structure import MOST_TARGETS, structure_of, targets_fact

if TYPE_CHECKING:
    import torch

LOSSES_PER_TRANSFER = 32  # losses wait on the device; a non-finite one is noticed this many steps later at most
TRAINING_ESTIMATE = 2000  # samples of the training part that are evaluated beside validation: +-2 % at 95 %

Metrics = dict[str, dict[str, float]]  # by part


@dataclass(frozen=True)
class Step:
    """One optimizer step, as the loop yields it; nothing in it waits for the device.

    index: steps completed; epoch, place: where in the training (both from 0); loss: the last one known on the host; metrics: at an
    epoch's end, by part; seconds: training time so far.
    """

    index: int
    epoch: int
    place: int
    steps_per_epoch: int
    total_steps: int
    samples: int
    loss: float | None
    metrics: Metrics | None
    seconds: float


@dataclass
class Progression:
    """Where a training stands: all the numbers that a checkpoint keeps beside the learner's state."""

    step: int = 0
    epoch: int = 0
    place: int = 0
    seconds: float = 0.0
    best: dict[str, float] | None = None
    best_step: int = 0
    epochs_without_gain: int = 0


def fit(
    recipe: Recipe,
    *,
    folder: Path | None = None,
    resume: bool = False,
    dataset: Dataset | None = None,
    progress: Progress | None = None,
) -> Run:
    """Trains a recipe from beginning to end, or (``resume``) the run in ``folder`` to its end, and returns its Run.

    Ctrl-C finishes the step, saves, and returns a Run whose status is "interrupted". Raises InputError for a recipe that does not fit
    its data, before anything is written.
    """
    if resume:
        if folder is None:
            raise RunError("resume-no-folder", "resume needs the folder of the run; give folder=.")
        training = Training.resume(folder, progress=progress)
    else:
        training = Training.begin(recipe, folder=folder, dataset=dataset, progress=progress)
    with interrupts_stop(training):
        for _ in training.steps():
            pass
    return training.run


class Training:
    """One training: ``for step in training.steps(): ...``. Made by ``begin`` or ``resume``; ``steps`` may be called once."""

    def __init__(self, learner: Learner, folder: Path) -> None:
        self.learner, self.material, self.recipe = learner, learner.material, learner.material.recipe
        self.folder = folder
        self.at = Progression()
        self.status: str | None = None
        self.recorder = Recorder(folder)
        self._losses: list[torch.Tensor] = []
        self._last_loss: float | None = None
        self._new_best: Tensors | None = None
        self._writer = CheckpointWriter(folder)

    @staticmethod
    def begin(
        recipe: Recipe,
        *,
        folder: Path | None = None,
        dataset: Dataset | None = None,
        progress: Progress | None = None,
    ) -> "Training":
        """A new training in a new folder. Nothing is written before recipe, data and net are known to fit."""
        material = prepare(recipe, dataset=dataset, progress=progress)
        learner = Learner(material)
        folder = create_folder(
            folder,
            recipe=recipe,
            name=material.dataset.name,
            environment=Environment.here(material.device),
            split=material.split,
        )
        return Training(learner, folder)

    @staticmethod
    def resume(folder: Path, *, progress: Progress | None = None) -> "Training":
        """A training that goes on from its last checkpoint, or from its beginning if it was killed before the first."""
        run = Run(folder)
        if run.recipe is None:
            raise RunError("run-no-recipe", f"{folder} was watched, not trained from a recipe; it cannot be resumed.")
        if run.status in ("finished", "non-finite"):
            raise RunError("run-ended", f"{folder} has ended ({run.status}); start a new run instead of resuming it.")
        kept = SplitResult.load(folder / "split.npz")
        material = prepare(run.recipe, kept=kept, digest=run.data_digest, progress=progress)
        latest = read_latest(folder)
        training = Training(Learner(material, fresh=latest is None), folder)
        training._restore(latest)
        return training

    @property
    def run(self) -> Run:
        """The record as it stands, read afresh."""
        return Run(self.folder)

    @property
    def seconds(self) -> float:
        """Training time, all sittings together."""
        return self.at.seconds + time.perf_counter() - self._began

    def has_ended(self) -> bool:
        """Whether something has ended the training: the last epoch, ``stop``, a loss that is no number."""
        return self.status is not None

    def stop(self, reason: str) -> None:
        """Ends the loop after the step under way, with a checkpoint; ``reason`` becomes the status."""
        self.status = self.status or reason

    def steps(self) -> Iterator[Step]:
        """The training itself: batches, steps, and what is due between them, until something has ended it."""
        with self._session():
            for group in self._groups():
                loss, vitals = self.learner.step(group, self.at.step, self.monitor)
                self._count(loss, vitals)
                metrics = self._end_epoch() if self._epoch_is_over else None
                self._keep(due=metrics is not None)
                yield self._step(group, metrics)

    def _groups(self) -> Iterator[tuple[Batch, ...]]:
        """What is left of the training, epoch by epoch: as many batches together as make one step."""
        size = self.recipe.accumulation
        while not self.has_ended():
            batches = self.material.batches.epoch(self.at.epoch, start=self.at.place * size)
            for _ in range(self.at.place, self.learner.steps_per_epoch):
                if self.has_ended():
                    return
                yield tuple(itertools.islice(batches, size))

    def _count(self, loss: "torch.Tensor", vitals: list[Row]) -> None:
        at = self.at
        at.step, at.place = at.step + 1, at.place + 1
        self._losses.append(loss)
        if vitals:
            self.recorder.vitals((at.step, layer, vital, value) for layer, vital, value in vitals)
            self._scalars("batch", {"lr": self.learner.lr})
        if self.recipe.seconds is not None and self.seconds >= self.recipe.seconds:
            self.stop("finished")

    @property
    def _epoch_is_over(self) -> bool:
        """At an epoch's last step, and where the time is up."""
        return self.at.place == self.learner.steps_per_epoch or self.status == "finished"

    def _end_epoch(self) -> Metrics | None:
        """Evaluates, keeps the best weights, tells the schedule, and decides whether to go on."""
        self._fetch_losses()
        if self.status == "non-finite":
            return None
        metrics = self._evaluate()
        judged = metrics.get("validation", metrics["training"])
        self.learner.pace.observe(judged["loss"])
        is_whole = self.at.place == self.learner.steps_per_epoch
        self._judge(judged, converged=is_whole and self._ask_rule())
        if is_whole:
            self.at.epoch, self.at.place = self.at.epoch + 1, 0
        self._record_epoch()
        if self.at.epoch == self.recipe.epochs:
            self.stop("finished")
        return metrics

    def _ask_rule(self) -> bool:
        """Whether the rule has converged: one that counts mistakes has nothing more to change after an epoch without one."""
        rule = self.learner.rule
        if rule is None or not rule.end_epoch():
            return False
        bound = bound_of(self.learner) if is_bounded(self.recipe) else math.inf
        known = {"bound": bound} if math.isfinite(bound) else {}
        self.recorder.event("converged", {**rule.counters(), **known}, step=self.at.step)
        self.stop("finished")
        return True

    def _judge(self, judged: dict[str, float], *, converged: bool) -> None:
        """The best weights are those of the best main metric, the last ones where the rule has converged or does not go by
        the targets; early stopping counts epochs without a gain in it."""
        at, task, stopping = self.at, self.recipe.task, self.recipe.regularization.early_stopping
        before = at.best
        better = task.better(judged, before) or converged or not self.recipe.rule.is_taught
        if math.isfinite(judged["loss"]) and better:
            at.best, at.best_step = judged, at.step
            self._new_best = copy_tensors(self.learner.judged_net.state_dict())
        least = stopping.min_improvement if stopping else 0.0
        gained = before is None or task.better({**judged, task.metric: task.less(judged[task.metric], least)}, before)
        at.epochs_without_gain = 0 if gained else at.epochs_without_gain + 1
        if stopping and not converged and at.epochs_without_gain >= stopping.patience:
            self.recorder.event("early-stopped", {"best_step": at.best_step}, step=at.step)
            self.stop("finished")

    def _evaluate(self) -> Metrics:
        if self.monitor:
            self.monitor.pace.pause()
        parts = {"training": self._estimated, "validation": self.material.split.indices(Part.VALIDATION)}
        net = self.learner.judged_net
        found = {part: evaluate(net, self.material, rows) for part, rows in parts.items() if len(rows)}
        for part, metrics in found.items():
            self._scalars(part, metrics)
        return found

    def _record_epoch(self) -> None:
        samples = self.at.step * self.recipe.accumulation * self.material.batches.batch_size
        numbers = {"seconds": self.seconds, "best_step": self.at.best_step, "throughput": samples / self.seconds}
        numbers |= self.learner.rule.counters() if self.learner.rule else {}
        self._scalars("net", {**complexity(self.learner.judged_net), **numbers})

    def _scalars(self, part: str, values: dict[str, float]) -> None:
        epoch = self.at.step / self.learner.steps_per_epoch
        self.recorder.scalars((self.at.step, epoch, part, name, float(value)) for name, value in values.items())

    def _keep(self, *, due: bool) -> None:
        """Losses to the host, the record to disk, a checkpoint: each when it is due."""
        due = due or time.monotonic() >= self._next_checkpoint
        stale = self.recorder.flush_is_due
        if due or stale or self.has_ended() or len(self._losses) >= LOSSES_PER_TRANSFER:
            self._fetch_losses()
            if stale:
                self.recorder.flush()
        if due and self.status in (None, "finished") and (self._writer.ready or self.has_ended()):
            self._checkpoint()

    def _fetch_losses(self) -> None:
        import torch

        if not self._losses:
            return
        values = torch.stack(self._losses).float().tolist()
        first, per_epoch = self.at.step - len(values) + 1, self.learner.steps_per_epoch
        self._losses.clear()
        self.recorder.scalars((n, n / per_epoch, "batch", "loss", value) for n, value in enumerate(values, start=first))
        for step, value in enumerate(values, start=first):
            if not math.isfinite(value):
                self._break_off(step, value)
                return
            self._last_loss = value

    def _break_off(self, step: int, loss: float) -> None:
        """A loss that is no number stops the training: what would follow is no training."""
        names = [name for name, value in self.learner.net.named_parameters() if not bool(value.isfinite().all())]
        fact = {
            "step": step,
            "loss": "nan" if math.isnan(loss) else "inf",
            "last_finite_loss": self._last_loss,
            "parameters": names,
            "inputs_finite": self.material.input_fact["finite"],
        }
        self.recorder.fact("non_finite", fact, step=step)
        self.status = "non-finite"

    def _checkpoint(self) -> None:
        """Hands copies of the state to the writer; the loop goes on at once.

        The record is committed first: what a checkpoint leaves behind it is not recorded again.
        """
        self.recorder.flush()
        numbers = {**vars(self.at), "seconds": self.seconds, "pace": self.learner.pace.state}
        self._writer.submit(take(self.learner.state_dict(), numbers, step=self.at.step, best=self._new_best))
        self._new_best = None
        self._next_checkpoint = time.monotonic() + self.recipe.recording.checkpoint_seconds

    def _restore(self, kept: dict[str, Any] | None) -> None:
        """Puts a checkpoint back, and forgets what the record says of later steps."""
        if kept is not None:
            self.learner.load_state_dict(kept)
            self.learner.pace.state = kept["pace"]
            self.at = Progression(**{name: kept[name] for name in vars(self.at)})
        self.recorder.rewind(self.at.step if kept else -1)
        self.recorder.event("resumed", step=self.at.step)

    def _step(self, group: tuple[Batch, ...], metrics: Metrics | None) -> Step:
        per_epoch, done = self.learner.steps_per_epoch, self.at.step - 1
        return Step(
            index=self.at.step,
            epoch=done // per_epoch,
            place=done % per_epoch,
            steps_per_epoch=per_epoch,
            total_steps=self.learner.total_steps,
            samples=sum(map(len, group)),
            loss=self._last_loss,
            metrics=metrics,
            seconds=self.seconds,
        )

    @contextmanager
    def _session(self) -> Iterator[None]:
        """Claims the run; at the end, however it comes, leaves record, checkpoint and random state in order."""
        import torch

        self.recorder.claim()
        self._began = time.perf_counter()
        self._next_checkpoint = time.monotonic() + self.recipe.recording.checkpoint_seconds
        self._estimated = self._rows_for_estimate()
        recording = self.recipe.recording
        self.monitor = Monitor(self.learner.net, budget=recording.vitals_budget) if recording.vitals else None
        cuda = [self.material.device] if self.material.device.type == "cuda" else []
        consistent = True
        try:
            with torch.random.fork_rng(cuda), torch.backends.cudnn.flags(deterministic=True, benchmark=False):
                self.learner.train()
                if self.at.step == 0:
                    self._describe()
                    self._began = time.perf_counter()  # the untrained net's evaluation is no training time
                yield
        except GeneratorExit:  # the caller left between two steps
            raise
        except BaseException:
            consistent = False  # in the middle of a step: the last checkpoint is the state to go on from
            raise
        finally:
            self._finish(consistent=consistent)

    def _finish(self, *, consistent: bool) -> None:
        self.stop("interrupted")
        self._scalars("net", {"seconds": self.seconds})
        if self.status == "interrupted" and consistent and self.at.step:
            self._fetch_losses()
        if self.status == "interrupted" and consistent and self.at.step:
            self._checkpoint()
        if self.status == "finished" and consistent and (emptied := zero_input_of(self.learner)) is not None:
            self.recorder.fact("zero_input", {**emptied, "step": self.at.step}, step=self.at.step)
        try:
            self._writer.close()
        finally:
            self.recorder.event(self.status or "interrupted", step=self.at.step)
            self.recorder.close(self.status or "interrupted")

    def _describe(self) -> None:
        """Records what is known before the first step: facts of the data, the plan, the layers, the untrained net's metrics."""
        material, learner = self.material, self.learner
        for name, value in material.facts().items():
            self.recorder.fact(name, value)
        plan = {"steps_per_epoch": learner.steps_per_epoch, "total_steps": learner.total_steps}
        plan |= {"epochs": self.recipe.epochs, "batch_size": material.batches.batch_size}
        self.recorder.fact("plan", plan)
        self.recorder.fact("datasheet", material_datasheet(material))
        steps = {"total_steps": learner.total_steps, "steps_per_epoch": learner.steps_per_epoch}
        self.recorder.fact("optimizer", of_recipe(learner.optimizer, self.recipe, **steps))
        for name, value in self._net_facts().items():
            self.recorder.fact(name, value)
        self.recorder.fact("estimate", {"training": len(self._estimated)})
        self.recorder.meta("data", material.data_card())
        if learner.loaded:
            self.recorder.fact("weights", learner.loaded.to_dict())
        for note in (*material.split.sentences, *material.dataset.notes, *learner.sentences):
            self.recorder.event("note", {"text": note}, step=0)
        self._evaluate()
        self.recorder.flush()

    def _net_facts(self) -> dict[str, Any]:
        """The layers, what lies between them, and the targets that they are to meet; the net is called once."""
        net, batch, found = self.learner.net, next(self.material.batches.epoch(0)), dict[str, Any]()
        layers = layers_of(net, lambda: found.update(structure_of(net, lambda: self.learner.forward(batch, 0))))
        rows, targets = self.material.split.indices(Part.TRAINING), self.material.store.targets
        most = max(1, MOST_TARGETS // max(1, targets[0].numel()))
        fact = targets_fact(self.recipe.loss.kind, targets[rows[:: -(-len(rows) // most)]])
        return {"layers": layers, **found, "targets": fact}

    def _rows_for_estimate(self) -> Any:
        """A fixed random part of the training part, big enough to tell overfitting from noise."""
        rows = self.material.split.indices(Part.TRAINING)
        generator = numpy_generator(self.recipe.seed, "estimate")
        chosen = generator.choice(rows, min(len(rows), TRAINING_ESTIMATE), replace=False)
        chosen.sort()
        return chosen


@contextmanager
def interrupts_stop(training: Training) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the training after the step under way; a second Ctrl-C ends it at once.

    Only a program's main thread can set signal handlers; elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, _frame: FrameType | None) -> None:
        if training.status is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        training.stop("interrupted")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
