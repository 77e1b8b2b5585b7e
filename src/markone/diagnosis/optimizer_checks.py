"""Checks of how the steps were set up: optimizer-arguments, weights-unchanged, batch-size-too-small, batch-size-too-large, epochs-too-few.

What was chosen stands in the fact ``optimizer``; that it costs is read from what the steps did.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from markone.diagnosis import thresholds as limit
from markone.diagnosis.evidence import (
    Learning,
    blind_loss,
    confidence,
    follows_gradient,
    is_finite,
    is_over,
    learning,
    log_ratio,
    may_come_back,
    median,
    of_net,
    recent,
    sampled_steps,
)
from markone.diagnosis.finding import Finding, Severity
from markone.diagnosis.wording import share, times
from markone.training.run import Run


@dataclass(frozen=True, eq=False)
class Setup:
    """The one optimizer of a run, and what came of its steps. steps: those that are planned, or were taken."""

    run: Run
    fact: dict[str, Any]
    state: Learning
    steps: int

    @property
    def group(self) -> dict[str, Any]:
        """That of most parameters."""
        return dict(max(self.fact["groups"], key=lambda one: one["parameters"]))

    @property
    def severity(self) -> Severity:
        """Little must be learned for an argument to be blamed."""
        return self.state.severity if self.state.learned <= limit.LITTLE_LEARNED else Severity.NOTE


def optimizer_arguments(run: Run) -> Iterator[Finding]:
    """An argument of the optimizer makes its steps far shorter or longer than its learning rate says, and little was learned."""
    setup = _setup(run)
    if setup is None or run.steps < limit.LEAST_STEPS or may_come_back(run):
        return
    signs = (_epsilon_rules, _betas_diverge, _momentum_lasts, _epsilon_is_nothing)
    found = [one for sign in signs if (one := sign(setup))]
    yield from sorted(found, key=lambda one: -one.severity.rank)[:1]


def _setup(run: Run) -> Setup | None:
    """None where no gradient was followed, several optimizers took part, or nobody knows what was learned."""
    fact, state = run.facts.get("optimizer"), learning(run)
    if not fact or not fact["groups"] or state is None or not follows_gradient(run):
        return None
    return Setup(run, fact, state, max(run.steps, int(fact.get("total_steps", run.steps)) if not is_over(run) else 0))


def _gradient_size(run: Run) -> float | None:
    """The root mean square of all gradients' entries at present; None where it is unknown."""
    norms, count = of_net(run, "gradient_norm").values, sum(layer.parameters for layer in run.layers)
    known = norms[np.isfinite(norms)]
    return median(recent(known)) / math.sqrt(count) if len(known) and count else None


def _epsilon_rules(setup: Setup) -> Finding | None:
    """Adam's step is lr m / (sqrt(v) + eps), and sqrt(v) is about the size of the gradients."""
    epsilon, size = setup.group.get("eps"), _gradient_size(setup.run)
    if not setup.fact["squares"] or epsilon is None or not size or epsilon < limit.EPSILON_USUAL:
        return None
    if epsilon < limit.EPSILON_SHARE * size or setup.state.learned >= limit.WELL_LEARNED:
        return None
    slower = (size + epsilon) / size
    return _argument(
        setup,
        f"{setup.fact['kind']}'s epsilon of {epsilon:.3g} is added to the root of the running squares, and gradients are {size:.2g} in"
        f" size: steps are {times(slower)} times shorter than the learning rate of {setup.group['lr']:.3g} says.",
        measured=epsilon,
        reference=limit.EPSILON_SHARE * size,
    )


def _epsilon_is_nothing(setup: Setup) -> Finding | None:
    """Where a gradient is all but zero, its rounding alone decides a step of full length."""
    epsilon = setup.group.get("eps")
    if not setup.fact["kind"].startswith("Adam") or epsilon is None or epsilon > limit.EPSILON_LEAST:
        return None
    found = _argument(
        setup,
        f"{setup.fact['kind']}'s epsilon is {epsilon:.3g}: a parameter whose gradient is nothing but rounding makes steps as long as all"
        " others. 1e-8 is usual.",
        measured=epsilon,
        reference=limit.EPSILON_LEAST,
    )
    return Finding(**{**vars(found), "severity": Severity.NOTE})


def _betas_diverge(setup: Setup) -> Finding | None:
    """Adam's bound needs beta1^2 < sqrt(beta2) (Kingma and Ba 2015, theorem 4.1)."""
    betas = setup.group.get("betas")
    if not betas or not setup.fact["squares"] or betas[1] <= 0 or betas[0] ** 2 < math.sqrt(betas[1]):
        return None
    if setup.state.learned >= limit.WELL_LEARNED:
        return None
    return _argument(
        setup,
        f"beta1 = {betas[0]:g} and beta2 = {betas[1]:g}: the running mean remembers longer than the running squares that it is divided by,"
        " so that one large gradient is followed by steps of many times the learning rate. beta1^2 must be under sqrt(beta2).",
        measured=betas[0] ** 2,
        reference=math.sqrt(betas[1]),
    )


def _momentum_lasts(setup: Setup) -> Finding | None:
    """The running mean goes back 1 / (1 - momentum) steps."""
    betas = setup.group.get("betas") or [0.0]
    momentum = max(float(setup.group.get("momentum", 0.0)), betas[0])
    if momentum < limit.LONG_MOMENTUM or setup.state.learned > limit.LITTLE_LEARNED:
        return None
    memory = 1 / (1 - momentum) if momentum < 1 else math.inf
    if memory < limit.MEMORY * setup.steps:
        return None
    return _argument(
        setup,
        f"A momentum of {momentum:g} goes on with gradients of {times(memory)} steps before, and there are {setup.steps:,}: steps follow"
        " places that were left long ago, and swing past the floor.",
        measured=memory,
        reference=limit.MEMORY * setup.steps,
    )


def _argument(setup: Setup, message: str, *, measured: float, reference: float) -> Finding:
    distance = abs(log_ratio(measured, reference))
    return Finding(
        slug="optimizer-arguments",
        severity=setup.severity,
        message=message,
        measured=measured,
        reference=reference,
        confidence=confidence(distance, setup.run.steps),
        evidence={"kind": setup.fact["kind"], "learned": setup.state.learned, **setup.group},
    )


def weights_unchanged(run: Run) -> Iterator[Finding]:
    """There is a gradient, and the steps are too short for the weights to take notice: w + d = w in float32."""
    state, ratios, gradients = learning(run), of_net(run, "update_ratio"), of_net(run, "gradient_norm")
    known = ratios.values[np.isfinite(ratios.values)]
    if state is None or len(known) < limit.LEAST_SAMPLES or state.learned > limit.LITTLE_LEARNED:
        return
    change = median(known)
    if change > limit.ROUNDING or not len(gradients) or median(gradients.values) <= 0:
        return
    still = int((known <= limit.ROUNDING).sum())
    rates = run.scalars("lr", "batch").values
    rate = f" At a learning rate of {rates.max():.3g} steps" if len(rates) else " Steps"
    yield Finding(
        slug="weights-unchanged",
        severity=state.severity,
        since_step=int(ratios.steps[0]),
        measured=change,
        reference=limit.ROUNDING,
        confidence=confidence(log_ratio(limit.ROUNDING, change), still, len(known)),
        message=f"The weights do not change.{rate} are {change:.1g} of the weights' size, and float32 tells numbers apart by"
        f" {limit.ROUNDING:.0e} of theirs; the gradient is {median(gradients.values):.2g} long.",
        evidence={"learned": state.learned},
    )


def epochs_too_few(run: Run) -> Iterator[Finding]:
    """The training has ended while the loss still fell as fast as it should: it needs more steps, not other ones."""
    state, fall = learning(run), projected_fall(run)
    if state is None or fall is None or not is_over(run) or not is_finite(run) or state.learned >= limit.WELL_LEARNED:
        return
    much = fall >= limit.HALF_LEFT * state.now
    if fall < limit.STILL_FALLING or not (much or state.learned <= limit.LITTLE_LEARNED) or not _steps_are_long(run):
        return
    yield Finding(
        slug="epochs-too-few",
        severity=state.severity if state.learned <= limit.NOTHING_LEARNED else Severity.NOTE,
        since_step=run.steps,
        measured=fall,
        reference=limit.STILL_FALLING,
        confidence=confidence(log_ratio(fall, limit.STILL_FALLING), run.steps),
        message=f"The training ended after {run.steps:,} steps while the loss still fell: by {share(fall)} of a blind guess's in as many"
        f" steps again, as the later half went. {share(max(state.learned, 0.0))} of a blind guess's error is gone.",
        evidence={"learned": state.learned},
    )


def projected_fall(run: Run) -> float | None:
    """By how many blind guesses the loss would fall in as many steps again, by the straight line through its later half.

    None where the slope is within what chance gives: FALL standard errors.
    """
    blind, losses = blind_loss(run, batch=True), run.scalars("loss", "batch")
    values = recent(losses.values)
    if blind is None or len(values) < limit.EARLY_SAMPLES or not np.isfinite(values).all():
        return None
    x = np.arange(len(values)) - (len(values) - 1) / 2
    slope = float(x @ values / (x @ x))
    rest = values - values.mean() - slope * x
    error = math.sqrt(float(rest @ rest) / max(1, len(values) - 2) / float(x @ x))
    return -slope * len(losses) / blind if slope < -limit.FALL * error else None


def _steps_are_long(run: Run) -> bool:
    """Whether a step changes the weights by about what is right, where it is known."""
    ratios = of_net(run, "update_ratio").values
    known = ratios[np.isfinite(ratios)]
    return not len(known) or median(known) >= limit.SMALL_UPDATE


def batch_size_too_large(run: Run) -> Iterator[Finding]:
    """A batch holds so much of the data that many passes over it are but few steps."""
    setup = _setup(run)
    batch, samples = (setup.fact.get("batch_size") if setup else None), run.facts.get("samples", {}).get("training", 0)
    if setup is None or not batch or not samples or not is_over(run) or not is_finite(run):
        return
    part, epochs = min(1.0, batch / samples), run.steps * batch / samples
    if part < limit.LARGE_BATCH or run.steps > limit.FEW_STEPS or epochs < limit.LEAST_EPOCHS:
        return
    if setup.state.learned > limit.LITTLE_LEARNED or not _steps_are_long(run):
        return
    yield Finding(
        slug="batch-size-too-large",
        severity=setup.severity,
        since_step=run.steps,
        measured=part,
        reference=limit.LARGE_BATCH,
        confidence=confidence(log_ratio(limit.FEW_STEPS, run.steps), len(run.scalars("loss", "batch"))),
        message=f"Batches of {min(batch, samples):,} hold {share(part)} of the {samples:,} samples: {epochs:.0f} passes over the data were"
        f" {run.steps} steps in all, and {share(max(setup.state.learned, 0.0))} of a blind guess's error is gone.",
        evidence={"batch_size": batch, "learned": setup.state.learned},
    )


def batch_size_too_small(run: Run) -> Iterator[Finding]:
    """What each step gains on its own batch is lost on the others: the gradient is noise.

    For short steps the fall of the loss over what the steps gained each on its own batch is |G|^2 / |g|^2, the gradient's signal, which
    is 1 / (1 + B_noise / B) for batches of B (McCandlish et al. 2018).
    """
    setup = _setup(run)
    batch, kept = (setup.fact.get("batch_size") if setup else None), gain_kept(run)
    if setup is None or not batch or kept is None or may_come_back(run):
        return
    if batch > limit.SMALL_BATCH or kept > limit.GAIN_KEPT or setup.state.learned > limit.LITTLE_LEARNED:
        return
    if not _steps_are_long(run):
        return
    yield Finding(
        slug="batch-size-too-small",
        severity=setup.severity,
        since_step=1,
        measured=kept,
        reference=limit.GAIN_KEPT,
        confidence=confidence(log_ratio(limit.GAIN_KEPT, max(kept, limit.GAIN_KEPT**2)), len(sampled_steps(run))),
        message=f"With batches of {batch} the gradient is noise: of what each step gains on its own batch {share(max(kept, 0.0))} is left"
        f" on the others, and {share(max(setup.state.learned, 0.0))} of a blind guess's error is gone.",
        evidence={"batch_size": batch, "learned": setup.state.learned},
    )


def gain_kept(run: Run) -> float | None:
    """The fall of the loss over the sum of what every step gained on its own batch; None where steps gained nothing."""
    steps, losses = sampled_steps(run), run.scalars("loss", "batch").values
    known = np.isfinite(steps.gain)
    if known.sum() < limit.LEAST_SAMPLES or len(losses) < limit.LEAST_STEPS or not np.isfinite(losses).all():
        return None
    gained = float(np.interp(np.arange(1, run.steps + 1), steps.steps[known], steps.gain[known]).sum())
    ends = max(int(limit.EARLY_SAMPLES), round(len(losses) * limit.RECENT_LOSSES))
    fall = float(losses[:ends].mean() - losses[-ends:].mean())
    return fall / gained if gained > 0 else None


CHECKS = (optimizer_arguments, weights_unchanged, batch_size_too_small, batch_size_too_large, epochs_too_few)
