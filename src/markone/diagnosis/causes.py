"""Which finding explains which: causes come first, and what a cause explains is folded under it."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from markone.diagnosis.finding import Finding

RANK = (
    "input-unnormalized",
    "exploding-gradient",
    "lr-too-high",
    "saturated-activation",
    "dead-relu",
    "vanishing-gradient",
    "lr-too-low",
    "non-finite",
    "overfitting",
    "underfitting",
)
"""From the data through the net's first state and the steps to what they lead to."""

EXPLAINS: Mapping[str, frozenset[str]] = {
    # inputs of size s make the first outputs s times larger and the curvature s^2 times
    "input-unnormalized": frozenset(
        {
            "exploding-gradient",
            "lr-too-high",
            "lr-too-low",
            "saturated-activation",
            "dead-relu",
            "vanishing-gradient",
            "non-finite",
            "underfitting",
        }
    ),
    # a gradient that grows with every layer makes any step too long for the first ones
    "exploding-gradient": frozenset({"lr-too-high", "saturated-activation", "dead-relu", "non-finite", "underfitting", "lr-too-low"}),
    # a step that throws the weights far off leaves units dead or flat behind it
    "lr-too-high": frozenset(
        {"exploding-gradient", "saturated-activation", "dead-relu", "vanishing-gradient", "non-finite", "underfitting", "lr-too-low"}
    ),
    # no gradient passes where the function is flat
    "saturated-activation": frozenset({"vanishing-gradient", "lr-too-low", "lr-too-high", "underfitting"}),
    "dead-relu": frozenset({"vanishing-gradient", "lr-too-low", "underfitting"}),
    "vanishing-gradient": frozenset({"lr-too-low", "underfitting"}),
    "lr-too-low": frozenset({"underfitting"}),
}
"""By cause, the symptoms that follow from it."""

NEEDS_TIME = frozenset({"saturated-activation", "dead-relu", "vanishing-gradient", "exploding-gradient"})
"""States of the net: a step can only have brought about those that began after it."""


def fold(findings: Iterable[Finding]) -> list[Finding]:
    """Causes first by severity, then rank, then confidence; each holds what it explains, and is as severe as the worst of that."""
    left = sorted(findings, key=lambda finding: RANK.index(finding.slug))
    tops = list[Finding]()
    for finding in left:
        place = next((n for n, top in enumerate(tops) if explains(top, finding)), None)
        if place is None:
            tops.append(finding)
        else:
            tops[place] = replace(tops[place], folded=(*tops[place].folded, finding))
    tops = [replace(top, severity=max((top, *top.folded), key=lambda one: one.severity.rank).severity) for top in tops]
    return sorted(tops, key=lambda top: (-top.severity.rank, RANK.index(top.slug), -top.confidence))


def explains(cause: Finding, symptom: Finding) -> bool:
    """Whether one finding follows from the other: by what they are, and by which began first."""
    if symptom.slug not in EXPLAINS.get(cause.slug, frozenset()):
        return False
    if cause.severity.rank == 0 and symptom.severity.rank > 0:
        return False  # what is worth a note cannot be why something is worse
    if cause.slug == "lr-too-high" and symptom.slug in NEEDS_TIME:
        return symptom.since_step > cause.since_step or symptom.since_step > 1
    return True
