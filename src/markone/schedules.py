"""Schedules: the factor of every learning rate at each step.

Steps are counted from 0; t is step / steps_per_epoch, u is step / total_steps.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Annotated, Literal

from pydantic import Field

from markone.errors import SpecError
from markone.spec import KIND, Spec

State = dict[str, float | int]


class Pace(ABC):
    """A schedule at run time; ``state`` is all that a checkpoint must keep."""

    @abstractmethod
    def factor(self, step: int) -> float:
        """What every group's base learning rate is multiplied by at this step."""

    @abstractmethod
    def observe(self, validation_loss: float) -> None:
        """Takes notice of the loss at an epoch's end; only plateau acts on it."""

    @property
    @abstractmethod
    def state(self) -> State: ...

    @state.setter
    @abstractmethod
    def state(self, state: Mapping[str, float | int]) -> None: ...


class _Formula(Pace):
    """A factor that depends on the step alone."""

    def __init__(self, formula: Callable[[int], float]) -> None:
        self.formula = formula

    def factor(self, step: int) -> float:
        return self.formula(step)

    def observe(self, validation_loss: float) -> None:
        pass

    @property
    def state(self) -> State:
        return {}

    @state.setter
    def state(self, state: Mapping[str, float | int]) -> None:
        pass


class ScheduleSpec(Spec):
    """How the learning rate goes; ``build`` gives the Pace of one training."""

    @abstractmethod
    def build(self, *, total_steps: int, steps_per_epoch: int) -> Pace:
        """The pace of a training of so many steps. Raises SpecError unless both counts are at least 1."""


class Constant(ScheduleSpec):
    """factor = 1."""

    kind: Literal["constant"] = "constant"

    def build(self, *, total_steps: int, steps_per_epoch: int) -> Pace:
        _require_steps(total_steps, steps_per_epoch)
        return _Formula(lambda step: 1.0)


class Step(ScheduleSpec):
    """factor = decay^n, n the number of drops so far.

    A drop comes where u reaches a mark of ``at``, or every ``every`` epochs if that is given. Half and three quarters of
    the training with decay 0.1 are the marks of He et al. 2016 (CIFAR-10).
    """

    kind: Literal["step"] = "step"
    decay: float = Field(0.1, gt=0, le=1, description="factor of each drop")
    at: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        (0.5, 0.75), description="fractions of the training at which the rate drops"
    )
    every: int | None = Field(None, ge=1, description="epochs between drops, instead of the fractions; none: off")

    def build(self, *, total_steps: int, steps_per_epoch: int) -> Pace:
        _require_steps(total_steps, steps_per_epoch)
        if self.every is not None:
            between = self.every * steps_per_epoch
            return _Formula(lambda step: self.decay ** (step // between))
        marks = [mark * total_steps for mark in self.at]
        return _Formula(lambda step: self.decay ** sum(step >= mark for mark in marks))


class Exponential(ScheduleSpec):
    """factor = decay^t."""

    kind: Literal["exponential"] = "exponential"
    decay: float = Field(0.95, gt=0, le=1, description="factor per epoch")

    def build(self, *, total_steps: int, steps_per_epoch: int) -> Pace:
        _require_steps(total_steps, steps_per_epoch)
        return _Formula(lambda step: self.decay ** (step / steps_per_epoch))


class InverseTime(ScheduleSpec):
    """factor = 1 / (1 + rate t). Robbins and Monro, A stochastic approximation method, 1951."""

    kind: Literal["inverse-time"] = "inverse-time"
    rate: float = Field(0.1, gt=0, description="how fast the rate falls, per epoch")

    def build(self, *, total_steps: int, steps_per_epoch: int) -> Pace:
        _require_steps(total_steps, steps_per_epoch)
        return _Formula(lambda step: 1 / (1 + self.rate * step / steps_per_epoch))


class Cosine(ScheduleSpec):
    """factor = final + (1 - final) (1 + cos(pi u)) / 2. Loshchilov and Hutter, SGDR, 2017, without restarts."""

    kind: Literal["cosine"] = "cosine"
    final: float = Field(0.0, ge=0, lt=1, description="factor that the end of the training comes to")

    def build(self, *, total_steps: int, steps_per_epoch: int) -> Pace:
        _require_steps(total_steps, steps_per_epoch)
        return _Formula(lambda step: _cosine(1.0, self.final, min(1.0, step / total_steps)))


class OneCycle(ScheduleSpec):
    """From start to 1 by a cosine in the ``rise`` first part of the steps, then to final by a cosine.

    Smith and Topin, Super-convergence, 2018; with the steps counted as in ``torch.optim.lr_scheduler.OneCycleLR``: the
    peak is at step rise x total_steps - 1, and final at step total_steps - 1. The momentum is left alone.
    """

    kind: Literal["one-cycle"] = "one-cycle"
    rise: float = Field(0.3, gt=0, lt=1, description="fraction of the steps in which the rate rises")
    start: float = Field(0.04, gt=0, le=1, description="factor at the first step")
    final: float = Field(4e-6, ge=0, le=1, description="factor at the last step")

    def build(self, *, total_steps: int, steps_per_epoch: int) -> Pace:
        _require_steps(total_steps, steps_per_epoch)
        peak, last = max(0.0, self.rise * total_steps - 1), total_steps - 1

        def factor(step: int) -> float:
            if step < peak:
                return _cosine(self.start, 1.0, step / peak)
            return _cosine(1.0, self.final, min(1.0, (step - peak) / max(last - peak, 1e-9)))

        return _Formula(factor)


class Plateau(ScheduleSpec):
    """factor = max(least, decay^n), n the number of drops so far.

    A drop comes when the validation loss was not under best x (1 - improvement) for more than ``patience`` epochs; then
    the count of epochs begins again. As ``torch.optim.lr_scheduler.ReduceLROnPlateau``.
    """

    kind: Literal["plateau"] = "plateau"
    decay: float = Field(0.1, gt=0, lt=1, description="factor of each drop")
    patience: int = Field(5, ge=0, description="epochs without improvement that are let pass")
    improvement: float = Field(1e-4, ge=0, lt=1, description="fraction of the best loss that counts as an improvement")
    least: float = Field(1e-4, ge=0, lt=1, description="factor under which the rate does not go")

    def build(self, *, total_steps: int, steps_per_epoch: int) -> Pace:
        _require_steps(total_steps, steps_per_epoch)
        return _OnPlateau(self)


class _OnPlateau(Pace):
    """Counts the epochs since the best loss."""

    def __init__(self, spec: Plateau) -> None:
        self.spec, self.drops, self.waited, self.best = spec, 0, 0, math.inf

    def factor(self, step: int) -> float:
        return max(self.spec.least, self.spec.decay**self.drops)

    def observe(self, validation_loss: float) -> None:
        if validation_loss < self.best * (1 - self.spec.improvement):
            self.best, self.waited = validation_loss, 0
            return
        self.waited += 1
        if self.waited > self.spec.patience:
            self.drops, self.waited = self.drops + 1, 0

    @property
    def state(self) -> State:
        best: State = {"best": self.best} if math.isfinite(self.best) else {}  # JSON has no infinity
        return {"drops": self.drops, "waited": self.waited, **best}

    @state.setter
    def state(self, state: Mapping[str, float | int]) -> None:
        self.drops, self.waited = int(state["drops"]), int(state["waited"])
        self.best = float(state.get("best", math.inf))


AfterWarmUp = Annotated[Constant | Step | Exponential | InverseTime | Cosine | OneCycle | Plateau, KIND]


class WarmUp(ScheduleSpec):
    """factor = (step + 1) / (w + 1) for the first w steps, w = epochs x steps_per_epoch; ``then`` has those that remain.

    Goyal et al., Accurate, large minibatch SGD, 2017.
    """

    kind: Literal["warm-up"] = "warm-up"
    epochs: float = Field(1.0, gt=0, description="epochs in which the rate rises")
    then: AfterWarmUp = Field(Cosine(), description="the schedule that follows")

    def build(self, *, total_steps: int, steps_per_epoch: int) -> Pace:
        _require_steps(total_steps, steps_per_epoch)
        rise = min(round(self.epochs * steps_per_epoch), total_steps - 1)
        then = self.then.build(total_steps=total_steps - rise, steps_per_epoch=steps_per_epoch)
        return _After(rise, then)


class _After(Pace):
    """A linear rise of so many steps, then another pace."""

    def __init__(self, rise: int, then: Pace) -> None:
        self.rise, self.then = rise, then

    def factor(self, step: int) -> float:
        return (step + 1) / (self.rise + 1) if step < self.rise else self.then.factor(step - self.rise)

    def observe(self, validation_loss: float) -> None:
        self.then.observe(validation_loss)

    @property
    def state(self) -> State:
        return self.then.state

    @state.setter
    def state(self, state: Mapping[str, float | int]) -> None:
        self.then.state = dict(state)


SCHEDULES: tuple[type[ScheduleSpec], ...] = (
    Constant,
    Step,
    Exponential,
    InverseTime,
    Cosine,
    OneCycle,
    WarmUp,
    Plateau,
)

Schedule = Annotated[Constant | Step | Exponential | InverseTime | Cosine | OneCycle | WarmUp | Plateau, KIND]


def _cosine(start: float, end: float, fraction: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * fraction)) / 2


def _require_steps(total_steps: int, steps_per_epoch: int) -> None:
    if total_steps < 1 or steps_per_epoch < 1:
        raise SpecError(
            "step-count",
            f"a schedule needs at least 1 step in all and per epoch, and got {total_steps} and {steps_per_epoch}.",
        )
