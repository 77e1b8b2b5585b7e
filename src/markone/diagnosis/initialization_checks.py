"""Checks of how the weights begin and what holds them back: init-constant, init-scale-wrong, dropout-too-high, over-regularized."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from markone.diagnosis import thresholds as limit
from markone.diagnosis.evidence import blind_loss, confidence, is_over, log_ratio, median, of_net, recent, since
from markone.diagnosis.finding import Finding, Severity
from markone.diagnosis.structure_checks import cost, layers_of, settled, units
from markone.diagnosis.wording import share, times
from markone.training.run import Run


def init_constant(run: Run) -> Iterator[Finding]:
    """A hidden layer whose units all begin alike, in front of a layer that takes them all alike.

    Their outputs are equal and their gradients are equal: they stay one unit for ever (Goodfellow, Bengio and Courville 2016, 8.4).
    """
    weights = layers_of(run, "weights")
    alike = {one["name"]: one for one in weights if one.get("alike_units", 0.0) >= limit.ALIKE and one["trains"]}
    hit = [
        alike[one["source"]]
        for one in weights
        if one.get("alike_inputs", 0.0) >= limit.ALIKE and one["source"] in alike
    ]
    if not hit:
        return
    first, width = hit[0], units(hit[0], "made")
    value = f"all weights are {first['weight_mean']:g}" if first["weight_std"] == 0 else "they have the same weights"
    yield Finding(
        slug="init-constant",
        severity=cost(run),
        where=str(first["name"]),
        place=first.get("place"),
        measured=first["alike_units"],
        reference=limit.ALIKE,
        confidence=1.0,
        message=(
            f"The {width} units of {first['name']} begin alike ({value}), and what follows takes them alike: they get the same gradient"
            " in every step and stay one unit. Draw the weights at random."
        ),
        evidence={"layers": [one["name"] for one in hit]},
    )


def init_scale_wrong(run: Run) -> Iterator[Finding]:
    """Weights far from the size that keeps the signal's: sqrt(fan_in) times their root mean square is 1 to 1.4 (He et al. 2015).

    Only in a net without ways past its layers, of layers that no normalization scales again, and where it costs.
    """
    structure, state = run.facts.get("structure", {}), settled(run)
    if (
        state is None
        or structure.get("shortest", 0) < structure.get("longest", 0)
        or state.learned >= limit.WELL_LEARNED
    ):
        return
    gains = {str(one["name"]): _gain(one) for one in _unscaled(run)}
    known = [gain for gain in gains.values() if gain > 0]
    if not known:
        return
    gain = math.exp(sum(map(math.log, known)) / len(known))
    if limit.INIT_SMALL < gain < limit.INIT_LARGE:
        return
    distance = log_ratio(gain, limit.INIT_LARGE) if gain > 1 else log_ratio(limit.INIT_SMALL, gain)
    change = f"{times(gain)} times larger" if gain > 1 else f"{times(1 / gain)} times smaller"
    lost = gain ** len(known)
    yield Finding(
        slug="init-scale-wrong",
        severity=state.severity,
        where=next(iter(gains)),
        measured=gain,
        reference=float(limit.INIT_LARGE if gain > 1 else limit.INIT_SMALL),
        confidence=confidence(distance, run.steps),
        message=(
            f"The initial weights make the signal about {change} in each hidden layer ({lost:.1g} in all {len(known)}), where those"
            " drawn by the layer's inputs (He, Glorot) keep its size."
        ),
        evidence={"gains": gains, "learned": state.learned},
    )


def _unscaled(run: Run) -> list[dict[str, Any]]:
    """The hidden layers that no normalization stands directly before or behind."""
    weights = layers_of(run, "weights")
    behind = {one["source"] for one in layers_of(run, "normalization")}
    last = run.facts.get("output", {}).get("source") or (weights[-1]["name"] if weights else None)
    return [
        one
        for one in weights
        if one["name"] not in behind
        and one["name"] != last
        and one["trains"]
        and not any("Norm" in name for name in one["chain"])
        and "weight_std" in one
    ]


def _gain(layer: dict[str, Any]) -> float:
    return math.sqrt(layer["fan_in"]) * math.hypot(layer["weight_mean"], layer["weight_std"])


def dropout_too_high(run: Run) -> Iterator[Finding]:
    """Dropout's noise is larger than what it leaves of the signal, and little was learned.

    A kept output is x / (1 - p): noise of variance x^2 p / (1 - p). Over layers in a row 1 + noise multiplies (Srivastava et al. 2014).
    """
    structure, state = run.facts.get("structure", {}), settled(run)
    drops = [one for one in layers_of(run, "dropout") if 0 < one["p"] < 1]
    if state is None or not drops or not is_over(run) or state.learned >= limit.WELL_LEARNED:
        return
    plain = structure["shortest"] == structure["longest"]
    powers = [1 / (1 - one["p"]) for one in drops]
    noise = (math.prod(powers) if plain else max(powers)) - 1
    if noise < limit.DROPOUT_NOISE:
        return
    worst = max(drops, key=lambda one: float(one["p"]))
    costly = state.learned < limit.LITTLE_LEARNED and worst["p"] >= limit.MOST_DROPPED
    yield Finding(
        slug="dropout-too-high",
        severity=state.severity if costly else Severity.NOTE,
        where=str(worst["name"]),
        place=worst.get("place"),
        measured=noise,
        reference=limit.DROPOUT_NOISE,
        confidence=confidence(log_ratio(noise, limit.DROPOUT_NOISE), run.steps),
        message=(
            f"Dropout of {share(worst['p'])}{f' in {len(drops)} layers' if len(drops) > 1 else ''} adds noise of {times(noise)} times the"
            f" signal's power, and {share(max(state.learned, 0.0))} of a blind guess's error is gone. p is the share that is dropped, not"
            " kept."
        ),
        evidence={"fractions": [one["p"] for one in drops], "learned": state.learned},
    )


def over_regularized(run: Run) -> Iterator[Finding]:
    """Weight decay or a penalty shrinks the weights faster than the data can hold them, and little was learned."""
    state, strength = settled(run), _decay(run)
    size = of_net(run, "weight_norm")
    if state is None or strength is None or len(size) < limit.LEAST_SAMPLES or blind_loss(run) is None:
        return
    known = size.values[np.isfinite(size.values)]
    if state.learned >= limit.LITTLE_LEARNED or len(known) < limit.LEAST_SAMPLES or known[0] <= 0:
        return
    now = median(recent(known)) / float(known[0])
    if now > limit.SHRUNK:
        return
    holds = size.values <= limit.SHRUNK * known[0]
    yield Finding(
        slug="over-regularized",
        severity=state.severity,
        since_step=since(size.steps, holds),
        measured=now,
        reference=limit.SHRUNK,
        confidence=confidence(log_ratio(limit.SHRUNK, now), holds.sum(), len(holds)),
        message=(
            f"The weights shrank to {share(now)} of their initial size while {share(max(state.learned, 0.0))} was learned:"
            f" {strength} pulls them to zero faster than the data can hold them."
        ),
        evidence={"learned": state.learned, "regularization": strength},
    )


def _decay(run: Run) -> str | None:
    """What pulls the weights to zero, in words."""
    if run.recipe is not None:
        regularization = run.recipe.regularization
        values = {name: getattr(regularization, name) for name in ("l1", "l2", "weight_decay")}
    else:
        optimizers = run.facts.get("watched", {}).get("optimizers", [])
        values = {"weight_decay": max((one.get("weight_decay", 0.0) for one in optimizers), default=0.0)}
    return next((f"{name} = {value:g}" for name, value in values.items() if value), None)


CHECKS = (init_constant, init_scale_wrong, dropout_too_high, over_regularized)
