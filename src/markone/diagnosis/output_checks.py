"""Checks of what a loss is taken of, from the autograd graph of watched steps: exact, without any threshold but one: turned gradients.

double-softmax, missing-softmax, output-range, softmax-on-single-unit, softmax-wrong-axis, loss-broadcast, loss-sign-flipped,
loss-reduction-sum, target-out-of-range.
"""

from collections.abc import Iterator

import numpy as np

from markone.diagnosis import thresholds as limit
from markone.diagnosis.evidence import confidence, sampled_steps
from markone.diagnosis.finding import Finding, Severity
from markone.diagnosis.seen import mostly, proven, seen
from markone.training.run import Run
from markone.training.sightings import Sighting


def double_softmax(run: Run) -> Iterator[Finding]:
    """The loss applies a softmax or sigmoid of its own to what has gone through one already."""
    for one in mostly(run, "double-softmax"):
        first, second = one.details["first"].lower(), one.details["loss"]
        ends = {"softmax": "between 1/K and e/K", "sigmoid": "between 0.5 and 0.73"}[second]
        yield proven(
            one,
            Severity.SEVERE,
            f"The output of a {first} goes into a loss that takes the {second} itself: what it sees lies {ends}"
            " of its range at best, and"
            " the gradient is flat. Give the loss the raw scores (logits).",
        )


def missing_softmax(run: Run) -> Iterator[Finding]:
    """A loss that wants probabilities, or their logarithms, is given something else."""
    for one in mostly(run, "missing-softmax"):
        name = one.details["loss"]
        wanted, instead = {
            "NLLLoss": ("log-probabilities", "put log_softmax in front, or use CrossEntropyLoss on the scores"),
            "the logarithm": ("probabilities", "take log_softmax of the scores, or CrossEntropyLoss for all of it"),
        }.get(name, ("probabilities between 0 and 1", "put a sigmoid in front, or use BCEWithLogitsLoss on the scores"))
        yield proven(
            one, Severity.SEVERE, f"{name[:1].upper()}{name[1:]} was given values that are no {wanted}: {instead}."
        )


def output_range(run: Run) -> Iterator[Finding]:
    """Scores end in an activation that cannot give what the loss needs: below zero, or large."""
    for one in mostly(run, "output-range"):
        relu = one.details["activation"] == "Relu"
        sigmoid = one.details["loss"] == "sigmoid"
        if relu:
            cost = (
                "it can never say less than 50 %"
                if sigmoid
                else "a score that is 0 for all samples gets no gradient any more"
            )
        else:
            cost = (
                "it can only answer between 27 and 73 %"
                if sigmoid
                else "no probability can be more than e^2 times another one"
            )
        yield proven(
            one,
            Severity.WARNING,
            f"The scores go through {'a ReLU' if relu else 'tanh'} before the loss takes its {one.details['loss']}: {cost}. Let the last"
            " layer give its scores as they are.",
        )


def softmax_on_single_unit(run: Run) -> Iterator[Finding]:
    """A softmax over one value is 1, whatever the value."""
    for one in mostly(run, "softmax-on-single-unit"):
        shape = tuple(one.details["shape"])
        yield proven(
            one,
            Severity.SEVERE,
            f"A softmax over an axis of size 1 (of {shape}) gives 1 whatever the net computes, with no gradient:"
            " use a sigmoid, or two"
            " outputs.",
        )


def softmax_wrong_axis(run: Run) -> Iterator[Finding]:
    """A softmax over the batch lets the samples compete instead of the classes."""
    for one in mostly(run, "softmax-wrong-axis"):
        shape = tuple(one.details["shape"])
        yield proven(
            one,
            Severity.SEVERE,
            f"The softmax in front of the loss runs over axis 0 of {shape}, the batch: the samples share one"
            " probability of 1, and the"
            " classes of a sample do not compete. Write dim=1 (or -1).",
        )


def loss_broadcast(run: Run) -> Iterator[Finding]:
    """Predictions and targets of different shapes were spread to a square."""
    for one in mostly(run, "loss-broadcast"):
        given, made = tuple(one.details["given"]), tuple(one.details["made"])
        yield proven(
            one,
            Severity.SEVERE,
            f"The prediction of shape {given} and the target were spread to {made} inside the loss: every"
            " prediction is compared with every"
            " target, and the best answer is their mean. Give both the same shape, with squeeze(1) or unsqueeze(1).",
        )


def loss_sign_flipped(run: Run) -> Iterator[Finding]:
    """What should become small is made large."""
    for one in mostly(run, "loss-sign-flipped"):
        how = "the optimizer maximizes it" if one.details["maximized"] else "it is counted with the wrong sign"
        yield proven(
            one,
            Severity.SEVERE,
            f"The training makes its error ({one.details['loss']}) larger with every step: {how}. Take the minus away"
            " (or put the one of -log p there).",
        )
        return
    yield from _uphill(run)


def _uphill(run: Run) -> Iterator[Finding]:
    """Steps along the gradient instead of against it, whoever turned it around: -<gradient, step> is what a step promises."""
    steps = sampled_steps(run)
    known = steps.where(np.isfinite(steps.predicted) & (steps.predicted != 0))
    against = int((known.predicted < 0).sum())
    # the first step of any descent goes down; a loss that runs away leaves few more to look at
    ran_away = len(known) >= limit.LEAST_EPOCHS - 1 and against == len(known) and known.steps[0] == 1
    if against < limit.MOSTLY * len(known) or not (len(known) >= limit.LEAST_SAMPLES or ran_away):
        return
    yield Finding(
        slug="loss-sign-flipped",
        severity=Severity.SEVERE,
        since_step=int(known.steps[0]),
        measured=against / len(known),
        reference=float(limit.MOSTLY),
        confidence=confidence(0.0 if against < len(known) else 1.0, against, len(known)),
        message=f"{against} of {len(known)} sampled steps go up the gradient of their own batch instead of down: its sign is turned"
        " around between the backward pass and the step, or the update is added that should be taken away.",
    )


def loss_reduction_sum(run: Run) -> Iterator[Finding]:
    """The loss is summed over the batch, so that the step grows with the batch size."""
    adaptive = _is_adaptive(run)
    for one in mostly(run, "loss-reduction-sum"):
        rows = one.details["rows"]
        cost = (
            "The optimizer takes no notice of the scale, but weight decay, clipping and logged losses do"
            if adaptive
            else f"Every step is {rows} times longer than that of a mean, and changes with the batch size"
        )
        yield proven(
            one,
            Severity.NOTE if adaptive else Severity.WARNING,
            f"The loss is the sum over the {rows} samples of a batch, not their mean. {cost}.",
            measured=one.details["weight"],
            reference=1.0,
        )


def target_out_of_range(run: Run) -> Iterator[Finding]:
    """Targets that no output can reach."""
    for one in seen(run, "target-out-of-range"):
        yield proven(one, Severity.SEVERE, _out_of_range(one))


def _out_of_range(one: Sighting) -> str:
    facts = one.details
    if "smallest" not in facts:
        return "The loss refused its targets: they lie outside of what the net's outputs stand for."
    span = f"from {facts['smallest']:g} to {facts['largest']:g}"
    if "outputs" in facts:
        return (
            f"The labels run {span}, and the net has {facts['outputs']} outputs, for the classes 0 to"
            f" {facts['outputs'] - 1}: give it"
            f" {facts['largest'] + 1:g}, or number the classes from 0."
        )
    if "activation" in facts:
        least, most = float(facts["least"]), float(facts["most"])
        return (
            f"The targets run {span}, and the {facts['activation'].lower()} at the net's end gives {least:g} to"
            f" {most:g}: it can never reach"
            " them. Scale the targets, or leave the last activation out."
        )
    return f"The targets of a binary cross-entropy run {span}; they must lie between 0 and 1. Scale or map them."


def _is_adaptive(run: Run) -> bool:
    optimizers = run.facts.get("watched", {}).get("optimizers", [])
    return bool(optimizers) and all(one["adaptive"] for one in optimizers)


CHECKS = (
    double_softmax,
    missing_softmax,
    output_range,
    softmax_on_single_unit,
    softmax_wrong_axis,
    loss_broadcast,
    loss_sign_flipped,
    loss_reduction_sum,
    target_out_of_range,
)
