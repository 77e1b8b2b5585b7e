"""Every error that markone raises on purpose.

    MarkoneError                 has a slug, and reads as one sentence
    ├── InputError               what was given cannot be used: exit code 2, nothing written
    │   ├── SpecError            a value, key or kind of a recipe
    │   ├── DataError            a data source
    │   └── RunError             a run folder
    └── TrainingError            a training that began and could not go on

A message names the thing, what was received, what is allowed and the next step.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class MarkoneError(Exception):
    """An error with a slug: ``MarkoneError("data-path-absent", "there is no ...")``."""

    def __init__(self, slug: str, message: str) -> None:
        super().__init__(message)
        self.slug = slug


class InputError(MarkoneError):
    """What was given cannot be used."""


class SpecError(InputError):
    """A value, key or kind of a recipe is not allowed."""


class DataError(InputError):
    """A data source cannot be read or is not fit for training."""


class RunError(InputError):
    """A run folder is absent, incomplete or in the wrong state."""


class TrainingError(MarkoneError):
    """A training that began and could not go on."""


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """The near name as a clause, or nothing; upper and lower case count as equal.

    >>> did_you_mean("dept", ["depth", "width"])
    ' Did you mean depth?'
    >>> did_you_mean("xyz", ["depth", "width"])
    ''
    """
    by_folded = {word.casefold(): word for word in allowed}
    near = get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.5)
    return f" Did you mean {by_folded[near[0]]}?" if near else ""
