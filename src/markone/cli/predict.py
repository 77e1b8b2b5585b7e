"""``markone predict``: what a trained net says to new inputs."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from markone.cli.options import RunArgument

if TYPE_CHECKING:
    from markone.training.evaluate import Predictor

TABLES = {".csv", ".parquet", ".pq", ".tsv"}


class PredictionFormat(StrEnum):
    """How predictions are written."""

    TEXT = "text"
    CSV = "csv"
    JSON = "json"


def predict(
    run: RunArgument,
    inputs: Annotated[
        list[Path], typer.Argument(metavar="INPUTS...", help="Images, folders of images, CSV, Parquet or NPZ files.")
    ],
    *,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write to this .csv or .json file instead of printing.")
    ] = None,
    format: Annotated[
        PredictionFormat, typer.Option("--format", help="text, csv, or one JSON document on standard output.")
    ] = PredictionFormat.TEXT,
) -> None:
    """Predicts classes with probabilities, or numbers, for new inputs."""
    from markone.training.evaluate import Predictor
    from markone.training.run import find_run

    form = _form(format, out)
    files = list(_files(inputs))
    rows = _predictions(Predictor.load(find_run(run)), files)
    if out is not None:
        out.write_text(_as_text(rows, form), encoding="utf-8")
    elif form == PredictionFormat.TEXT:
        from markone.cli.output import open_console
        from markone.report.text import predictions_text

        open_console().print(predictions_text(rows))
    else:
        print(_as_text(rows, form), end="")
    failed = sum("error" in row for row in rows)
    if failed:
        print(f"{failed} of {len(rows)} inputs could not be read.", file=__import__("sys").stderr)
        raise typer.Exit(1)


def _form(format: PredictionFormat, out: Path | None) -> PredictionFormat:
    """How the predictions are written; a file is named .csv or .json. Raises InputError before any work is done."""
    from markone.errors import InputError

    if out is None:
        return format
    by_name = {".csv": PredictionFormat.CSV, ".json": PredictionFormat.JSON}.get(out.suffix.lower())
    form = by_name if format == PredictionFormat.TEXT else format
    if form is None or by_name not in (None, form):
        raise InputError("out-format", f"--out {out} does not say how to write; name it .csv or .json.")
    if out.is_dir() or not out.parent.is_dir():
        raise InputError("out-folder", f"--out {out} cannot be written; name a file in a folder that exists.")
    return form


def _files(inputs: Sequence[Path]) -> Iterator[Path]:
    """The files to predict, folders opened. Raises InputError for what is absent, empty or of no known type."""
    from markone.data.pack import IMAGE_SUFFIXES
    from markone.errors import InputError

    for path in inputs:
        if path.is_dir():
            found = sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES)
            if not found:
                raise InputError("predict-no-images", f"{path} holds no images; give images or a folder of images.")
            yield from found
        elif not path.exists():
            raise InputError("predict-input-absent", f"there is no file {path}; give images, folders, CSV, Parquet or NPZ.")
        elif path.suffix.lower() not in {*IMAGE_SUFFIXES, *TABLES, ".npz"}:
            raise InputError("predict-file-type", f"{path} is of no known type; give images, CSV, Parquet or NPZ files.")
        else:
            yield path
