"""Finding: one cause, where, since when, measured against what. And the contract of a check."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from markone.training.run import Run


class Severity(StrEnum):
    """How much a cause costs: a note is worth knowing, a warning costs accuracy or time, severe means it does not learn."""

    NOTE = "note"
    WARNING = "warning"
    SEVERE = "severe"

    @property
    def rank(self) -> int:
        return list(Severity).index(self)


@dataclass(frozen=True)
class Finding:
    """One cause.

    slug: its name and its page (``markone explain SLUG``).
    where: the layer, column or part that it concerns; None means the whole training.
    place: FILE:LINE of the user's code that it concerns, for trainings that were watched.
    since_step: the first step at which it held.
    measured, reference: the value and what it is judged against, in the same unit; ``message`` says both in words.
    confidence: between 0 and 1.
    folded: the findings that this cause explains.
    """

    slug: str
    severity: Severity
    message: str
    measured: float
    reference: float
    confidence: float
    where: str | None = None
    place: str | None = None
    since_step: int = 0
    folded: tuple["Finding", ...] = ()
    evidence: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {
            "slug": self.slug,
            "severity": self.severity.value,
            "confidence": self.confidence,
            "where": self.where,
            "place": self.place,
            "since_step": self.since_step,
            "measured": self.measured,
            "reference": self.reference,
            "message": self.message,
            "evidence": self.evidence,
            "folded": [finding.to_dict() for finding in self.folded],
        }


Check = Callable[[Run], Iterable[Finding]]
