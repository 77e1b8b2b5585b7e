"""Checks of whether the loss fits the targets: loss-wrong-for-task, sigmoid-for-multiclass."""

from collections.abc import Iterator
from typing import Any

from markone.diagnosis import thresholds as limit
from markone.diagnosis.evidence import is_over
from markone.diagnosis.finding import Finding, Severity
from markone.diagnosis.structure_checks import settled
from markone.training.run import Run
from markone.training.structure import activations_in

SQUARES = frozenset({"mse", "smooth-l1", "huber"})
BINARY = frozenset({"bce", "bce-with-logits"})


def loss_wrong_for_task(run: Run) -> Iterator[Finding]:
    """A squared error on classes: on their numbers, which have no order, or on zeros and ones behind a sigmoid or softmax.

    The gradient carries the slope of the sigmoid, p (1 - p), which is flat where the net is most wrong; cross-entropy cancels it.
    """
    targets, output = run.facts.get("targets") or {}, run.facts.get("output", {})
    if targets.get("loss") not in SQUARES or targets["rows"] < limit.LEAST_TARGETS:
        return
    ends, index = activations_in(output.get("chain", ()))[-1:], False
    if targets["one_hot"] or (targets["binary"] and ends and ends[0] in ("sigmoid", "softmax")):
        what = "on one-hot classes" if targets["one_hot"] else "on classes 0 and 1"
        behind = f" behind a {ends[0]}, whose slope goes to zero where the net is most wrong" if ends else ""
        message = f"The squared error is taken {what}{behind}. Cross-entropy has no such slope: use it for classes."
    elif index := _is_index(targets):
        message = (
            f"The squared error is taken on the numbers of {targets['distinct']} classes: it holds class 0 for nearer to 1 than to"
            f" {targets['largest']:g}. Where they have no order, use cross-entropy with {targets['distinct']} outputs."
        )
    else:
        return
    yield _finding(
        run,
        "loss-wrong-for-task",
        message,
        output,
        targets,
        costs=limit.WELL_LEARNED if index else limit.LITTLE_LEARNED,
    )


def _is_index(targets: dict[str, Any]) -> bool:
    """Whether the targets are the numbers 0 to K - 1, all of them, of a few classes: a count would be uneven and go on."""
    counts = [int(count) for count in targets["counts"].values()]
    whole = targets["whole"] and targets["smallest"] == 0 and targets["largest"] == targets["distinct"] - 1
    few = limit.LEAST_CLASSES <= targets["distinct"] <= limit.MOST_CLASSES
    single = all(size == 1 for size in targets["shape"])
    return bool(whole and few and single and min(counts) >= limit.EVEN * max(counts))


def sigmoid_for_multiclass(run: Run) -> Iterator[Finding]:
    """A binary loss for classes of which exactly one is right; or a softmax where several are."""
    targets, output = run.facts.get("targets") or {}, run.facts.get("output", {})
    if targets.get("loss") not in BINARY or targets["rows"] < limit.LEAST_TARGETS or not targets["binary"]:
        return
    classes = targets["shape"][-1] if targets["shape"] else 1
    if len(targets["shape"]) != 1 or classes == 1:
        return
    softmax = "softmax" in activations_in(output.get("chain", ()))[-1:]
    if targets["one_hot"] and not softmax:
        message = (
            f"Exactly one of the {classes} classes is right in every row, and the loss asks {classes} yes-or-no questions: the net may"
            " answer yes to several, or to none. Use CrossEntropyLoss, whose classes compete."
        )
    elif not targets["one_hot"] and softmax:
        message = (
            f"{targets['hot']:.2g} of the {classes} labels are right in the mean row, and a softmax lets their probabilities add up to 1:"
            " two that are both right can have 0.5 each at best. Use a sigmoid (BCEWithLogitsLoss)."
        )
        yield _finding(run, "sigmoid-for-multiclass", message, output, targets, costs=limit.WELL_LEARNED, at_once=True)
        return
    else:
        return
    yield _finding(run, "sigmoid-for-multiclass", message, output, targets, costs=limit.LITTLE_LEARNED)


def _finding(
    run: Run,
    slug: str,
    message: str,
    output: dict[str, Any],
    targets: dict[str, Any],
    *,
    costs: float,
    at_once: bool = False,
) -> Finding:
    """A note, as such nets learn as well, if more slowly; a warning once the training is over and less than ``costs`` was learned.

    at_once: a warning before that, too.
    """
    state = settled(run)
    severity = Severity.WARNING if at_once else Severity.NOTE
    if state is not None and is_over(run):
        severity = state.severity if state.learned < costs else Severity.NOTE
    return Finding(
        slug=slug,
        severity=severity,
        where=output.get("source"),
        place=output.get("place"),
        measured=float(targets["distinct"]),
        reference=0.0,
        confidence=limit.PLAIN_TO_SEE,
        message=message,
        evidence={"loss": targets["loss"], "targets": targets["counts"], "learned": state.learned if state else None},
    )


CHECKS = (loss_wrong_for_task, sigmoid_for_multiclass)
