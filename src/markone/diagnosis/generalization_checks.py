"""Checks of what training and validation say together: overfitting (variance), underfitting (bias)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from markone.diagnosis import thresholds as limit
from markone.diagnosis.evidence import (
    blind_loss,
    confidence,
    is_finite,
    is_over,
    is_taught,
    learnable,
    learning,
    log_ratio,
    skill,
    won_lately,
)
from markone.diagnosis.finding import Finding, Severity
from markone.diagnosis.wording import share
from markone.training.run import Run


@dataclass(frozen=True)
class Gap:
    """Error on validation less error on training, as shares of a blind guess's error, and how many standard errors that is."""

    training: float
    validation: float
    errors: float

    @property
    def size(self) -> float:
        return self.validation - self.training


def overfitting(run: Run) -> Iterator[Finding]:
    """Validation is worse than training by more than chance, and by more than is left to learn; worse still if it worsens.

    The gap is judged by its own standard error: sqrt(p (1 - p) (1/n + 1/m)) for error rates p.
    """
    gap = _gap(run)
    if gap is None or not is_finite(run):
        return
    if gap.errors < limit.GAP_ERRORS or gap.size < max(limit.GAP_SHARE, limit.VARIANCE_SHARE * gap.validation):
        return
    rise, best_step = _validation_rise(run)
    worsens = rise >= limit.LOSS_RISE
    message = (
        f"Validation keeps {share(gap.validation)} of a blind guess's error and training {share(gap.training)}: a gap of"
        f" {gap.errors:.1f} standard errors"
    )
    if worsens:
        message += (
            f", and since step {best_step:,} the validation loss has risen by {share(rise)} of a blind guess's while the training"
            " loss went on falling"
        )
    yield Finding(
        slug="overfitting",
        severity=Severity.WARNING if worsens else Severity.NOTE,
        where="validation",
        since_step=best_step if worsens else int(run.scalars("loss", "validation").steps[-1]),
        measured=gap.validation,
        reference=gap.training,
        confidence=confidence(log_ratio(gap.errors, limit.GAP_ERRORS), len(run.scalars("loss", "validation"))),
        message=message + ".",
        evidence={"standard_errors": gap.errors, "validation_loss_rise": rise, "best_step": best_step},
    )


def _gap(run: Run) -> Gap | None:
    """None where there is no validation part, too little of it, or no epoch yet."""
    training, validation = skill(run, "training"), skill(run, "validation")
    samples = run.facts.get("samples", {})
    n, m = samples.get("training", 0), samples.get("validation", 0)
    n = run.facts.get("estimate", {}).get("training", n)  # the training metrics are of a part of it
    if training is None or validation is None or m < limit.LEAST_VALIDATION or n == 0:
        return None
    left, right = 1 - training.last, 1 - validation.last
    if run.scalars("accuracy", "validation"):
        scale = 1 - run.facts["blind_guess"]["accuracy"]  # errors of all samples, not of a blind guess's
        return Gap(left, right, _errors_apart(left * scale, n, right * scale, m))
    return Gap(left, right, log_ratio(right, left) / math.sqrt(limit.SQUARE_KURTOSIS * (1 / n + 1 / m)))


def _errors_apart(a: float, n: int, b: float, m: int) -> float:
    """(b - a) in standard errors, for error rates a of n samples and b of m; one success and one failure are added to each.

    Agresti and Caffo, Simple and effective confidence intervals for proportions and differences of proportions, 2000.
    """
    a, b = (a * n + 1) / (n + 2), (b * m + 1) / (m + 2)
    return (b - a) / math.sqrt(a * (1 - a) / (n + 2) + b * (1 - b) / (m + 2))


def _validation_rise(run: Run) -> tuple[float, int]:
    """By how much of a blind guess's loss the validation loss has risen from its least, and the step of that."""
    losses, training, blind = run.scalars("loss", "validation"), run.scalars("loss", "training"), blind_loss(run)
    if blind is None or not losses:
        return 0.0, 0
    lowest = int(np.argmin(losses.values))
    fell = not training or training.last <= training.values[np.searchsorted(training.steps, losses.steps[lowest])]
    rise = (losses.last - float(losses.values[lowest])) / blind if fell else 0.0
    return rise, int(losses.steps[lowest])


def underfitting(run: Run) -> Iterator[Finding]:
    """The training has ended and even its own samples are hardly better than guessed: bias, not variance."""
    state = learning(run)
    if state is None or not is_taught(run) or not is_over(run) or not is_finite(run) or run.steps < limit.LEAST_STEPS:
        return
    if state.learned > limit.LITTLE_LEARNED:
        return
    gap = _gap(run)
    if gap is not None and gap.errors >= limit.GAP_ERRORS:
        return
    won = won_lately(skill(run, "training"))
    plateau = won is not None and won < limit.STILL_RISING
    severity = state.severity if state.explained <= limit.UNEXPLAINED else Severity.NOTE
    if not plateau and severity is not Severity.NOTE:  # more epochs may be all it lacks
        severity = Severity.NOTE if state.learned > limit.NOTHING_LEARNED else Severity.WARNING
    known = learnable(run)
    if known is not None and state.learned >= max(known - limit.GAP_SHARE, limit.NOTHING_LEARNED):
        severity = Severity.NOTE  # there may be no more in the data
    parameters, samples = run.complexity().get("parameters"), run.facts.get("samples", {}).get("training")
    if won is None:
        why = "and the training was too short to tell whether it would go on"
    elif not plateau:
        why = "it still learns, so the training was too short"
    elif parameters and samples and parameters < samples:
        why = f"and it has stopped learning: with {parameters:,.0f} parameters for {samples:,} samples the net may be too small"
    else:
        why = (
            "and it has stopped learning: the net cannot tell the targets from these inputs, or something holds it back"
        )
    yield Finding(
        slug="underfitting",
        severity=severity,
        where="training",
        since_step=run.steps,
        measured=state.learned,
        reference=limit.LITTLE_LEARNED,
        confidence=confidence(
            log_ratio(limit.LITTLE_LEARNED, max(state.learned, 0.01)), len(run.scalars("loss", "training"))
        ),
        message=(
            f"At the end {share(max(state.learned, 0.0))} of a blind guess's error is gone on the training part itself, {why}."
        ),
        evidence={"loss_left": state.now, "parameters": parameters, "skill_won_lately": won},
    )
