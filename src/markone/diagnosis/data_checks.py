"""Checks of what the net is fed: input-unnormalized."""

import math
from collections.abc import Iterator
from typing import Any

from markone.diagnosis import thresholds as limit
from markone.diagnosis.evidence import confidence, learning, log_ratio
from markone.diagnosis.finding import Finding, Severity
from markone.training.run import Run


def input_unnormalized(run: Run) -> Iterator[Finding]:
    """Inputs far larger than initializations expect, or features whose scales lie far apart.

    The first layer's Hessian goes by the inputs' second moments, so that the steps plain descent needs go by their ratio, the square of
    INPUT_SPREAD (LeCun, Bottou, Orr and Mueller 1998, section 5). Known before the first step.
    """
    fact = run.facts.get("input")
    if not fact:
        return
    spread = _spread(fact["features"])
    scale = _size(fact)
    if spread is not None and spread[0] >= limit.INPUT_SPREAD:
        ratio, large, small = spread
        message = (
            f"The column {large['name']} is {ratio:,.0f} times larger than {small['name']} varies: a learning rate that the first"
            f" can bear is {ratio**2:.0e} times too small for the second."
        )
        # of a watched training one batch is known, in which a column that is seldom used hardly varies
        yield _finding(
            run, ratio, limit.INPUT_SPREAD, str(large["name"]), message, soft=run.recipe is None and _has_learned(run)
        )
    elif scale >= limit.INPUT_SCALE:
        message = (
            f"The inputs are {scale:.3g} in size (root mean square; from {fact['smallest']:.4g} to {fact['largest']:.4g}), and the"
            f" initial weights are drawn for inputs of size 1: the first layer's outputs are {scale:.3g} times too large."
        )
        yield _finding(run, scale, limit.INPUT_SCALE, None, message, soft=_is_normalized_inside(run))


def _has_learned(run: Run) -> bool:
    """Whether half of what there is was learned, or nobody knows yet."""
    state = learning(run)
    return state is None or run.steps < limit.LEAST_STEPS or state.learned > limit.LITTLE_LEARNED


def _finding(
    run: Run, measured: float, reference: float, where: str | None, message: str, *, soft: bool = False
) -> Finding:
    state = learning(run)
    severity = Severity.WARNING
    if state and run.steps >= limit.LEAST_STEPS and state.severity is not Severity.WARNING:
        severity = state.severity
    return Finding(
        slug="input-unnormalized",
        severity=Severity.NOTE if soft else severity,
        where=where,
        measured=measured,
        reference=reference,
        confidence=confidence(log_ratio(measured, reference), run.facts.get("samples", {}).get("training", 0)),
        message=message,
    )


def _spread(features: list[dict[str, Any]]) -> tuple[float, dict[str, Any], dict[str, Any]] | None:
    """Largest size over smallest standard deviation, with both features; constant ones have nothing to learn from."""
    varied = [feature for feature in features if feature["std"] > limit.CONSTANT * _size(feature)]
    if len(varied) < 2:
        return None
    large, small = max(features, key=_size), min(varied, key=lambda feature: feature["std"])
    return _size(large) / small["std"], large, small


def _size(feature: dict[str, Any]) -> float:
    """Root mean square."""
    return math.hypot(feature["mean"], feature["std"])


def _is_normalized_inside(run: Run) -> bool:
    """Whether a normalization directly behind the first weights takes the scale away again."""
    places = [place for place, layer in enumerate(run.layers) if layer.role == "weights"]
    behind = run.layers[places[0] + 1 : places[0] + 2] if places else []
    return bool(behind) and behind[0].role == "normalization"
