"""``markone predict``: what a trained net says to new inputs."""

import csv
import io
from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from markone.cli.options import RunArgument

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from markone.training.evaluate import Predictor

Row = dict[str, Any]


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
    masks: Annotated[
        Path | None,
        typer.Option("--masks", metavar="DIR", help="Write the mask of each picture into this folder (segmentation)."),
    ] = None,
    format: Annotated[
        PredictionFormat, typer.Option("--format", help="text, csv, or one JSON document on standard output.")
    ] = PredictionFormat.TEXT,
) -> None:
    """Predicts classes, numbers or masks for new inputs. Classes come with probabilities."""
    from markone.training.evaluate import Predictor
    from markone.training.run import find_run

    form = _form(format, out)
    files = list(_files(inputs))
    rows = _predictions(Predictor.load(find_run(run)), files, masks)
    _write(rows, form, out)
    failed = sum("error" in row for row in rows)
    if failed:
        typer.echo(f"markone: {failed} of {len(rows)} inputs could not be read; their rows say why.", err=True)
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
    from markone.errors import InputError

    for path in inputs:
        if path.is_dir():
            found = sorted(file for file in path.rglob("*") if _type(file) == "picture" and file.is_file())
            if not found:
                raise InputError("predict-no-images", f"{path} holds no images; give images or a folder of images.")
            yield from found
        elif not path.exists():
            raise InputError(
                "predict-input-absent", f"there is no file {path}; give images, folders, CSV, Parquet or NPZ."
            )
        elif _type(path) is None:
            raise InputError(
                "predict-file-type", f"{path} is of no known type; give images, CSV, Parquet or NPZ files."
            )
        else:
            yield path


def _type(path: Path) -> str | None:
    """picture, table, arrays, or None by the name's end."""
    from markone.data.source import PICTURES, TABLES

    types = {"picture": PICTURES, "table": TABLES, "arrays": (".npz",)}
    return next((name for name, ends in types.items() if path.name.lower().endswith(ends)), None)


def _predictions(predictor: "Predictor", files: Sequence[Path], masks: Path | None) -> list[Row]:
    """One row an input; neighbouring pictures are decoded and predicted together."""
    rows: list[Row] = []
    places = dict[Path, Path]()
    if masks:
        predictor.require_masks()
        places = _mask_files(masks, files)
    for kind, group in groupby(files, key=_type):
        paths = list(group)
        if kind == "picture":
            rows += predictor.images(paths, masks=[places[path] for path in paths] if places else None)
        else:
            for path in paths:
                rows += predictor.table(path) if kind == "table" else _arrays(predictor, path)
    return rows


def _mask_files(folder: Path, files: Sequence[Path]) -> dict[Path, Path]:
    """For each picture the file of its mask in a folder that is made where it is not there. Raises InputError."""
    from markone.errors import InputError

    places = {path: folder / f"{path.stem}.png" for path in files if _type(path) == "picture"}
    first = {place: path for path, place in reversed(places.items())}
    for path, place in places.items():
        if first[place] != path:
            raise InputError(
                "masks-same-name",
                f"{first[place]} and {path} would both have the mask {place}; predict them apart, each into a folder of its own.",
            )
        if place.exists() and place.samefile(path):
            raise InputError(
                "masks-over-inputs", f"the mask of {path} would replace it; give another folder to --masks."
            )
    if folder.exists() and not folder.is_dir():
        raise InputError("out-folder", f"--masks {folder} is a file; name a folder.")
    folder.mkdir(parents=True, exist_ok=True)
    return places


def _arrays(predictor: "Predictor", path: Path) -> list[Row]:
    inputs = _read_inputs(path)
    return [{"input": f"{path}#{place}", **row} for place, row in enumerate(predictor.arrays(inputs))]


def _read_inputs(path: Path) -> "NDArray[np.uint8] | NDArray[np.float32]":
    """The inputs of an NPZ file as a Dataset holds them. Raises InputError."""
    import numpy as np

    from markone.data.arrays import INPUTS
    from markone.errors import InputError

    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            found = {name: stored[name] for name in stored.files}
    except Exception as error:  # zipfile, zlib and numpy each raise their own for a damaged file
        raise InputError("npz-damaged", f"{path} cannot be read as NPZ: {error}.") from None
    name = next((name for name in INPUTS if name in found), next(iter(found)) if len(found) == 1 else None)
    if name is None:
        raise InputError("npz-name", f"{path} has no inputs under a usual name; name the array {INPUTS[0]}.")
    inputs = found[name]
    if inputs.ndim == 2 and inputs.dtype.kind in "fiub":
        return np.asarray(inputs, dtype=np.float32)
    if inputs.ndim in (3, 4) and inputs.dtype == np.uint8:
        return np.ascontiguousarray(inputs[..., None] if inputs.ndim == 3 else inputs, dtype=np.uint8)
    raise InputError(
        "predict-npz-type",
        f"{name} in {path} is {inputs.dtype} of shape {inputs.shape}; give uint8 (n, height, width, channels) for pictures"
        " or numbers (n, columns) for tables.",
    )


def _write(rows: list[Row], form: PredictionFormat, out: Path | None) -> None:
    if form == PredictionFormat.TEXT:
        from markone.cli.output import open_console
        from markone.report.answers import predictions_text

        open_console().print(predictions_text(rows))
    elif out is None:
        print(_as_text(rows, form), end="")
    else:
        out.write_text(_as_text(rows, form), encoding="utf-8", newline="")


def _as_text(rows: list[Row], form: PredictionFormat) -> str:
    if form == PredictionFormat.JSON:
        from markone.cli.output import as_json

        return as_json(rows)
    flat = [_flat(row) for row in rows]
    columns = list(dict.fromkeys(name for row in flat for name in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def _flat(row: Row) -> Row:
    """One level: ``{"probabilities": {"cat": 0.9}}`` becomes ``{"probability of cat": 0.9}``."""
    nested = {"probabilities": "probability of", "shares": "share of"}
    inner = {f"{of} {name}": value for key, of in nested.items() for name, value in row.get(key, {}).items()}
    return {**{name: value for name, value in row.items() if name not in nested}, **inner}
