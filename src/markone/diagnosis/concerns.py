"""Concerns: which line of a watched script a finding is about, and whether it matters to a net that has learned."""

from dataclasses import replace

from markone.diagnosis import thresholds as limit
from markone.diagnosis.causes import PROVEN
from markone.diagnosis.evidence import skill
from markone.diagnosis.finding import Finding, Severity
from markone.training.run import Run

OPTIMIZER = frozenset(
    {
        "lr-too-high",
        "lr-too-low",
        "optimizer-arguments",
        "weights-unchanged",
        "over-regularized",
        "batch-size-too-small",
        "batch-size-too-large",
    }
)
"""About how steps are taken: the line that makes the optimizer."""

LOSS = frozenset(
    {
        "non-finite",
        "exploding-gradient",
        "vanishing-gradient",
        "loss-diverging",
        "loss-oscillating",
        "loss-plateau",
        "loss-wrong-for-task",
        "log-of-zero",
    }
)
"""About the loss and its gradient: the line of the backward pass."""


WHATEVER_IT_COSTS = frozenset(PROVEN) - {"loss-reduction-sum", "accumulation-not-divided", "output-range"} | {
    "leak-across-parts",
    "leak-in-features",
    "preprocessing-mismatch",
    "overfitting",
    "non-finite",
    "log-of-zero",
}
"""Wrong even where the figures are good, or the reason why they are."""


def tempered(run: Run, finding: Finding) -> Finding:
    """A net that does well on validation data has nothing that is worth an alarm: what made no difference is a note."""
    if finding.severity is Severity.NOTE or finding.slug in WHATEVER_IT_COSTS:
        return finding
    validation = skill(run, "validation")
    well = validation is not None and validation.last >= limit.WELL_LEARNED
    return replace(finding, severity=Severity.NOTE) if well else finding


def placed(run: Run, finding: Finding) -> Finding:
    """The finding with FILE:LINE of what it concerns; all others concern the line that calls the net. Unchanged for recipes."""
    watched = run.facts.get("watched")
    if watched is None or finding.place is not None:
        return finding
    made = next((one["place"] for one in watched.get("optimizers", ()) if one.get("place")), None)
    call, backward = watched.get("call"), watched.get("backward")
    place = made if finding.slug in OPTIMIZER else backward if finding.slug in LOSS else call
    return replace(finding, place=place or call or backward or made)
