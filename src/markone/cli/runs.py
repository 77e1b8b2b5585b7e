"""``markone runs``: every run of a folder, newest last."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from markone.cli.options import Format, FormatOption

if TYPE_CHECKING:
    from markone.training.run import Run


def runs(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Where the runs lie.")] = Path("runs"),
    *,
    format: FormatOption = Format.TEXT,
) -> None:
    """Lists the runs of a folder, newest last."""
    from markone.cli.output import open_console, print_json
    from markone.errors import RunError
    from markone.training.run import list_runs

    if folder != Path("runs") and not folder.is_dir():
        raise RunError(
            "runs-folder-absent", f"there is no folder {folder}; runs lie in runs/ unless --folder said else."
        )
    rows = [_row(run) for run in list_runs(folder)]
    if format == Format.JSON:
        print_json(rows)
    elif not rows:
        open_console().print(f"There is no run in {folder}/ yet; start one with: markone train digits")
    else:
        from markone.report.text import runs_table

        open_console().print(runs_table(rows))


def _row(run: "Run") -> dict[str, Any]:
    """A run that cannot be read is a row like any other, and says so."""
    from markone.errors import MarkoneError
    from markone.report.document import damaged_row, row_document

    try:
        return row_document(run)
    except MarkoneError:
        return damaged_row(run)
