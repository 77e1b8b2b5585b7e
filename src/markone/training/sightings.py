"""Sightings: what a watched training was seen to do, how often of how many occasions, since when, and on which line of the user's code."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

MOST_KINDS = 1000  # of kind and subject together: a script that makes a thousand nets is not recorded one by one


@dataclass
class Sighting:
    """One kind of event at one subject.

    kind: the slug of the finding that it speaks for. subject: module, parameter or optimizer. hits, of: occasions on which it was seen, of
    all that were looked at. details: numbers and names of the first hit, in the words of that kind.
    """

    kind: str
    subject: str | None
    hits: int = 0
    of: int = 0
    first_step: int = 0
    last_step: int = 0
    place: str | None = None
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def share(self) -> float:
        return self.hits / self.of if self.of else 0.0


class Sightings:
    """All sightings of one training; kept in its record as the fact ``sightings``."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str | None], Sighting] = {}
        self._noted: dict[tuple[str, str | None], Sighting] = {}
        self._first: dict[tuple[str, str | None], int] = {}  # steps of what was noted before
        self._missed: dict[tuple[str, str | None], int] = {}  # occasions without a hit so far

    def saw(
        self, kind: str, subject: str | None, hit: bool, *, step: int, place: str | None = None, **details: Any
    ) -> None:
        """Counts one occasion, and keeps the details of the first hit."""
        if (kind, subject) not in self._found and (not hit or len(self._found) >= MOST_KINDS):
            if len(self._missed) < MOST_KINDS:
                self._missed[kind, subject] = self._missed.get((kind, subject), 0) + 1
            return
        one = self._found.setdefault((kind, subject), Sighting(kind, subject, of=self._missed.pop((kind, subject), 0)))
        one.of += 1
        if not hit:
            return
        if not one.hits:
            one.first_step, one.details = step, {name: _plain(value) for name, value in details.items()}
        one.place = one.place or place
        one.hits, one.last_step = one.hits + 1, step

    def note(self, kind: str, subject: str | None, *, step: int, place: str | None = None, **details: Any) -> None:
        """What follows of the whole training up to now, until ``forget_notes``: counts that the watcher keeps itself."""
        hits, of = details.pop("hits", 1), details.pop("of", 1)
        plain = {name: _plain(value) for name, value in details.items()}
        first = self._first.setdefault((kind, subject), step)
        self._noted[kind, subject] = Sighting(kind, subject, hits, of, first, step, place, plain)

    def forget_notes(self) -> None:
        """What was true of the training so far need not be true of what it has become."""
        self._noted = {}

    def hits(self) -> list[Sighting]:
        """Those that held on at least half of the occasions."""
        return [one for one in [*self._found.values(), *self._noted.values()] if one.hits and one.share >= 0.5]

    def to_list(self) -> list[dict[str, Any]]:
        return [dataclasses.asdict(one) for one in (*self._found.values(), *self._noted.values())]


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return list(value) if isinstance(value, tuple) else value
