"""Checks of the signal through the layers: vanishing-gradient, exploding-gradient, dead-relu, saturated-activation."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from markone.diagnosis import thresholds as limit
from markone.diagnosis.evidence import (
    Floats,
    Ints,
    aligned,
    confidence,
    enough_vitals,
    is_finite,
    learning,
    log_ratio,
    may_come_back,
    median,
    recent,
    since,
)
from markone.diagnosis.finding import Finding
from markone.diagnosis.wording import share, times
from markone.training.run import Layer, Run

SLOPES = {"Sigmoid": ("a sigmoid", 0.25), "Tanh": ("a tanh", 1.0)}  # largest |f'|


@dataclass(frozen=True, eq=False)
class Backward:
    """How the gradient changes from the last layer with weights, back to the first: |dL/d outputs|, ratio first over last."""

    first: Layer
    last: Layer
    layers: int
    steps: Ints
    ratio: Floats

    @property
    def factor(self) -> float:
        """What each layer multiplies the gradient by, on its way back, in the geometric mean at present."""
        return math.pow(median(recent(self.ratio)), 1 / (self.layers - 1))


def vanishing_gradient(run: Run) -> Iterator[Finding]:
    """The gradient at the first layer is far below that at the last, now, and little was learned.

    delta_l = W_{l+1}^T delta_{l+1} * f'(z_l): a product over the layers (Hochreiter 1991; Glorot and Bengio 2010).
    """
    state, backward = learning(run), _backward(run)
    if state is None or backward is None or not enough_vitals(run):
        return
    if state.learned > limit.LITTLE_LEARNED or may_come_back(run):
        return
    ratio = median(recent(backward.ratio))
    if ratio > limit.GRADIENT_DECAY:
        return
    holds = backward.ratio <= limit.GRADIENT_DECAY
    yield Finding(
        slug="vanishing-gradient",
        severity=state.severity,
        where=backward.first.name,
        since_step=since(backward.steps, holds),
        measured=ratio,
        reference=limit.GRADIENT_DECAY,
        confidence=confidence(log_ratio(limit.GRADIENT_DECAY, ratio), holds.sum(), len(holds)),
        message=_vanished(run, backward, ratio),
        evidence={"factor_per_layer": backward.factor, "learned": state.learned, "last_layer": backward.last.name},
    )


def _vanished(run: Run, backward: Backward, ratio: float) -> str:
    first, last = backward.first.name, backward.last.name
    if ratio == 0:
        return f"No gradient at all reaches {first}, although there is one at {last}: a layer between them passes none."
    message = (
        f"At {first} the gradient is {times(1 / ratio)} times smaller than at {last}; each of the {backward.layers}"
    )
    message += f" layers multiplies it by about {backward.factor:.2g}"
    name, slope = SLOPES.get(_usual_activation(run), ("", 1.0))
    return message + (f", and {name} can never do better than {slope:g}." if backward.factor <= slope < 1 else ".")


def exploding_gradient(run: Run) -> Iterator[Finding]:
    """The gradient at the first layer is far above that at the last, and little was learned (Pascanu et al. 2013)."""
    state, backward = learning(run), _backward(run)
    if state is None or backward is None or (state.learned > limit.LITTLE_LEARNED and state.explained > 0):
        return
    if is_finite(run) and not enough_vitals(run):
        return
    ratio = median(recent(backward.ratio))
    if ratio < limit.GRADIENT_GROWTH:
        return
    holds = backward.ratio >= limit.GRADIENT_GROWTH
    if not holds[0] and may_come_back(run):
        return
    yield Finding(
        slug="exploding-gradient",
        severity=state.severity,
        where=backward.first.name,
        since_step=since(backward.steps, holds),
        measured=ratio,
        reference=limit.GRADIENT_GROWTH,
        confidence=confidence(log_ratio(ratio, limit.GRADIENT_GROWTH), holds.sum(), len(holds)),
        message=(
            f"At {backward.first.name} the gradient is {times(ratio)} times larger than at {backward.last.name}: on its way"
            f" back each of the {backward.layers} layers multiplies it by about {backward.factor:.2g}, where 1 keeps it."
        ),
        evidence={"factor_per_layer": backward.factor, "learned": state.learned, "first_loss": state.first},
    )


def dead_relu(run: Run) -> Iterator[Finding]:
    """Most units of a layer are 0 for every sample, so that no gradient passes them, and little was learned (Lu et al. 2019)."""
    state = learning(run)
    found = _worst(run, "dead_fraction", limit.DEAD)
    if state is None or found is None or state.learned > limit.LITTLE_LEARNED or may_come_back(run):
        return
    layer, fraction, steps, values = found
    holds = values >= limit.DEAD
    start = since(steps, holds)
    began = "from the start" if holds[0] and start == steps[0] else f"since step {start}"
    yield Finding(
        slug="dead-relu",
        severity=state.severity,
        where=layer,
        since_step=start,
        measured=fraction,
        reference=limit.DEAD,
        confidence=confidence(log_ratio(1 - limit.DEAD, 1 - fraction), holds.sum(), len(holds)),
        message=(
            f"{share(fraction)} of the units of {layer} are 0 for every sample of the batch, {began}: their gradient is 0, so they"
            " cannot come back by themselves, and layers before them learn through the few that live."
        ),
        evidence={"at_first": float(values[0]), "learned": state.learned, "layers": _present(run, "dead_fraction")},
    )


def saturated_activation(run: Run) -> Iterator[Finding]:
    """Most outputs of a sigmoid or tanh layer lie where it is flat, and little was learned; or the layer began so.

    f'(z) -> 0 for large |z|, and the gradient is multiplied by it (Glorot and Bengio 2010).
    """
    state = learning(run)
    found = _worst(run, "saturated_fraction", limit.SATURATED)
    if state is None or found is None:
        return
    layer, fraction, steps, values = found
    began_flat = np.median(values[: int(limit.EARLY_SAMPLES)]) >= limit.SATURATED_AT_FIRST
    most = limit.WELL_LEARNED if began_flat and fraction >= limit.SATURATED_AT_FIRST else limit.LITTLE_LEARNED
    if state.learned > most or may_come_back(run):
        return
    holds = values >= limit.SATURATED
    start = since(steps, holds)
    began = "from the start" if holds[0] and start == steps[0] else f"since step {start}"
    yield Finding(
        slug="saturated-activation",
        severity=state.severity,
        where=layer,
        since_step=start,
        measured=fraction,
        reference=limit.SATURATED,
        confidence=confidence(log_ratio(1 - limit.SATURATED, 1 - fraction), holds.sum(), len(holds)),
        message=(
            f"{share(fraction)} of the outputs of {layer} lie where the function is flat, {began} ({share(values[0])} at first):"
            " there its slope is under a twentieth of the largest, so hardly any gradient passes."
        ),
        evidence={
            "at_first": float(values[0]),
            "learned": state.learned,
            "layers": _present(run, "saturated_fraction"),
        },
    )


def _backward(run: Run) -> Backward | None:
    """None for fewer than LEAST_LAYERS layers with weights, or where no gradient was ever finite."""
    layers = [layer for layer in run.layers if layer.role == "weights"]
    norms = run.vitals("activation_gradient_norm")
    layers = [layer for layer in layers if layer.name in norms]
    if len(layers) < limit.LEAST_LAYERS:
        return None
    steps, values = aligned({end.name: norms[end.name] for end in (layers[0], layers[-1])})
    known = np.isfinite(values).all(axis=1) & (values[:, 1] > 0)
    if not known.any():
        return None
    return Backward(layers[0], layers[-1], len(layers), steps[known], values[known, 0] / values[known, 1])


def _worst(run: Run, vital: str, least: float) -> tuple[str, float, Ints, Floats] | None:
    """The first layer in forward order whose median at present is at least ``least``: what comes after may follow from it."""
    if not enough_vitals(run):
        return None
    for layer, series in run.vitals(vital).items():
        known = np.isfinite(series.values)
        if known.any() and (fraction := median(recent(series.values[known]))) >= least:
            return layer, fraction, series.steps[known], series.values[known]
    return None


def _present(run: Run, vital: str) -> dict[str, float]:
    return {layer: median(recent(series.values)) for layer, series in run.vitals(vital).items()}


def _usual_activation(run: Run) -> str:
    kinds = [layer.kind for layer in run.layers if layer.role == "activation"]
    return max(set(kinds), key=kinds.count) if kinds else ""
