"""``markone compare``: two runs beside each other."""

from typing import Annotated

import typer

from markone.cli.options import Format, FormatOption


def compare(
    a: Annotated[str, typer.Argument(metavar="RUN", help="A run folder, a name under runs/, or last.")],
    b: Annotated[str, typer.Argument(metavar="RUN", help="The run to compare it with.")],
    *,
    format: FormatOption = Format.TEXT,
) -> None:
    """Compares two runs. Recipes, curves, complexity, and whether one is surely better."""
    from markone.cli.output import open_console, print_json
    from markone.report.comparison import compare_runs
    from markone.training.run import find_run

    left, right = find_run(a), find_run(b)
    comparison = compare_runs(left, right)
    if format == Format.JSON:
        from markone.report.document import comparison_document

        print_json(comparison_document(left, right, comparison))
    else:
        from markone.report.text import comparison_text

        open_console().print(comparison_text(left, right, comparison))
