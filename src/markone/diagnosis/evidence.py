"""What several checks look at: how much was learned, how the steps went, how far the record reaches."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from markone.diagnosis import thresholds as limit
from markone.training.run import Run, Series

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Learning:
    """Losses as multiples of the loss of a blind guess, and skill.

    first: before training. best, now: of the evaluations since and of the present. learned: the share of a blind guess's error that is
    gone, 1 - now by the loss or (accuracy - blind) / (1 - blind) by the accuracy, whichever is more.
    """

    first: float
    best: float
    now: float
    learned: float


def learning(run: Run) -> Learning | None:
    """None where the record holds no blind guess or no loss yet."""
    blind = blind_loss(run)
    losses, batch = run.scalars("loss", "training"), run.scalars("loss", "batch")
    if blind is None or not batch:
        return None
    first = losses.values[0] if losses and losses.steps[0] == 0 else batch.values[0]
    later = losses.values[losses.steps > 0] if losses else np.empty(0)
    recent = batch.values[-max(1, round(len(batch) * limit.RECENT_LOSSES)) :]
    now = min([float(np.median(recent)), *later[-1:].tolist()]) if ended_finite(run) else math.inf
    best = min([now, *later.tolist()])
    by_loss = 1 - now / blind
    by_accuracy = skill(run, "training")
    learned = max(by_loss, float(by_accuracy.values[-1])) if by_accuracy and ended_finite(run) else by_loss
    return Learning(first / blind, best / blind, now / blind, learned)


def blind_loss(run: Run) -> float | None:
    """The loss of a blind guess; None where it is unknown, or zero as that of the perceptron criterion is."""
    loss = run.facts.get("blind_guess", {}).get("loss")
    return float(loss) if loss is not None and loss > 0 else None


def skill(run: Run, part: str) -> Series | None:
    """After every epoch, the share of a blind guess's error that is gone: accuracy by (a - blind) / (1 - blind), numbers by R^2."""
    blind = run.facts.get("blind_guess", {})
    accuracy, r2 = run.scalars("accuracy", part), run.scalars("r2", part)
    if accuracy and blind.get("accuracy", 1.0) < 1:
        values = (accuracy.values - blind["accuracy"]) / (1 - blind["accuracy"])
    elif r2:
        values = r2.values
    else:
        return None
    series = accuracy or r2
    later = series.steps > 0
    return Series(series.steps[later], series.epochs[later], values[later]) if later.any() else None


def ended_finite(run: Run) -> bool:
    losses = run.scalars("loss", "batch")
    return "non_finite" not in run.facts and (not losses or math.isfinite(losses.last))


def is_over(run: Run) -> bool:
    """Whether no more steps come, so that what was not learned will not be."""
    return run.status != "running"


@dataclass(frozen=True, eq=False)
class Steps:
    """The sampled optimizer steps: learning rate, what the same batch's loss fell by, what its gradient promised, |change| / |weights|."""

    steps: Ints
    lr: Floats
    gain: Floats
    predicted: Floats
    update_ratio: Floats

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def ratio(self) -> Floats:
        """gain / predicted: near 1 short against the curvature, 1/2 at the valley's floor, under 0 beyond the other side.

        Only where the gradient promised a gain; elsewhere (momentum may carry the weights uphill) NaN.
        """
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return np.where(self.predicted > 0, self.gain / self.predicted, np.nan)

    def where(self, chosen: NDArray[np.bool_]) -> "Steps":
        return Steps(*(values[chosen] for values in (self.steps, self.lr, self.gain, self.predicted, self.update_ratio)))

    @property
    def at_full_rate(self) -> "Steps":
        """Those whose learning rate is near the largest so far."""
        return self.where(self.lr >= limit.FULL_RATE * self.lr.max()) if len(self) else self

    @property
    def recent(self) -> "Steps":
        return self.where(np.arange(len(self)) >= int(len(self) * (1 - limit.RECENT)))


def sampled_steps(run: Run) -> Steps:
    """What the record holds of the steps themselves; empty where vitals were not taken."""
    names = ("step_gain", "step_gain_predicted", "update_ratio")
    series = [run.scalars("lr", "batch"), *(run.vitals(name).get("net", _EMPTY) for name in names)]
    steps = series[0].steps
    for one in series[1:]:
        steps = np.intersect1d(steps, one.steps)
    return Steps(steps, *(one.values[np.isin(one.steps, steps)] for one in series))


def aligned(vitals: Mapping[str, Series]) -> tuple[Ints, Floats]:
    """Steps (n,) that all layers share, and values (n, layers)."""
    found = list(vitals.values())
    if not found:
        return np.empty(0, np.int64), np.empty((0, 0))
    steps = found[0].steps
    for one in found[1:]:
        if len(one) != len(steps) or (one.steps != steps).any():
            steps = np.intersect1d(steps, one.steps)
    return steps, np.stack([one.values[np.isin(one.steps, steps)] for one in found], axis=1)


def weight_layers(run: Run) -> list[str]:
    """Linear and convolutional layers in forward order."""
    return [layer.name for layer in run.layers if layer.role == "weights"]


def enough_vitals(run: Run) -> bool:
    return len(sampled_steps(run)) >= limit.LEAST_SAMPLES and run.steps >= limit.LEAST_STEPS


def confidence(distance: float, agreeing: int, of: int | None = None) -> float:
    """(1 - exp(-distance) / 2) (agreeing + 1) / (of + 2), between 0 and 1.

    distance: how far over the threshold, in natural logarithms (0 at it: even odds). agreeing, of: samples that say so, by Laplace's
    rule of succession.
    """
    distance = min(max(distance, 0.0), 50.0) if not math.isnan(distance) else 0.0
    return round((1 - math.exp(-distance) / 2) * (agreeing + 1) / ((agreeing if of is None else of) + 2), 3)


def log_ratio(value: float, reference: float) -> float:
    """ln(value / reference), held within +-50 where one of them is zero or infinite."""
    if value <= 0 or reference == math.inf:
        return -50.0
    if reference <= 0 or value == math.inf:
        return 50.0
    return min(max(math.log(value / reference), -50.0), 50.0)


def first_step(steps: Ints, holds: NDArray[np.bool_]) -> int:
    """The step since which it has held without a break, or else the first one at which it held."""
    if not holds.any():
        return int(steps[-1])
    breaks = np.flatnonzero(~holds)
    start = breaks[-1] + 1 if len(breaks) and breaks[-1] + 1 < len(holds) else int(np.argmax(holds))
    return int(steps[start])


_EMPTY = Series(np.empty(0, np.int64), np.empty(0), np.empty(0))
