"""Checks of what lies between the layers: missing-hidden-activation, wrong-hidden-activation, duplicate-activation, useless-bias,
dropout-misplaced, too-deep-without-residual, net-too-small, pooled-away.

They read the facts ``structure`` and ``output`` (training/structure.py), which are known from the first step on.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from markone.diagnosis import thresholds as limit
from markone.diagnosis.evidence import Learning, blind_loss, confidence, is_over, learning, log_ratio, may_come_back
from markone.diagnosis.finding import Finding, Severity
from markone.diagnosis.seen import listed
from markone.training.run import Run
from markone.training.structure import NONLINEAR, activations_in, is_linear

IDEMPOTENT = frozenset({"relu", "threshold"})
NON_NEGATIVE = frozenset({"relu", "sigmoid", "softmax", "softplus", "hardsigmoid", "threshold"})
SQUASHING = frozenset({"sigmoid", "tanh", "softmax", "hardsigmoid"})
ANSWERS = frozenset({"nll", "mse", "bce", "bce-with-logits", "smooth-l1", "huber"})  # losses of a net's own output

Entry = dict[str, Any]


def layers_of(run: Run, *roles: str) -> list[Entry]:
    """The layers of the fact ``structure`` that have one of these roles, in the order in which they ran."""
    return [one for one in run.facts.get("structure", {}).get("layers", ()) if one["role"] in roles]


def units(layer: Entry, side: str) -> int:
    """How many numbers stand at each place of what a layer was "given" or has "made": channels of a convolution, else the last axis."""
    shape = layer[side]
    return int(shape[1] if "Conv" in layer["kind"] else shape[-1])


def settled(run: Run) -> Learning | None:
    """How much was learned, once that says something of the net; None while it may come, or cannot be known."""
    state = learning(run)
    if state is None or run.steps < limit.LEAST_STEPS or may_come_back(run):
        return None
    return state


def cost(run: Run) -> Severity:
    """What a plain mistake in the net costs: a warning until it is known what was learned, a note where that is never known."""
    if blind_loss(run) is None:
        return Severity.NOTE
    state = settled(run)
    return state.severity if state else Severity.WARNING


def missing_hidden_activation(run: Run) -> Iterator[Finding]:
    """Layers with nothing between them that bends the signal: W2 (W1 x + b1) + b2 is one linear layer."""
    weights = {one["name"]: one for one in layers_of(run, "weights")}
    follows = [(weights[one["source"]], one) for one in weights.values() if one.get("source") in weights]
    straight = [(first, second) for first, second in follows if _is_redundant(first, second)]
    if not straight:
        return
    output = run.facts.get("output", {})
    everywhere = len(straight) == len(follows)
    state = settled(run)
    severity = Severity.NOTE
    if everywhere:
        severity = cost(run)
    elif (
        state is not None
        and is_over(run)
        and 2 * len(straight) >= len(follows)
        and state.learned < limit.LITTLE_LEARNED
    ):
        severity = Severity.WARNING
    first = straight[0][0]
    names = [f"{a['name']} and {b['name']}" for a, b in straight]
    most = len(straight) + 1
    what = f"the {most} layers {first['name']} to {straight[-1][1]['name']} are" if len(straight) > 1 else "they are"
    yield Finding(
        slug="missing-hidden-activation",
        severity=severity,
        where=str(first["name"]),
        place=first.get("place"),
        measured=float(len(straight)),
        reference=0.0,
        confidence=1.0 if everywhere else limit.PART_OF_A_NET,
        message=(
            f"Nothing between {listed(names)} bends the signal: however they are trained, {what} one linear layer."
            " Put an activation such as ReLU behind each hidden layer."
        ),
        evidence={
            "pairs": len(straight),
            "of": len(follows),
            "last_activation": activations_in(output.get("chain", ())),
        },
    )


def _is_redundant(first: Entry, second: Entry) -> bool:
    """Whether the two could be one layer as well: a bottleneck between them would be a low rank, and is often meant."""
    width, given, made = units(first, "made"), units(first, "given"), units(second, "made")
    plain = first["kind"] == second["kind"] and first["groups"] == second["groups"] == 1
    plain = plain and "Transpose" not in first["kind"] and first["trains"] and second["trains"]
    return bool(plain and width >= min(given, made) and is_linear(second["chain"]))


def wrong_hidden_activation(run: Run) -> Iterator[Finding]:
    """A softmax between two layers: the units share one sum of 1, and each gets 1/n of the signal."""
    weights = {one["name"] for one in layers_of(run, "weights")}
    hit = [one for one in layers_of(run, "weights") if "Softmax" in one["chain"] and one["source"] in weights]
    if not hit:
        return
    first = hit[0]
    width = units(first, "given")
    yield Finding(
        slug="wrong-hidden-activation",
        severity=cost(run),
        where=str(first["source"]),
        place=first.get("place"),
        measured=float(len(hit)),
        reference=0.0,
        confidence=limit.PLAIN_TO_SEE,
        message=(
            f"A softmax stands between {first['source']} and {first['name']}: its {width} outputs add up to 1, so that"
            f" each is about {1 / width:.2g} and the gradient is as small. Use ReLU in hidden layers; softmax belongs to the output."
        ),
        evidence={"layers": [one["name"] for one in hit]},
    )


def duplicate_activation(run: Run) -> Iterator[Finding]:
    """Two activations with no weights between them: in front of the loss the second cannot reach all its values any more."""
    output = run.facts.get("output", {})
    if output.get("loss") in ANSWERS:
        chain = list(output["chain"])
        own = output["loss"] == "nll" and chain[-1:] == ["LogSoftmax"]
        pair = _pair(chain[:-1] if own else chain)
        if pair is not None and pair[1] in SQUASHING:
            yield _duplicate(run, pair, str(output.get("source")), output.get("place"), cost(run), _reach(pair))
            return
    for one in layers_of(run, "weights"):
        pair = _pair(one["chain"])
        if pair is not None:
            place = one.get("place")
            yield _duplicate(run, pair, str(one["source"]), place, Severity.NOTE, _effect(pair))
            return


def _pair(chain: list[str]) -> tuple[str, str] | None:
    """The first two activations with nothing but moves, scales or dropout between them."""
    places = [place for place, name in enumerate(chain) if name in NONLINEAR]
    for a, b in pairwise(places):
        if is_linear(chain[a + 1 : b]) and not any("Norm" in name or "Shift" in name for name in chain[a + 1 : b]):
            return NONLINEAR[chain[a]], NONLINEAR[chain[b]]
    return None


def _reach(pair: tuple[str, str]) -> str:
    first, second = pair
    if first in NON_NEGATIVE and second == "sigmoid":
        return "so that the output is never below 0.5"
    if first in NON_NEGATIVE and second == "tanh":
        return "so that the output is never below 0"
    return f"so that the {second} sees a part of its range only, and its output is flat"


def _effect(pair: tuple[str, str]) -> str:
    first, second = pair
    if second in IDEMPOTENT and first in NON_NEGATIVE:
        return "where the second does nothing"
    return "where one bends the signal enough, and two pass less gradient"


def _duplicate(
    run: Run, pair: tuple[str, str], where: str, place: str | None, severity: Severity, effect: str
) -> Finding:
    return Finding(
        slug="duplicate-activation",
        severity=severity,
        where=where,
        place=place,
        measured=2.0,
        reference=1.0,
        confidence=limit.PLAIN_TO_SEE,
        message=f"Behind {where} a {pair[0]} is followed by a {pair[1]}, {effect}. Leave one of them out.",
    )


def useless_bias(run: Run) -> Iterator[Finding]:
    """A bias whose effect batch normalization takes off again: BN(Wx + b) = BN(Wx)."""
    norms = [one for one in layers_of(run, "normalization") if one["kind"].startswith(("BatchNorm", "InstanceNorm"))]
    before = {one["source"] for one in norms if not one["chain"]}
    hit = [one for one in layers_of(run, "weights") if one["name"] in before and one["has_bias"] and one["trains"]]
    if hit:
        yield Finding(
            slug="useless-bias",
            severity=Severity.NOTE,
            where=str(hit[0]["name"]),
            place=hit[0].get("place"),
            measured=float(len(hit)),
            reference=0.0,
            confidence=1.0,
            message=(
                f"Batch normalization subtracts the bias of {listed([one['name'] for one in hit])} again. Give"
                " bias=False: nothing else changes."
            ),
        )


def dropout_misplaced(run: Run) -> Iterator[Finding]:
    """Dropout on the outputs themselves, or directly in front of batch normalization, whose variance it shifts (Li et al. 2019)."""
    output = run.facts.get("output", {})
    if output.get("loss") in ANSWERS and output.get("source") and "Dropout" in output["chain"]:
        yield Finding(
            slug="dropout-misplaced",
            severity=cost(run),
            where=str(output["source"]),
            place=output.get("place"),
            measured=1.0,
            reference=0.0,
            confidence=limit.PLAIN_TO_SEE,
            message=(
                f"Dropout acts on the outputs of {output['source']}, the net's answer itself: what it drops is a score of 0, whatever"
                " the input. Put it in front of that layer."
            ),
        )
        return
    hit = [
        one for one in layers_of(run, "normalization") if "Dropout" in one["chain"] and one["kind"].startswith("Batch")
    ]
    if hit:
        names = listed([one["name"] for one in hit])
        yield Finding(
            slug="dropout-misplaced",
            severity=Severity.NOTE,
            where=str(hit[0]["name"]),
            place=hit[0].get("place"),
            measured=float(len(hit)),
            reference=0.0,
            confidence=limit.PLAIN_TO_SEE,
            message=(
                f"Dropout stands directly in front of {names}: in training it raises the variance that batch normalization learns, and"
                " in evaluation that variance is not there. Put it behind the last normalization."
            ),
        )


def too_deep_without_residual(run: Run) -> Iterator[Finding]:
    """More layers in a row than plain nets bear, no way past them, and little was learned (He et al. 2016)."""
    structure, state = run.facts.get("structure", {}), settled(run)
    depth, past = structure.get("longest", 0), structure.get("shortest", 0)
    if depth < limit.PLAIN_DEPTH or past < depth or state is None or state.learned >= limit.LITTLE_LEARNED:
        return
    yield Finding(
        slug="too-deep-without-residual",
        severity=state.severity,
        measured=float(depth),
        reference=limit.PLAIN_DEPTH,
        confidence=confidence(log_ratio(limit.LITTLE_LEARNED, max(state.learned, limit.NOTHING_LEARNED)), depth),
        message=(
            f"{depth} layers follow each other and no connection leads past any of them: the gradient is a product of {depth}"
            " factors, and plain nets of this depth train worse than shallower ones. Add residual connections, or take fewer layers."
        ),
        evidence={"learned": state.learned},
    )


def net_too_small(run: Run) -> Iterator[Finding]:
    """A hidden layer with fewer units than there are classes, through which everything has to go, and little was learned."""
    structure, state = run.facts.get("structure", {}), settled(run)
    targets, weights = run.facts.get("targets") or {}, layers_of(run, "weights")
    if state is None or not is_over(run) or state.learned >= limit.WELL_LEARNED or len(weights) < 2:
        return
    if targets.get("loss") not in ("nll", "cross-entropy") or structure["shortest"] < structure["longest"]:
        return
    classes, inputs = weights[-1]["made"][-1], weights[0]["fan_in"]
    narrow = min(weights[:-1], key=lambda one: one["fan_out"])
    width = units(narrow, "made")
    if len(narrow["made"]) != len("nf") or width * limit.CLASSES_PER_UNIT >= classes or width >= inputs:
        return
    yield Finding(
        slug="net-too-small",
        severity=state.severity,
        where=str(narrow["name"]),
        place=narrow.get("place"),
        measured=float(width),
        reference=classes / limit.CLASSES_PER_UNIT,
        confidence=confidence(log_ratio(classes / limit.CLASSES_PER_UNIT, width), len(weights)),
        message=(
            f"Everything has to go through the {width} units of {narrow['name']}, and {classes} classes are to be told apart behind"
            f" it. Give it at least {classes} units."
        ),
        evidence={"learned": state.learned, "classes": classes},
    )


def pooled_away(run: Run) -> Iterator[Finding]:
    """Convolutions on maps that were shrunk to one place before: all of a kernel but its middle sees padding."""
    hit = [one for one in layers_of(run, "weights") if _sees_padding(one)]
    if not hit:
        return
    state, first = settled(run), hit[0]
    costs = state is not None and is_over(run) and state.learned < limit.LITTLE_LEARNED
    places = _places(first)
    yield Finding(
        slug="pooled-away",
        severity=Severity.WARNING if costs else Severity.NOTE,
        where=str(first["name"]),
        place=first.get("place"),
        measured=1.0,
        reference=float(places),
        confidence=limit.PLAIN_TO_SEE,
        message=(
            f"Strides and pooling have shrunk the maps to a single place before {listed([one['name'] for one in hit])}: of its kernel"
            f" {places - 1} of {places} weights see padding only, and where things were in the picture is lost. Pool less, or later."
        ),
        evidence={"layers": [one["name"] for one in hit], "learned": state.learned if state else None},
    )


def _sees_padding(layer: Entry) -> bool:
    maps = (
        len(layer["given"]) in (len("nchw"), len("ncdhw"))
        and "Conv" in layer["kind"]
        and "Transpose" not in layer["kind"]
    )
    return bool(maps and all(side == 1 for side in layer["given"][2:]) and _places(layer) > 1)


def _places(layer: Entry) -> int:
    """Of a convolution's kernel."""
    return int(layer["fan_in"]) * int(layer["groups"]) // max(1, int(layer["given"][1]))


CHECKS = (
    missing_hidden_activation,
    wrong_hidden_activation,
    duplicate_activation,
    useless_bias,
    dropout_misplaced,
    too_deep_without_residual,
    net_too_small,
    pooled_away,
)
