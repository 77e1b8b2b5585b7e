"""``markone data``: the datasheet."""

from typing import TYPE_CHECKING, Annotated

import typer

from markone.cli.options import Format, FormatOption, GroupOption, TargetOption

if TYPE_CHECKING:
    from markone.data.datasheet import Datasheet


def data(
    source: Annotated[str, typer.Argument(metavar="DATA", help="A dataset's name, or a path to data.")],
    *,
    target: TargetOption = None,
    group: GroupOption = None,
    format: FormatOption = Format.TEXT,
) -> None:
    """Prints the datasheet of some data. Counts, ranges, balance, duplicates, constant columns, missing values, odd files."""
    from markone.cli.output import open_console, print_json

    sheet = _sheet(source, target, group).to_dict()
    if format == Format.JSON:
        print_json(sheet)
    else:
        from markone.report.answers import datasheet_text

        open_console().print(datasheet_text(sheet))


def _sheet(source: str, target: str | None, group: str | None) -> "Datasheet":
    """The datasheet of the data as ``markone train`` would split it."""
    from markone.cli.progress import progress_bar
    from markone.data.datasheet import datasheet
    from markone.data.duplicates import find_duplicates
    from markone.data.source import resolve
    from markone.data.split import split
    from markone.training.choose import choose_recipe

    spec = resolve(source, target=target, group=group)
    with progress_bar() as progress:
        dataset = spec.build(progress=progress)
        duplicates = find_duplicates(dataset, progress=progress)
    recipe = choose_recipe(spec, dataset)
    parts = split(dataset, recipe.split, seed=recipe.seed, clusters=duplicates.clusters)
    return datasheet(dataset, parts, duplicates)
