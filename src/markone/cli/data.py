"""``markone data``: the datasheet."""

from typing import Annotated

import typer

from markone.cli.options import Format, FormatOption, GroupOption, TargetOption


def data(
    source: Annotated[str, typer.Argument(metavar="DATA", help="A dataset's name or a path to data.")] = "digits",
    *,
    target: TargetOption = None,
    group: GroupOption = None,
    format: FormatOption = Format.TEXT,
) -> None:
    """Prints the datasheet of some data. Counts, shapes, ranges, balance, duplicates, constant columns, missing values, odd files."""
