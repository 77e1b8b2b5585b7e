"""Where text and JSON documents go."""

import json
import math
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

WIDTH_OF_FILES = 120  # columns where no terminal says how many it has


def open_console(*, stderr: bool = False) -> "Console":
    """A rich console on standard output (or error) that takes text as it is: no markup, no emoji, no highlighting."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else WIDTH_OF_FILES
    return Console(file=stream, width=width, markup=False, emoji=False, highlight=False)


def print_json(document: Any) -> None:
    """One JSON document on standard output."""
    print(as_json(document), end="")


def as_json(document: Any) -> str:
    """JSON text; what is not finite is written as null, as JSON has no word for it."""
    return json.dumps(finite_only(document), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def finite_only(value: Any) -> Any:
    """The same plain value with null for NaN and infinity."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite_only(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite_only(inner) for inner in value]
    return value
