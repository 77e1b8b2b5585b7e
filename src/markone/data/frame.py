"""Frame: a CSV, TSV or Parquet file as columns of numbers or words, with what means missing as null."""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np
from numpy.typing import NDArray

from markone.errors import DataError

if TYPE_CHECKING:
    import polars as pl

MISSING = ("", "?", "NA", "N/A", "na", "n/a", "nan", "NaN", "NAN", "null", "NULL", "None", "-")
SNIFFED = 1 << 16  # bytes that tell a text file from others
PARQUET, GZIP = b"PAR1", b"\x1f\x8b"
MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}  # how Excel and others begin


def read_frame(path: Path, *, keep_blank: bool = False) -> "tuple[pl.DataFrame, NDArray[np.int64]]":
    """The table, and the line of the file that each row stands on, the header being line 1. Raises DataError.

    Words are stripped; columns of words that are all numbers are numbers. A text file whose first line holds a number has
    no header: its columns are called "column 1", "column 2", ...
    """
    data = _read_bytes(path)
    is_parquet = data.startswith(PARQUET) or path.suffix.lower() in (".parquet", ".pq")
    frame, first = (_read_parquet(path, data), 2) if is_parquet else _read_text(path, _as_utf8(path, data))
    if frame.height == 0:
        raise DataError("table-no-rows", f"{path} has a header and no rows; give it at least one row.")
    lines = np.arange(frame.height, dtype=np.int64) + first
    filled = ~frame.select(_blank()).to_series() | keep_blank
    frame = frame.filter(filled)
    return frame.select(_typed(path, frame[name]) for name in frame.columns), lines[filled.to_numpy()]


def _read_bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if data.startswith(GZIP) else data
    except (OSError, EOFError, zlib.error) as error:
        _unreadable(path, "table", str(error))
    if not data.strip():
        raise DataError("table-empty", f"{path} is empty; give a table with a header and rows.")
    return data


def _as_utf8(path: Path, data: bytes) -> bytes:
    for mark, encoding in MARKS.items():
        if data.startswith(mark):
            data = data.decode(encoding, "replace").encode()
    if b"\0" in data[:SNIFFED]:
        raise DataError("table-binary", f"{path} is no text: it has zero bytes; give a CSV, TSV or Parquet file.")
    data = data.lstrip(b"\r\n")
    return data.replace(b"\r", b"\n") if b"\n" not in data else data  # old Macs ended lines so


def _read_parquet(path: Path, data: bytes) -> "pl.DataFrame":
    import polars as pl

    try:
        return pl.read_parquet(io.BytesIO(data))
    except Exception as error:  # polars raises several types for a damaged file
        _unreadable(path, "Parquet", str(error))


def _read_text(path: Path, data: bytes) -> "tuple[pl.DataFrame, int]":
    """The table as words, and the line of its first row."""
    import polars as pl

    header = data[:SNIFFED].decode("utf-8", "replace").splitlines()[0]
    separator = max(",;\t|", key=header.count)
    _, first = next(_rows(data, separator))
    names = [name.strip() for name in first]
    named = not any(map(_is_number, names))
    if named and (twice := next((name for name in names if names.count(name) > 1), None)) is not None:
        raise DataError("table-same-names", f"{path} has more than one column {twice!r}; rename them.")
    if not named or "" in names:
        names = [name if named and name else f"column {place}" for place, name in enumerate(names, start=1)]
    try:
        frame = pl.read_csv(
            io.BytesIO(data),
            separator=separator,
            infer_schema_length=0,  # all as words
            encoding="utf8-lossy",
            has_header=named,
            new_columns=names,
        )
    except pl.exceptions.PolarsError as error:
        _refuse_ragged(path, data, separator, len(names))
        _unreadable(path, "table", str(error))
    if frame[:, -1].null_count():  # where a row that is too short shows
        _refuse_ragged(path, data, separator, len(names))
    return frame, 1 + named


def _refuse_ragged(path: Path, data: bytes, separator: str, width: int) -> None:
    for line, row in _rows(data, separator):
        if row and len(row) != width:
            _unreadable(path, "table", f"line {line} has {len(row)} fields, but the first line has {width}")


def _rows(data: bytes, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Each row as words, and the line that it ends on."""
    text = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", errors="replace", newline="")
    rows = csv.reader(text, delimiter=separator, skipinitialspace=True)
    for row in rows:
        yield rows.line_num, row


def _unreadable(path: Path, kind: str, why: str) -> NoReturn:
    reason = (why.strip().splitlines() or ["it is damaged"])[0].rstrip(".")
    raise DataError("table-unreadable", f"{path} is not a readable {kind} file: {reason}.") from None


def _blank() -> "pl.Expr":
    import polars as pl

    return pl.all_horizontal(pl.all().is_null())


def _typed(path: Path, series: "pl.Series") -> "pl.Series":
    """Numbers, truth values and times as float64, null where missing; everything else as words."""
    import polars as pl

    kind = series.dtype
    if kind == pl.Boolean or kind.is_temporal() or kind.is_numeric():
        return series.to_physical().cast(pl.Float64).fill_nan(None)
    if kind.is_nested() or kind in (pl.Binary, pl.Object):
        raise DataError("table-type", f"column {series.name} of {path} holds {kind}; it must hold numbers or words.")
    words = series.cast(pl.String, strict=False).str.strip_chars()
    words = words.set(words.is_in(list(MISSING)).fill_null(False), None)
    for text in (words, _with_points(words)):
        numbers = text.cast(pl.Float64, strict=False)
        if numbers.null_count() == words.null_count() < len(words):
            return numbers.fill_nan(None)
    return words


def _with_points(words: "pl.Series") -> "pl.Series":
    """Commas between thousands taken out where all commas stand so; else they are decimal commas."""
    between = words.str.contains(r"^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$")
    if (words.str.contains(",", literal=True) & ~between).any():
        return words.str.replace(",", ".", literal=True)
    return words.str.replace_all(",", "", literal=True)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
