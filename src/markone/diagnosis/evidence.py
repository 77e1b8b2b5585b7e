"""What several checks look at: how much was learned, how the steps went, how far the record reaches."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from markone.diagnosis import thresholds as limit
from markone.diagnosis.finding import Severity
from markone.training.run import Run, Series

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

EMPTY = Series(np.empty(0, np.int64), np.empty(0), np.empty(0))


@dataclass(frozen=True)
class Learning:
    """Losses as multiples of a blind guess's, and what came of them.

    first: before training. best: the least of the evaluations since. now: at present, infinite once the loss is no number.
    explained: 1 - now. learned: the share of a blind guess's error that is gone, by the loss or by the accuracy, whichever is more;
    0 once the loss is no number.
    """

    first: float
    best: float
    now: float
    learned: float

    @property
    def explained(self) -> float:
        return 1 - self.now

    @property
    def severity(self) -> Severity:
        """What a fault in the net has cost."""
        if self.learned <= limit.NOTHING_LEARNED:
            return Severity.SEVERE
        return Severity.WARNING if self.learned < limit.WELL_LEARNED else Severity.NOTE


def learning(run: Run) -> Learning | None:
    """None where the record holds no blind guess to judge a loss by, no loss yet, or a rule that no target teaches."""
    if not is_taught(run):
        return None
    blind, blind_batch = blind_loss(run), blind_loss(run, batch=True)
    losses, batch = run.scalars("loss", "training"), run.scalars("loss", "batch")
    if blind is None or blind_batch is None or not batch:
        return None
    batches, evaluated = batch.values / blind_batch, losses.values / blind
    later = evaluated[losses.steps > 0].tolist()
    first = evaluated[0] if losses and losses.steps[0] == 0 else batches[0]
    if not is_finite(run):
        return Learning(float(first), min([math.inf, *later]), math.inf, 0.0)
    # the last evaluation or the median of the last batches: whichever speaks for the training
    now = min([median(batches[-max(1, round(len(batches) * limit.RECENT_LOSSES)) :]), *later[-1:]])
    accuracy = skill(run, "training") or skill(run, "validation")  # of watched trainings the first is seldom known
    learned = max(1 - now, accuracy.last) if accuracy else 1 - now
    return Learning(float(first), min([now, *later]), now, learned)


def blind_loss(run: Run, *, batch: bool = False) -> float | None:
    """The loss of a blind guess, or its loss on batches, which label smoothing makes another one.

    None where it is unknown, or zero as that of the perceptron criterion is.
    """
    guess = run.facts.get("blind_guess", {})
    loss = guess.get("batch_loss", guess.get("loss")) if batch else guess.get("loss")
    return float(loss) if loss is not None and loss > 0 else None


def skill(run: Run, part: str) -> Series | None:
    """After every epoch, the share of a blind guess's error that is gone: (accuracy - blind) / (1 - blind), or R^2.

    Of maps it is the accuracy on pixels.
    """
    guess = run.facts.get("blind_guess", {})
    name = "pixel_accuracy" if "pixel_accuracy" in guess else "accuracy"
    blind = guess.get(name, 1.0)
    accuracy, r2 = run.scalars(name, part), run.scalars("r2", part)
    series, values = (accuracy, (accuracy.values - blind) / (1 - blind)) if accuracy and blind < 1 else (r2, r2.values)
    later = series.steps > 0
    return Series(series.steps[later], series.epochs[later], values[later]) if later.any() else None


def learnable(run: Run) -> float | None:
    """The share of a blind guess's error that nearest neighbours or a linear map leave out on held-out rows; None where unknown.

    What a net has reached as well may be all there is in the data.
    """
    labels = run.facts.get("datasheet", {}).get("labels") or {}
    known = [labels[probe]["agreement"] for probe in ("neighbours", "linear") if probe in labels]
    return max((one - labels["chance"]) / max(1 - labels["chance"], limit.CONSTANT) for one in known) if known else None


def won_lately(series: Series | None) -> float | None:
    """By how much the last two values exceed the two in the middle of the training; None where there are too few to know."""
    if series is None or len(series) < limit.LEAST_EPOCHS:
        return None
    middle = len(series) // 2
    return float(series.values[-2:].mean() - series.values[middle - 2 : middle].mean())


def is_finite(run: Run) -> bool:
    """Whether the loss is still a number."""
    losses = run.scalars("loss", "batch")
    return "non_finite" not in run.facts and (not losses or math.isfinite(losses.last))


def is_over(run: Run) -> bool:
    """Whether the training has come to its end: what was not learned will not be. One that was interrupted may go on."""
    return run.status in ("finished", "non-finite")


def may_come_back(run: Run) -> bool:
    """Whether it still runs, and the last tenth of the batch losses lies under the tenth before by more than chance: wait and see."""
    if is_over(run):
        return False
    losses = run.scalars("loss", "batch").values
    size = max(int(limit.EARLY_SAMPLES), round(len(losses) * limit.RECENT_LOSSES))
    if len(losses) < 2 * size:
        return True
    now, before = losses[-size:], losses[-2 * size : -size]
    return bool(before.mean() - now.mean() > limit.FALL * math.sqrt((now.var() + before.var()) / size))


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
        """gain / predicted: near 1 short against the curvature, 1/2 at the valley's floor, under 0 up the other side.

        NaN where the gradient promised no gain: momentum may carry the weights uphill on a batch.
        """
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return np.where(self.predicted > 0, self.gain / self.predicted, np.nan)

    @property
    def depth(self) -> Floats:
        """How far under the batch the parabola's floor lies along each step: predicted / (2 a) with a = 2 (1 - ratio)."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return self.predicted / (4 * (1 - self.ratio))

    def where(self, chosen: Bools) -> "Steps":
        numbers = (self.lr[chosen], self.gain[chosen], self.predicted[chosen], self.update_ratio[chosen])
        return Steps(self.steps[chosen], *numbers)

    @property
    def at_full_rate(self) -> "Steps":
        """Those whose learning rate is near the largest so far."""
        return self.where(self.lr >= limit.FULL_RATE * self.lr.max()) if len(self) else self

    @property
    def recent(self) -> "Steps":
        return self.where(np.arange(len(self)) >= int(len(self) * (1 - limit.RECENT)))


def follows_gradient(run: Run) -> bool:
    """Whether steps go by the gradient of the loss: with a rule of its own they do not, and gain what nobody promised."""
    return run.recipe is None or run.recipe.rule.kind == "backpropagation"


def is_taught(run: Run) -> bool:
    """Whether the targets decide what is learned; if not, how well they are met says nothing of the training."""
    return run.recipe is None or run.recipe.rule.is_taught


def sampled_steps(run: Run) -> Steps:
    """What the record holds of the steps themselves; empty where vitals were not taken, or no gradient was followed."""
    if not follows_gradient(run):
        return Steps(np.empty(0, np.int64), *np.empty((4, 0)))
    names = ("step_gain", "step_gain_predicted", "update_ratio")
    steps, values = aligned({"lr": run.scalars("lr", "batch")} | {name: of_net(run, name) for name in names})
    return Steps(steps, *values.T)


def of_net(run: Run, vital: str) -> Series:
    """A vital of the whole net; empty where it was not taken."""
    return run.vitals(vital).get("net", EMPTY)


def aligned(series: Mapping[str, Series]) -> tuple[Ints, Floats]:
    """Steps (n,) that all of them share, and their values (n, series)."""
    found = list(series.values())
    steps = found[0].steps if found else np.empty(0, np.int64)
    for one in found[1:]:
        if len(one) != len(steps) or (one.steps != steps).any():
            steps = np.intersect1d(steps, one.steps)
    columns = [one.values if len(one) == len(steps) else one.values[np.isin(one.steps, steps)] for one in found]
    return steps, np.stack(columns, axis=1) if columns else np.empty((0, 0))


def enough_vitals(run: Run) -> bool:
    """Whether enough steps were looked at; of some the loss could not be taken again, and they say nothing of the steps' length."""
    looked = len(of_net(run, "update_ratio")) if follows_gradient(run) else 0
    return looked >= limit.LEAST_SAMPLES and run.steps >= limit.LEAST_STEPS


def confidence(distance: float, agreeing: float, of: float | None = None) -> float:
    """(1 - exp(-distance) / 2) (agreeing + 1) / (of + 2), between 0 and 1.

    distance: how far over the threshold, in natural logarithms; at the threshold the odds are even. agreeing, of: how many samples say
    so, of how many, by Laplace's rule of succession.
    """
    return round(float((1 - math.exp(-max(distance, 0.0)) / 2) * (agreeing + 1) / ((of or agreeing) + 2)), 3)


def log_ratio(value: float, reference: float) -> float:
    """ln(value / reference), where 0 and infinity count as e^-50 and e^50 times the other."""
    if value <= 0 or math.isinf(reference):
        return -50.0
    if reference <= 0 or math.isinf(value):
        return 50.0
    return min(max(math.log(value / reference), -50.0), 50.0)


def since(steps: Ints, holds: Bools) -> int:
    """The first step from which it holds at nearly all samples up to the present; the first at which it held, if there is none."""
    if not holds.any():
        return int(steps[-1])
    from_here_on = np.cumsum(holds[::-1])[::-1] / np.arange(len(holds), 0, -1)
    lasting = holds & (from_here_on >= limit.MOSTLY)
    return int(steps[np.argmax(lasting if lasting.any() else holds)])


def recent(values: Floats) -> Floats:
    """The later half of the samples (n, ...)."""
    return values[int(len(values) * (1 - limit.RECENT)) :]


def median(values: Floats) -> float:
    return float(np.median(values))
