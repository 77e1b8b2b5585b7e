"""Checks of how a training goes over time, whatever the reason: loss-diverging, loss-oscillating, loss-plateau, constant-output,
poor-initial-loss, activation-scale-drift, log-of-zero.

All but the last are symptoms: with a cause in sight they are folded under it.
"""

import math
from collections.abc import Iterator

import numpy as np

from markone.diagnosis import thresholds as limit
from markone.diagnosis.evidence import (
    Learning,
    blind_loss,
    confidence,
    enough_vitals,
    is_finite,
    is_over,
    is_taught,
    learning,
    log_ratio,
    may_come_back,
    median,
    recent,
    since,
)
from markone.diagnosis.finding import Finding, Severity
from markone.diagnosis.optimizer_checks import projected_fall
from markone.diagnosis.wording import share, times
from markone.training.run import Run


def loss_diverging(run: Run) -> Iterator[Finding]:
    """The loss is a number, and lies above where it began, by more than chance and by more than a word is worth."""
    state, blind, losses = learning(run), blind_loss(run, batch=True), run.scalars("loss", "batch")
    if state is None or blind is None or not is_finite(run) or run.steps < limit.LEAST_STEPS or may_come_back(run):
        return
    late = losses.values[-max(int(limit.EARLY_SAMPLES), round(len(losses) * limit.RECENT_LOSSES)) :] / blind
    start, chance = max(1.0, state.first), limit.NOISE * float(late.std()) / math.sqrt(len(late))
    if state.now < start + max(chance, limit.LOSS_RISE) or state.learned > limit.NOTHING_LEARNED:
        return
    above = losses.values > start * blind
    yield Finding(
        slug="loss-diverging",
        severity=Severity.SEVERE,
        since_step=since(losses.steps, above),
        measured=state.now,
        reference=start,
        confidence=confidence(log_ratio(state.now, start), above[-len(late) :].sum(), len(late)),
        message=f"The loss goes up: it is {times(state.now)} times a blind guess's at present, and was {state.first:.3g} times that"
        " before the first step.",
        evidence={"best": state.best},
    )


def loss_oscillating(run: Run) -> Iterator[Finding]:
    """The loss of the training part swings up and down from evaluation to evaluation, and gets nowhere.

    Batches differ, but these losses are of the same samples every time: what they swing by, the net does.
    """
    state, blind, losses = learning(run), blind_loss(run), run.scalars("loss", "training")
    values = losses.values[losses.steps > 0]
    if state is None or blind is None or not is_finite(run) or may_come_back(run) or len(values) < limit.LEAST_EPOCHS:
        return
    changes = np.diff(values) / blind
    rises, falls = changes[changes > limit.SWING], changes[changes < -limit.SWING]
    swings = min(len(rises), len(falls))
    if state.learned > limit.LITTLE_LEARNED or swings < 1 or state.now < state.best + limit.SWING:
        return
    swing = float(min(rises.max(), -falls.min()))
    yield Finding(
        slug="loss-oscillating",
        severity=state.severity,
        since_step=int(losses.steps[losses.steps > 0][int(np.argmax(changes > limit.SWING)) + 1]),
        measured=swing,
        reference=float(limit.SWING),
        confidence=confidence(log_ratio(swing, limit.SWING), len(rises) + len(falls), len(changes)),
        message=f"The loss of the same samples swings: from evaluation to evaluation it rose {len(rises)} and fell {len(falls)} times by"
        f" over {share(limit.SWING)} of a blind guess's, and is at {share(state.now)} of it where it had been at {share(state.best)}.",
        evidence={"learned": state.learned},
    )


def loss_plateau(run: Run) -> Iterator[Finding]:
    """Over the later half the loss has not fallen by more than chance, and much is left to learn."""
    state, losses = learning(run), run.scalars("loss", "batch")
    values = recent(losses.values)
    if state is None or not is_finite(run) or not is_taught(run) or may_come_back(run):
        return
    if state.learned > limit.LITTLE_LEARNED or len(values) < limit.LEAST_STEPS or _rate_is_gone(run):
        return
    fall = projected_fall(run) or 0.0
    if fall >= limit.STILL_FALLING:
        return
    severity = state.severity if state.explained <= limit.UNEXPLAINED else Severity.NOTE
    yield Finding(
        slug="loss-plateau",
        severity=severity,
        since_step=int(losses.steps[len(losses) - len(values)]),
        measured=fall,
        reference=float(limit.STILL_FALLING),
        confidence=confidence(log_ratio(limit.LITTLE_LEARNED, max(state.learned, 0.01)), len(values)),
        message=f"The loss stands still: as its last {len(values):,} steps went, it would fall by {share(fall)} of a blind guess's in as"
        f" many steps again as there were, and {share(max(0.0, state.now))} of that is left.",
        evidence={"learned": state.learned},
    )


def _rate_is_gone(run: Run) -> bool:
    """Whether a schedule has taken most of the learning rate away: then a loss that stands still is meant to."""
    rates = recent(run.scalars("lr", "batch").values)
    return bool(len(rates)) and median(rates) < limit.FULL_RATE * float(run.scalars("lr", "batch").values.max())


def constant_output(run: Run) -> Iterator[Finding]:
    """The net answers every sample alike: the outputs of its last layer do not differ between the rows of a batch."""
    state, layer = learning(run), _last_layer(run)
    rows, size = (run.vitals(name).get(layer or "") for name in ("row_deviation", "activation_std"))
    if state is None or rows is None or size is None or not is_taught(run) or not enough_vitals(run):
        return
    if state.learned > limit.NOTHING_LEARNED or may_come_back(run):
        return
    known = np.isfinite(rows.values)
    steps, values = rows.steps[known], rows.values[known]
    if not len(values):
        return
    early, spread = median(values[: int(limit.EARLY_SAMPLES)]), median(recent(size.values[np.isfinite(size.values)]))
    reference = limit.SAME_OUTPUT * max(early, spread)  # between samples at first, and between outputs now
    now, holds = median(recent(values)), values <= reference
    if now > reference or values.max() <= 0:  # of batches of one sample nothing is known
        return
    yield Finding(
        slug="constant-output",
        severity=state.severity,
        where=layer,
        since_step=since(steps, holds),
        measured=now,
        reference=reference,
        confidence=confidence(log_ratio(reference, now), holds.sum(), len(holds)),
        message=f"The net answers every sample alike: between the samples of a batch the outputs of {layer} differ by {now:.2g} (standard"
        f" deviation); at first they differed by {values[0]:.2g}.",
        evidence={"learned": state.learned},
    )


def _last_layer(run: Run) -> str | None:
    layers = [layer.name for layer in run.layers if layer.role == "weights"]
    return layers[-1] if layers else None


def poor_initial_loss(run: Run) -> Iterator[Finding]:
    """The untrained net loses several times what a blind guess does: its outputs are far too large, and it cost the training."""
    state = learning(run)
    if state is None or not is_taught(run) or not math.isfinite(state.first) or state.first < limit.POOR_START:
        return
    if run.steps < limit.LEAST_STEPS or may_come_back(run):
        return
    yield Finding(
        slug="poor-initial-loss",
        severity=state.severity if state.learned <= limit.LITTLE_LEARNED else Severity.NOTE,
        where=_last_layer(run),
        since_step=0,
        measured=state.first,
        reference=float(limit.POOR_START),
        confidence=confidence(log_ratio(state.first, limit.POOR_START), len(run.scalars("loss", "training"))),
        message=f"Before the first step the loss is {times(state.first)} times that of a blind guess: the net begins sure of answers that"
        f" are wrong, and first has to unlearn them. {share(max(state.learned, 0.0))} of a blind guess's error is gone.",
        evidence={"learned": state.learned},
    )


def activation_scale_drift(run: Run) -> Iterator[Finding]:
    """The outputs of a layer have grown or shrunk by orders of magnitude since the first steps, and little was learned."""
    state = learning(run)
    if state is None or not enough_vitals(run) or state.learned > limit.LITTLE_LEARNED or may_come_back(run):
        return
    worst = max(_drifts(run), key=lambda one: abs(math.log(one[1])), default=None)
    if worst is None or abs(math.log(worst[1])) < math.log(limit.DRIFT):
        return
    layer, factor, start = worst
    how = f"{times(factor)} times larger" if factor > 1 else f"{times(1 / factor)} times smaller"
    yield Finding(
        slug="activation-scale-drift",
        severity=_cost(state),
        where=layer,
        since_step=start,
        measured=factor,
        reference=float(limit.DRIFT if factor > 1 else 1 / limit.DRIFT),
        confidence=confidence(abs(math.log(factor)) - math.log(limit.DRIFT), len(run.vitals("activation_std")[layer])),
        message=f"The outputs of {layer} are {how} than in the first steps (standard deviation): the layers behind it were not begun, and"
        " their learning rate not chosen, for such inputs.",
        evidence={"learned": state.learned},
    )


def _cost(state: Learning) -> Severity:
    return Severity.WARNING if state.learned <= limit.NOTHING_LEARNED else Severity.NOTE


def _drifts(run: Run) -> Iterator[tuple[str, float, int]]:
    """Every layer with weights, by what factor its outputs' standard deviation has changed, and since when."""
    deviations = run.vitals("activation_std")
    for layer in run.layers:
        series = deviations.get(layer.name)
        if layer.role != "weights" or series is None or len(series) < 2 * limit.EARLY_SAMPLES:
            continue
        early, now = float(series.values[0]), median(recent(series.values))
        if early > 0 and now > 0 and math.isfinite(early) and math.isfinite(now):
            far = np.abs(np.log(np.maximum(series.values, 1e-30) / early)) >= math.log(limit.DRIFT)
            yield layer.name, now / early, since(series.steps, far)


def log_of_zero(run: Run) -> Iterator[Finding]:
    """The logarithm of something that is not over 0 made the loss infinite or no number."""
    fact = run.facts.get("non_finite", {})
    operation = str(fact.get("operation") or "")
    if not operation.startswith("Log") or not operation.endswith("not over 0") or fact.get("parameters"):
        return
    yield Finding(
        slug="log-of-zero",
        severity=Severity.SEVERE,
        place=fact.get("line"),
        since_step=int(fact["step"]),
        measured=0.0,
        reference=0.0,
        confidence=1.0,
        message=f"At step {fact['step']:,} a logarithm was taken of 0 or less, and the loss is no number since: a probability came to"
        " exactly 0 in floating point. Take the loss from the scores (CrossEntropyLoss, BCEWithLogitsLoss, log_softmax, logsigmoid).",
        evidence={"operation": operation, "is_over": is_over(run)},
    )


CHECKS = (
    log_of_zero,
    poor_initial_loss,
    constant_output,
    activation_scale_drift,
    loss_diverging,
    loss_oscillating,
    loss_plateau,
)
