"""What a watched training was seen to do (fact ``sightings``), and the finding that one sighting proves."""

from collections.abc import Iterator
from typing import Any

from markone.diagnosis.finding import Finding, Severity
from markone.training.run import Run
from markone.training.sightings import Sighting

NAMED = 4  # of many parameters, in a message


def seen(run: Run, kind: str) -> Iterator[Sighting]:
    """The sightings of one kind that were hits."""
    for one in run.facts.get("sightings", ()):
        if one["kind"] == kind and one["hits"]:
            yield Sighting(**one)


def mostly(run: Run, kind: str, *, least: float = 0.5) -> Iterator[Sighting]:
    """Those that held on at least that share of the occasions: once may be an exception that was meant."""
    return (one for one in seen(run, kind) if one.share >= least)


def proven(
    one: Sighting,
    severity: Severity,
    message: str,
    *,
    where: str | None = None,
    measured: float | None = None,
    reference: float = 0.0,
) -> Finding:
    """A finding that needs no threshold.

    measured: by default the share of the occasions on which it held. reference: that of a sound loop.
    """
    return Finding(
        slug=one.kind,
        severity=severity,
        message=message,
        where=where,
        place=one.place,
        since_step=one.first_step,
        measured=one.share if measured is None else measured,
        reference=reference,
        confidence=1.0,
        evidence={"hits": one.hits, "of": one.of, **one.details},
    )


def often(one: Sighting) -> str:
    """
    >>> often(Sighting("zero-grad-missing", None, hits=3, of=4))
    '3 of 4 steps that were looked at'
    """
    return f"{one.hits} of {one.of} steps that were looked at"


def listed(names: list[Any]) -> str:
    """
    >>> listed(["a", "b"]), listed(list("abcdef"))
    ('a and b', 'a, b, c, d and 2 more')
    """
    texts = [str(name) for name in names]
    if len(texts) > NAMED + 1:
        return f"{', '.join(texts[:NAMED])} and {len(texts) - NAMED} more"
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)
