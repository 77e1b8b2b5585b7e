"""The options and arguments that several verbs share."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from markone.errors import SpecError


class Format(StrEnum):
    """How a verb reports."""

    TEXT = "text"
    JSON = "json"


FormatOption = Annotated[Format, typer.Option("--format", help="text, or one JSON document on standard output.")]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run folder, a name under runs/, or last.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Change a field, such as net.depth=3; repeatable."),
]
TargetOption = Annotated[
    str | None, typer.Option("--target", metavar="COLUMN", help="The column of a table that is to be predicted.")
]
GroupOption = Annotated[
    str | None,
    typer.Option("--group", metavar="COLUMN", help="Rows with one value of this column stay in one part."),
]


def read_edits(settings: list[str] | None) -> dict[str, Any]:
    """``["net.depth=3", "net.kind=mlp"]`` -> ``{"net.depth": 3, "net.kind": "mlp"}``; a value that is no TOML is a string.

    Raises SpecError if one has no ``=``.
    """
    edits = {}
    for setting in settings or ():
        path, equals, text = setting.partition("=")
        if not equals or not path.strip():
            raise SpecError(
                "set-form", f"--set {setting} is not allowed: write FIELD=VALUE, such as --set net.depth=3."
            )
        edits[path.strip()] = _toml_value(text.strip())
    return edits


def _toml_value(text: str) -> Any:
    import tomllib

    try:
        document = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return document["value"] if list(document) == ["value"] else text
