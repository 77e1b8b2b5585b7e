"""Which finding explains which: causes come first, and what a cause explains is folded under it."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from markone.diagnosis.finding import Finding, Severity

PROVEN = (
    "target-out-of-range",
    "backward-without-step",
    "graph-detached",
    "unregistered-parameters",
    "optimizer-stale-parameters",
    "optimizer-missing-parameters",
    "step-without-backward",
    "loss-sign-flipped",
    "loss-broadcast",
    "softmax-on-single-unit",
    "softmax-wrong-axis",
    "double-softmax",
    "missing-softmax",
    "zero-grad-missing",
    "no-gradient",
    "unscaled-clip",
    "skipped-steps",
    "scheduler-collapsed",
    "clip-too-small",
    "order-not-shuffled",
    "dropout-always-on",
    "cross-talk",
    "stuck-in-eval-mode",
    "train-mode-after-validation-missing",
    "batch-norm-tiny-batch",
    "accumulation-not-divided",
    "loss-reduction-sum",
    "memory-growth",
    "validation-in-training",
    "eval-mode-missing",
    "frozen-parameters-trained-for-nothing",
    "scheduler-before-optimizer",
    "validation-never-ran",
)
"""What the code of a loop itself shows: bugs, the worst first. None of them can follow from how the training goes."""

SYMPTOMS = (
    "input-unnormalized",
    "exploding-gradient",
    "saturated-activation",
    "lr-too-high",
    "dead-relu",
    "vanishing-gradient",
    "lr-too-low",
    "non-finite",
    "overfitting",
    "underfitting",
)
"""From the data through the net and the steps to what they lead to."""

RANK = (*PROVEN, *SYMPTOMS)
"""Among causes of one severity the earlier comes first."""

WRECKS = frozenset(PROVEN[: PROVEN.index("order-not-shuffled") + 1]) | {
    "accumulation-not-divided",
    "loss-reduction-sum",
}
"""Bugs after which a training goes wrong in any way: all that is measured of it follows from them."""

EFFECTS = frozenset(SYMPTOMS) - {"input-unnormalized"}
"""What can follow from a bug: anything but how the data are."""

EXPLAINS: Mapping[str, frozenset[str]] = {
    # inputs of size s make the first outputs s times larger, and the curvature s^2 times
    "input-unnormalized": frozenset(SYMPTOMS) - {"input-unnormalized", "overfitting"},
    # a gradient that grows with every layer makes any step too long for the first ones
    "exploding-gradient": frozenset(SYMPTOMS) - {"input-unnormalized", "exploding-gradient", "overfitting"},
    # a step that throws the weights far off leaves units dead or flat behind it
    "lr-too-high": frozenset(SYMPTOMS) - {"input-unnormalized", "lr-too-high", "overfitting"},
    # no gradient passes where the function is flat or zero
    "saturated-activation": frozenset({"vanishing-gradient", "lr-too-low", "lr-too-high", "underfitting"}),
    "dead-relu": frozenset({"vanishing-gradient", "lr-too-low", "underfitting"}),
    "vanishing-gradient": frozenset({"dead-relu", "lr-too-low", "underfitting"}),
    "lr-too-low": frozenset({"underfitting"}),
    **dict.fromkeys(WRECKS, EFFECTS),
    "softmax-on-single-unit": EFFECTS | {"no-gradient", "graph-detached"},
    "softmax-wrong-axis": EFFECTS | {"cross-talk", "missing-softmax"},
    "graph-detached": EFFECTS | {"no-gradient", "step-without-backward", "optimizer-missing-parameters"},
    "step-without-backward": EFFECTS | {"no-gradient"},
    "optimizer-stale-parameters": EFFECTS | {"no-gradient", "graph-detached"},
    "unregistered-parameters": EFFECTS | {"optimizer-missing-parameters"},
    "unscaled-clip": EFFECTS | {"clip-too-small"},
    "dropout-always-on": frozenset({"cross-talk"}),
}
"""By cause, the symptoms that can follow from it."""

STATES = frozenset({"exploding-gradient", "saturated-activation", "dead-relu", "vanishing-gradient"})
"""What a net is in, from a step on: it can only follow from what began before it."""

FIRST_STEP = 1  # a state that is seen before the first update is one that the net began in


def fold(findings: Iterable[Finding]) -> list[Finding]:
    """Causes first: by severity, then by rank. Each holds what it explains, and is as severe as the worst of that."""
    found = sorted(findings, key=_rank)
    roots = [one for one in found if not any(explains(other, one) for other in found)]
    folded: dict[int, list[Finding]] = {id(root): [] for root in roots}
    for one in found:
        if id(one) not in folded:
            folded[id(_root(one, found, folded))].append(one)
    tops = [_with(root, folded[id(root)]) for root in roots]
    return sorted(tops, key=lambda top: (-top.severity.rank, _rank(top)))


def explains(cause: Finding, symptom: Finding) -> bool:
    """Whether one finding follows from the other: by what they are, how severe they are, and which began first."""
    if symptom.slug not in EXPLAINS.get(cause.slug, frozenset()):
        return False
    if cause.slug in PROVEN:
        return cause.severity is not Severity.NOTE or symptom.severity is Severity.NOTE
    if cause.slug == "lr-too-high" and symptom.slug in STATES:
        return symptom.since_step > FIRST_STEP
    if cause.severity is Severity.NOTE and symptom.severity is not Severity.NOTE:
        return False  # what is worth a note only cannot be why something is worse
    if cause.slug in STATES and symptom.slug == "lr-too-high":
        return cause.since_step <= FIRST_STEP
    if symptom.slug in STATES:
        return (cause.since_step, _rank(cause)) < (symptom.since_step, _rank(symptom))
    return True


def _root(one: Finding, found: list[Finding], roots: Mapping[int, list[Finding]]) -> Finding:
    """The cause at the end of the chain of explanations; the first in rank where there are several."""
    while id(one) not in roots:
        one = next(cause for cause in found if explains(cause, one))
    return one


def _with(root: Finding, folded: list[Finding]) -> Finding:
    worst = max((root, *folded), key=lambda one: one.severity.rank)
    return replace(root, folded=tuple(folded), severity=worst.severity)


def _rank(finding: Finding) -> int:
    return RANK.index(finding.slug)
