"""Frame: a CSV, TSV or Parquet file as columns that are either numbers or words, missing values known as such."""

import csv
import gzip
import io
import itertools
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from markone.errors import DataError

if TYPE_CHECKING:
    import polars as pl

MISSING = ("", "na", "n/a", "?", "nan", "null", "none", "-", "#n/a")
SEPARATORS = ",;\t|"
GZIP, PARQUET = b"\x1f\x8b", b"PAR1"
MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}  # how Excel and others begin a file


def read_frame(path: Path) -> "pl.DataFrame":
    """Every column as Float64 or String, null where a value is missing. Raises DataError."""
    import polars as pl

    data = _read_bytes(path)
    raw = _parquet(path, data) if data.startswith(PARQUET) else _csv(path, data)
    if not raw.height:
        raise DataError("table-no-rows", f"{path} has column names but no rows: it needs at least a few samples.")
    return pl.DataFrame({name: _numbers_or_words(raw[name], name, path) for name in raw.columns})


def _read_bytes(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if data.startswith(GZIP) else data
    except (OSError, EOFError, zlib.error) as error:
        raise DataError("table-unreadable", f"cannot read {path}: {error}.") from None
    for mark, encoding in MARKS.items():
        if data.startswith(mark):
            data = data.decode(encoding, "replace").encode()
    if b"\r" in data and b"\n" not in data:
        data = data.replace(b"\r", b"\n")  # as old Macs ended lines
    if not data.strip():
        raise DataError("table-empty", f"{path} is empty: a table has a line of column names and a line per sample.")
    if b"\0" in data[:65536] and not data.startswith(PARQUET):
        raise DataError("table-binary", f"{path} is no text, so it is no CSV file: give CSV, TSV or Parquet.")
    return data


def _parquet(path: Path, data: bytes) -> "pl.DataFrame":
    import polars as pl

    try:
        return pl.read_parquet(io.BytesIO(data))
    except Exception as error:  # polars raises several types for a damaged file, one of them a panic
        raise DataError("table-damaged", f"{path} cannot be read as Parquet: {_first_line(error)}.") from None


def _csv(path: Path, data: bytes) -> "pl.DataFrame":
    import polars as pl

    separator = _separator(data)
    header = _header(path, data, separator)
    try:
        frame = pl.read_csv(
            io.BytesIO(data), separator=separator, infer_schema_length=0, encoding="utf8-lossy", new_columns=header
        )
    except pl.exceptions.PolarsError as error:
        _refuse_ragged(path, data, separator, len(header))
        raise DataError("table-damaged", f"{path} cannot be read as CSV: {_first_line(error)}.") from None
    if frame[:, -1].null_count():  # a line that is too short shows here first
        _refuse_ragged(path, data, separator, len(header))
    _refuse_no_header(path, frame)
    return frame.filter(~pl.all_horizontal(pl.all().is_null()))  # blank lines


def _separator(data: bytes) -> str:
    """The separator that splits the first lines into the same number of fields, the largest number."""
    lines = data[: 1 << 16].decode("utf-8", "replace").splitlines()[:20]
    lines = lines[:-1] if len(data) > 1 << 16 else lines
    best = (1, ",")
    for separator in SEPARATORS:
        widths = {len(row) for row in csv.reader(lines, delimiter=separator, skipinitialspace=True) if row}
        if len(widths) == 1:
            best = max(best, (widths.pop(), separator), key=lambda found: found[0])
    if best[0] > 1:
        return best[1]
    return max(SEPARATORS, key=lines[0].count) if lines else ","


def _header(path: Path, data: bytes, separator: str) -> list[str]:
    rows = csv.reader(_lines(data), delimiter=separator, skipinitialspace=True)
    names = [name.strip() for name in next(rows)]
    names = [name or f"column {place + 1}" for place, name in enumerate(names)]
    twice = sorted({name for name in names if names.count(name) > 1 and not _is_number(name)})
    if twice:
        raise DataError("table-same-name", f"{path} has several columns named {twice[0]}: give each its own name.")
    return [name if names.count(name) == 1 else f"{name} ({place})" for place, name in enumerate(names)]


def _refuse_ragged(path: Path, data: bytes, separator: str, width: int) -> None:
    rows = csv.reader(_lines(data), delimiter=separator, skipinitialspace=True)
    for row in rows:
        if row and len(row) != width:
            raise DataError(
                "table-ragged",
                f"line {rows.line_num} of {path} has {len(row)} fields, but the line of names has {width}: repair that line.",
            )


def _refuse_no_header(path: Path, frame: "pl.DataFrame") -> None:
    """Names that are numbers are a first sample, unless words stand over numbers elsewhere."""
    numbers = [name for name in frame.columns if _is_number(name.split(" (")[0])]
    if not numbers:
        return
    words = [name for name in frame.columns if name not in numbers]
    if any(_as_numbers(_words(frame[name])) is not None for name in words):
        return
    raise DataError(
        "table-no-header",
        f"the first line of {path} holds values ({numbers[0]}), not column names: put a line of names above it.",
    )


def _numbers_or_words(column: "pl.Series", name: str, path: Path) -> "pl.Series":
    import polars as pl

    kind = column.dtype
    if kind.is_numeric() or kind.is_temporal():
        return column.to_physical().cast(pl.Float64).fill_nan(None)
    if kind not in (pl.String, pl.Boolean, pl.Categorical, pl.Enum, pl.Null):
        raise DataError("table-type", f"the column {name} of {path} is of type {kind}: numbers or words are needed.")
    words = _words(column.cast(pl.String))
    numbers = _as_numbers(words)
    return words if numbers is None else numbers


def _words(column: "pl.Series") -> "pl.Series":
    """Without white space around; null where the word means that there is none."""
    stripped = column.str.strip_chars()
    return stripped.set(stripped.str.to_lowercase().is_in(list(MISSING)).fill_null(False), None)


def _as_numbers(words: "pl.Series") -> "pl.Series | None":
    """Float64 if every word is a number, with a decimal point or throughout with a decimal comma; else None."""
    import polars as pl

    for text in (words, words.str.replace(",", ".", literal=True)):
        numbers = text.cast(pl.Float64, strict=False)
        if numbers.null_count() == words.null_count():
            return numbers.fill_nan(None)
    return None


def _lines(data: bytes) -> Sequence[str] | io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", errors="replace", newline="")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _first_line(error: Exception) -> str:
    return next(iter(itertools.chain(str(error).splitlines(), [type(error).__name__]))).rstrip(".")
