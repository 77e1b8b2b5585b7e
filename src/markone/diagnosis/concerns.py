"""Concerns: which line of a watched script a finding is about, where the check itself did not name one."""

from dataclasses import replace

from markone.diagnosis.finding import Finding
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


def placed(run: Run, finding: Finding) -> Finding:
    """The finding with FILE:LINE of what it concerns; all others concern the line that calls the net. Unchanged for recipes."""
    watched = run.facts.get("watched")
    if watched is None or finding.place is not None:
        return finding
    made = next((one["place"] for one in watched.get("optimizers", ()) if one.get("place")), None)
    call, backward = watched.get("call"), watched.get("backward")
    place = made if finding.slug in OPTIMIZER else backward if finding.slug in LOSS else call
    return replace(finding, place=place or call or backward or made)
