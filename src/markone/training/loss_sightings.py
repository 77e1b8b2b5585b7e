"""What the terms of a loss give away: what was fed to them, which way they count, what they are taken of."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markone.training.graph import ACTIVATIONS, Feed, Reading, Term

if TYPE_CHECKING:
    import torch

NORMALIZED = 1e-2  # by how much the probabilities of a row may miss 1: the rounding of bfloat16 over a thousand classes
SQUASHERS = ("Softmax", "Sigmoid")
LIMITERS = ("Relu", "Tanh")  # what takes a part of the scores away that a loss of its own softmax or sigmoid needs
NON_NEGATIVE = frozenset({"nll", "mse", "smooth-l1", "huber", "bce", "bce-with-logits", "square", "absolute"})


@dataclass(frozen=True)
class Seen:
    """One thing about one term: the kind of sighting, whether it is so, where in the code, and its numbers."""

    kind: str
    hit: bool
    place: str | None
    details: dict[str, Any]


def of_loss(reading: Reading, *, maximized: bool, scale: float, alone: bool) -> Iterator[Seen]:
    """Everything that one backward pass shows of its loss.

    maximized: the optimizer goes uphill. scale: what a gradient scaler multiplied the loss by. alone: no other optimizer takes part, so
    that no adversary wants the loss to grow.
    """
    for term in reading.terms:
        yield from _squashed(term)
        yield from _axes(term)
        yield from _targets(term)
        given, made = term.broadcast or ((), ())
        yield Seen("loss-broadcast", _is_outer(given, made), term.place, {"given": given, "made": made})
        if term.kind in NON_NEGATIVE and alone:
            uphill = (term.sign < 0) != maximized
            yield Seen("loss-sign-flipped", uphill, term.place, {"loss": term.kind, "maximized": maximized})
        if term.kind == "log-probability" and alone and len(reading.terms) == 1 and term.factor is not None:
            yield Seen(
                "loss-sign-flipped",
                (term.sign > 0) != maximized,
                term.place,
                {"loss": "the log-probability", "maximized": maximized},
            )
        weight = None if term.weight is None else term.weight / scale
        if term.kind in NON_NEGATIVE and weight is not None and term.rows > 1:
            summed = not term.averaged and weight > 1.5
            yield Seen("loss-reduction-sum", summed, term.place, {"rows": term.rows, "weight": weight})


def _squashed(term: Term) -> Iterator[Seen]:
    feed = term.feed
    if term.kind == "nll":
        log = feed.activation == "LogSoftmax"
        inner = feed.before.activation if log and feed.before else None
        yield Seen("double-softmax", inner in SQUASHERS, _place(feed.before, term), {"first": inner, "loss": "softmax"})
        yield Seen("missing-softmax", not log and not _is_normalized(term), term.place, {"loss": "NLLLoss"})
        yield Seen(
            "output-range", inner in LIMITERS, _place(feed.before, term), {"activation": inner, "loss": "softmax"}
        )
    elif term.kind == "log-probability":
        inner = feed.before.activation if feed.before else None
        yield Seen("double-softmax", inner in SQUASHERS, _place(feed.before, term), {"first": inner, "loss": "softmax"})
    elif term.kind == "bce-with-logits":
        inner = feed.activation
        yield Seen("double-softmax", inner in SQUASHERS, _place(feed, term), {"first": inner, "loss": "sigmoid"})
        yield Seen("output-range", inner in LIMITERS, _place(feed, term), {"activation": inner, "loss": "sigmoid"})
    elif term.kind == "log" and feed.linear:
        yield Seen("missing-softmax", True, term.place, {"loss": "the logarithm"})
    elif term.kind == "bce":
        bare = feed.activation is None and not _has_probabilities(term)
        yield Seen("missing-softmax", bare, term.place, {"loss": "BCELoss"})


def _place(feed: Feed | None, term: Term) -> str | None:
    return (feed.place if feed else None) or term.place


def _axes(term: Term) -> Iterator[Seen]:
    feed: Feed | None = term.feed
    while feed is not None:
        if feed.activation in ("Softmax", "LogSoftmax") and feed.axis is not None and feed.shape:
            single = feed.axis_size == 1
            yield Seen("softmax-on-single-unit", single, feed.place or term.place, {"shape": feed.shape})
            batch = feed.axis == 0 and len(feed.shape) > 1 and (feed.axis_size or 0) > 1
            yield Seen("softmax-wrong-axis", batch, feed.place or term.place, {"shape": feed.shape})
        feed = feed.before


def _is_outer(given: tuple[int, ...], made: tuple[int, ...]) -> bool:
    """Whether a column (N, 1) met a row (N): every prediction is compared with every target."""
    if len(made) < 2 or made[-1] < 2:
        return False
    return given in ((made[-2], 1), (made[-1],)) and made[-2] > 1


def _is_normalized(term: Term) -> bool:
    """Whether the exponentials of what NLLLoss was given sum to one along the classes."""
    values = term.saved("self")
    if values is None or values.ndim == 0:
        return True
    axis = 1 if values.ndim > 1 else 0
    total = values.detach().float().exp().sum(axis)
    if not bool(total.isfinite().all()):
        return True  # no number at all: another fault
    return bool(((total - 1).abs() <= NORMALIZED).all())


def _has_probabilities(term: Term) -> bool:
    """Whether values without a sigmoid in front of them still lie strictly between 0 and 1 in every row."""
    values = term.saved("self")
    if values is None:
        return True
    values = values.detach()
    if not bool(values.isfinite().all()):
        return True
    return bool(((values > 0) & (values < 1)).all())


def _targets(term: Term) -> Iterator[Seen]:
    target = term.saved("target")
    if target is None or target.numel() == 0:
        return
    if term.kind == "nll":
        return  # torch itself refuses a class that has no output
    low, high = _range(target)
    details: dict[str, Any] = {"smallest": low, "largest": high}
    if term.kind in ("bce", "bce-with-logits"):
        yield Seen("target-out-of-range", low < 0 or high > 1, term.place, {**details, "loss": term.kind})
    elif term.feed.activation in ACTIVATIONS and term.feed.activation is not None:
        least, most = ACTIVATIONS[term.feed.activation]
        slack = 0.05 * (most - least) if most - least < float("inf") else 1e-6
        outside = low < least - slack or high > most + slack
        details |= {"activation": term.feed.activation, "least": least, "most": most}
        yield Seen("target-out-of-range", outside, term.place, details)


def _range(target: "torch.Tensor") -> tuple[float, float]:
    low, high = target.detach().float().aminmax()
    return float(low), float(high)
