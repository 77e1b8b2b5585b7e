"""Checks of the optimizer's steps: non-finite, lr-too-high, lr-too-low."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from markone.diagnosis import thresholds as limit
from markone.diagnosis.evidence import (
    Learning,
    Steps,
    blind_loss,
    confidence,
    enough_vitals,
    is_finite,
    is_over,
    learning,
    log_ratio,
    may_come_back,
    median,
    of_net,
    sampled_steps,
    since,
    skill,
    won_lately,
)
from markone.diagnosis.finding import Finding, Severity
from markone.diagnosis.wording import share
from markone.training.run import Run


def non_finite(run: Run) -> Iterator[Finding]:
    """The loss became NaN or infinite: nothing after that step is a training."""
    if is_finite(run):
        return
    fact, losses, step = run.facts.get("non_finite", {}), run.scalars("loss", "batch"), _bad_step(run)
    where = fact.get("module") or _first_bad_layer(run, step)
    what = {"nan": "not a number", "inf": "infinite"}.get(fact.get("loss", "nan"), "not a number")
    planned = run.facts.get("plan", {}).get("total_steps", step)
    message = f"The loss is {what} at step {step:,}"
    before = losses.values[np.isfinite(losses.values) & (losses.steps < step)]
    if len(before):
        message += f"; it was {before[-1]:.3g} just before, and {before[0]:.3g} at first"
    if fact.get("inputs_finite") is False:
        message += "; the inputs themselves hold values that are no numbers"
    elif "module" in fact and fact.get("parameters"):  # of a watched training: looked at before the step, not after it
        message += f"; the weights {fact['parameters'][0]} were no numbers before the step, so the gradient of an earlier one was none"
    elif where:
        message += f"; the first layer that overflows is {where}"
    elif fact.get("operation"):
        message += f"; the first operation that gave such a value is {fact['operation']}"
    yield Finding(
        slug="non-finite",
        severity=Severity.SEVERE,
        where=where,
        place=fact.get("line") or fact.get("place"),
        since_step=step,
        measured=float(step),
        reference=float(planned),
        confidence=1.0,
        message=message + ".",
        evidence={"parameters": fact.get("parameters", []), "inputs_finite": fact.get("inputs_finite")},
    )


def _bad_step(run: Run) -> int:
    """The first step whose loss is no number."""
    losses = run.scalars("loss", "batch")
    bad = losses.steps[~np.isfinite(losses.values)]
    return int(run.facts.get("non_finite", {}).get("step", bad[0] if len(bad) else run.steps))


def _first_bad_layer(run: Run, step: int) -> str | None:
    """The first layer, in forward order, whose outputs had overflowed when they were last looked at up to that step."""
    for name, series in run.vitals("activation_std").items():
        values = series.values[series.steps <= step]
        if len(values) and not math.isfinite(values[-1]):
            return name
    return None


@dataclass(frozen=True, eq=False)
class Descent:
    """What the signs of a learning rate that is too high look at. rise: the largest of the loss, in blind guesses; and its step."""

    run: Run
    state: Learning
    steps: Steps
    blind: float
    rise: float
    rise_step: int

    @property
    def lr(self) -> str:
        return f"{self.steps.lr.max():.3g}"

    def sampled_since(self, step: int) -> int:
        return int((self.steps.steps >= step).sum())


def lr_too_high(run: Run) -> Iterator[Finding]:
    """Steps overshoot, and it costs: the loss ran away, was thrown up and stays, hovers over the valley's floor, or was lost again.

    Along a step of length a (1 reaches the floor) a parabola gains 1 - a/2 of what its gradient promised.
    """
    state, blind, steps = learning(run), blind_loss(run, batch=True), sampled_steps(run)
    finite = is_finite(run)
    steps = steps if finite else steps.where(steps.steps < _bad_step(run))
    if state is None or blind is None or not len(steps) or (finite and not enough_vitals(run)):
        return
    descent = Descent(run, state, steps, blind, *largest_rise(run, steps, blind))
    signs = (_thrown, _hovers, _rewrites, _lost) if finite else (_ran_away,)
    found = [one for sign in signs if (one := sign(descent))]
    worst = sorted(found, key=lambda one: one.severity.rank, reverse=True)[:1]
    if is_over(run) or state.learned <= limit.NOTHING_LEARNED:
        yield from worst
    else:  # the schedule may bring the rate down yet, and the training come back
        yield from (replace(one, severity=Severity.NOTE) for one in worst)


def _ran_away(at: Descent) -> Finding | None:
    """The loss is no number any more, after steps that made it worse."""
    uphill = ~(at.steps.gain >= 0)
    fraction = float(uphill.mean())
    if at.rise < limit.THROWN and fraction < limit.UPHILL:
        return None
    losses = at.run.scalars("loss", "batch").values
    last = losses[np.isfinite(losses)][-1:]
    return Finding(
        slug="lr-too-high",
        severity=Severity.SEVERE,
        since_step=since(at.steps.steps, uphill),
        measured=fraction,
        reference=limit.UPHILL,
        confidence=confidence(log_ratio(fraction, limit.UPHILL), max(1, uphill.sum()), len(uphill)),
        message=(
            f"At a learning rate of {at.lr} the loss ran away: {uphill.sum()} of {len(uphill)} sampled steps made their own batch"
            " worse" + (f", and it was {last[0]:.3g} before it was no number." if len(last) else ".")
        ),
    )


def _thrown(at: Descent) -> Finding | None:
    """One step cost more than there is to learn, and the training has not come back from it."""
    need = limit.THROWN if at.state.learned <= limit.UNMOVED_LEARNED else limit.THROWN_WELL
    need = limit.THROWN_DOWN if at.state.learned <= limit.NOTHING_LEARNED else need
    cost = at.rise * (1 - min(1.0, at.state.learned))
    if cost < need or at.state.learned >= limit.WELL_LEARNED or may_come_back(at.run):
        return None
    return Finding(
        slug="lr-too-high",
        severity=at.state.severity,
        since_step=at.rise_step,
        measured=at.rise,
        reference=need,
        confidence=confidence(log_ratio(cost, need), at.sampled_since(at.rise_step)),
        message=(
            f"At a learning rate of {at.lr} the loss rose at step {at.rise_step} by {at.rise:.3g} times what a blind guess loses, and"
            f" the training has not come back from it: {share(max(at.state.learned, 0.0))} of a blind guess's error is gone."
        ),
    )


def _hovers(at: Descent) -> Finding | None:
    """Steps carry past the valley's floor, though much is left down to it."""
    late = at.steps.at_full_rate.recent
    late = late.where(np.isfinite(late.ratio))
    if len(late) < limit.EARLY_SAMPLES or may_come_back(at.run):
        return None
    ratio, depth = median(late.ratio), median(late.depth) / at.blind
    if ratio > limit.OVERSHOOT or depth < limit.FLOOR_DEPTH:
        return None
    low = late.ratio <= limit.OVERSHOOT
    return Finding(
        slug="lr-too-high",
        severity=Severity.NOTE if _gets_on(at.run) else at.state.severity,
        since_step=since(late.steps, low),
        measured=ratio,
        reference=limit.OVERSHOOT,
        confidence=confidence(1 - ratio / limit.OVERSHOOT, low.sum(), len(low)),
        message=(
            f"At a learning rate of {at.lr} steps carry past the valley's floor: they gain {share(ratio)} of what their gradient"
            f" promises, where a step to the floor gains 50 %, and the floor lies {share(depth)} of a blind guess's loss lower."
        ),
    )


def _rewrites(at: Descent) -> Finding | None:
    """One step changed the weights by much of their own size and overshot: what they had begun with is gone."""
    overshot = at.steps.gain < limit.OVERSHOOT * np.abs(at.steps.predicted)
    hits = at.steps.where((at.steps.update_ratio >= limit.REWRITE) & overshot)
    if not len(hits) or at.state.learned >= limit.WELL_LEARNED or may_come_back(at.run):
        return None
    change, step = float(hits.update_ratio.max()), int(hits.steps[hits.update_ratio.argmax()])
    gets_on = at.state.learned > limit.LITTLE_LEARNED and _gets_on(at.run)
    return Finding(
        slug="lr-too-high",
        severity=Severity.NOTE if gets_on else at.state.severity,
        since_step=step,
        measured=change,
        reference=limit.REWRITE,
        confidence=confidence(log_ratio(change, limit.REWRITE), at.sampled_since(step)),
        message=(
            f"At a learning rate of {at.lr} step {step} changed the weights by {share(change)} of their size and overshot: what they"
            f" began with is gone, and {share(max(at.state.learned, 0.0))} of a blind guess's error has been learned since."
        ),
    )


def _lost(at: Descent) -> Finding | None:
    """What was learned is lost again, after a step that overshot."""
    lost = at.state.now - at.state.best
    if lost < limit.LOST or at.rise < limit.LOST:
        return None
    return Finding(
        slug="lr-too-high",
        severity=at.state.severity,
        since_step=at.rise_step,
        measured=lost,
        reference=limit.LOST,
        confidence=confidence(log_ratio(lost, limit.LOST), at.sampled_since(at.rise_step)),
        message=(
            f"At a learning rate of {at.lr} what was learned is lost again: the loss had come down to {share(at.state.best)} of a"
            f" blind guess's and is at {share(at.state.now)} now; the largest rise was at step {at.rise_step}."
        ),
    )


def largest_rise(run: Run, steps: Steps, blind: float) -> tuple[float, int]:
    """By how many blind guesses the loss rose at most, and at which step: on one batch over one step, or from its least over batches.

    Batches differ, so a rise over batches is taken from their running median, less what chance gives it.
    """
    rises = [(0.0, int(steps.steps[0]))]
    finite = np.isfinite(steps.gain)
    if finite.any():
        worst = int(np.argmin(np.where(finite, steps.gain, np.inf)))
        rises.append((-float(steps.gain[worst]) / blind, int(steps.steps[worst])))
    losses = run.scalars("loss", "batch")
    known = np.isfinite(losses.values)
    values, at = losses.values[known], losses.steps[known]
    window = int(limit.EARLY_SAMPLES)
    if len(values) > window:
        smooth = np.median(np.lib.stride_tricks.sliding_window_view(values, window), axis=1)
        # 1.4826 median |x| estimates a standard deviation; a difference of two batches has sqrt 2 of one's.
        noise = 1.4826 * median(np.abs(np.diff(values))) / math.sqrt(2)
        rise = smooth - np.minimum.accumulate(smooth) - limit.NOISE * noise
        rises.append((float(rise.max()) / blind, int(at[int(rise.argmax()) + window // 2])))
    return max(rises)


def _gets_on(run: Run) -> bool:
    return (won_lately(skill(run, "training")) or 0.0) >= limit.RISING_FAST


def lr_too_low(run: Run) -> Iterator[Finding]:
    """Steps are far too short for the curvature, and the training shows it: the weights hardly move, or skill still rises at the end.

    A step of length a gains 1 - a/2 of what its gradient promised: at 0.95 one ten times longer would just reach the floor.
    """
    state = learning(run)
    if state is None or not enough_vitals(run) or state.learned >= limit.WELL_LEARNED or not is_finite(run):
        return
    steps = sampled_steps(run).at_full_rate
    known = steps.where(np.isfinite(steps.ratio))
    if len(known) < limit.LEAST_SAMPLES or _lr_is_rising(run):
        return
    ratio = median(known.ratio)
    won = won_lately(skill(run, "validation") or skill(run, "training")) if is_over(run) else None
    rising = won or 0.0  # what nobody knows is no sign of steps that are too short
    path = _path(run)
    moved = path > limit.SMALL_PATH or (state.learned > limit.UNMOVED_LEARNED and rising < limit.STILL_RISING)
    if ratio < limit.SHORT or (moved and rising < limit.STILL_RISING):
        return
    update = median(known.update_ratio)
    stuck = update <= limit.SMALL_UPDATE or (
        not moved and run.steps >= limit.FEW_STEPS
    )  # a few steps lead nowhere anyhow
    sure = state.learned <= limit.UNMOVED_LEARNED and stuck
    severity = state.severity if sure else Severity.NOTE
    short = known.ratio >= limit.SHORT
    room = "ten" if ratio > 1 - (1 - limit.SHORT) / 10 else f"{1 / (2 * (1 - ratio)):.0f}"
    message = (
        f"At a learning rate of {known.lr.max():.3g} steps are far too short: they gain {share(ratio)} of what their gradient promises,"
        f" so steps more than {room} times longer still go downhill. In {run.steps:,} steps the weights moved by {share(path)}"
        f" of their size, and {share(max(state.learned, 0.0))} of a blind guess's error is gone."
    )
    yield Finding(
        slug="lr-too-low",
        severity=severity,
        since_step=int(known.steps[0]),
        measured=ratio,
        reference=limit.SHORT,
        confidence=confidence(log_ratio(1 - limit.SHORT, 1 - ratio), short.sum(), len(short)),
        message=message,
        evidence={"path": path, "update_ratio": update, "learned": state.learned, "skill_won_lately": won},
    )


def _path(run: Run) -> float:
    """Sum of |change| / |weights| over the steps, between samples by interpolation; of all planned steps while it runs."""
    ratios = of_net(run, "update_ratio")
    known = np.isfinite(ratios.values)
    each = np.interp(np.arange(1, run.steps + 1), ratios.steps[known], ratios.values[known])
    planned = run.facts.get("plan", {}).get("total_steps", run.steps)
    return float(each.sum()) * (1.0 if is_over(run) else max(1.0, planned / run.steps))


def _lr_is_rising(run: Run) -> bool:
    """A warm-up that has not come to its end says nothing of the rate that it leads to."""
    rates = run.scalars("lr", "batch").values
    return not is_over(run) and len(rates) > 1 and rates[-1] >= rates.max() and rates[-1] > rates[0]
