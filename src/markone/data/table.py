"""Tables: CSV, TSV and Parquet files as numbers, missing-value indicators and one column per category."""

import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np
from numpy.typing import NDArray

from markone.data.dataset import Column, Dataset, SetAside
from markone.data.digest import content_digest
from markone.data.targets import Task, encode_targets
from markone.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import polars as pl

MISSING = ("", "?", "NA", "N/A", "na", "n/a", "nan", "NaN", "NAN", "null", "NULL", "None", "-")
TARGET_NAMES = ("target", "label", "class", "y")
MOST_LEVELS = 20  # categories that get a column of their own; rarer ones share "other"
NAMES_FROM = 0.5  # share of distinct values from which a column of words names its rows instead of describing them
SNIFFED = 1 << 16  # bytes that tell a text file from others
OTHER = "other"

Floats = NDArray[np.float32]


def read_table(
    path: Path,
    *,
    target: str | None = None,
    group: str | None = None,
    ignore: Sequence[str] = (),
    task: Task = "auto",
) -> Dataset:
    """One sample per row. Raises DataError where the file, the target or the group is not fit for training."""
    frame = _read(path)
    target = _target(path, frame, target)
    for name in (*ignore, *([group] if group else [])):
        _require(path, frame, name)
    wanted = frame[target]
    absent = wanted.is_null()
    set_aside = tuple(SetAside(_line(i), f"has no {target}") for i in np.flatnonzero(absent.to_numpy()).tolist())
    lines = np.flatnonzero(~absent.to_numpy())
    frame, wanted = frame.filter(~absent), wanted.filter(~absent)
    if frame.height == 0:
        raise DataError("table-no-rows", f"{path} has no row with a value of {target}; check the file.")
    notes: list[str] = []
    sources = [name for name in frame.columns if name not in {target, group, *ignore}]
    pairs = [pair for name in sources for pair in _columns(frame[name], notes, alone=len(sources) == 1)]
    if not pairs:
        raise DataError("table-no-inputs", f"{path} has no column to learn from beside {target}.{_because(notes)}")
    inputs = np.column_stack([values for _, values in pairs]).astype(np.float32)
    targets, classes = encode_targets(_wanted(wanted), name=target, task=task)
    return Dataset(
        name=path.name.split(".")[0],
        inputs=inputs,
        targets=targets,
        classes=classes,
        target_names=(target,),
        columns=tuple(column for column, _ in pairs),
        groups=None if group is None else _group_labels(frame[group]),
        names=tuple(map(_line, lines.tolist())),
        set_aside=set_aside,
        notes=tuple(notes),
        digest=content_digest(inputs, targets),
    )


def encode(path: Path, columns: Sequence[Column]) -> tuple[Floats, tuple[str, ...]]:
    """A new file in the columns of an earlier one, float32 (n, columns), and what its rows are called.

    A category that was not there before counts as "other", or as none where there was no such column. Raises DataError for
    a column that is absent or holds words where numbers were.
    """
    frame = _read(path)
    for source in dict.fromkeys(column.source for column in columns):
        _require(path, frame, source)
    if frame.height == 0:
        raise DataError("table-no-rows", f"{path} has no rows; there is nothing to predict.")
    known: dict[str, set[str]] = {}
    for column in columns:
        if column.role == "category":
            known.setdefault(column.source, set()).add(str(column.category))
    inputs = np.column_stack([_values(path, frame[c.source], c, known.get(c.source, set())) for c in columns])
    return inputs.astype(np.float32), tuple(map(_line, range(frame.height)))


def _values(path: Path, series: "pl.Series", column: Column, known: set[str]) -> Floats:
    if column.role == "missing":
        return series.is_null().to_numpy().astype(np.float32)
    if column.role == "category":
        return _is_category(series, str(column.category), known)
    if not series.dtype.is_numeric() and series.null_count() < len(series):
        raise DataError(
            "table-not-numbers", f"column {column.source} of {path} holds words; it held numbers in training."
        )
    return _numbers(series)


def _read(path: Path) -> "pl.DataFrame":
    """The file with words stripped, what means missing as null, and words that are all numbers as numbers.

    A text file whose first line holds a number has no header: its columns are called "column 1", "column 2", ...
    """
    import polars as pl

    if path.suffix.lower() == ".parquet":
        try:
            frame = pl.read_parquet(path)
        except (pl.exceptions.PolarsError, OSError) as error:
            _unreadable(path, "Parquet", error)
    else:
        frame = _read_text(path)
    if frame.height == 0:
        raise DataError("table-no-rows", f"{path} has a header and no rows; give it at least one row.")
    return frame.select(_typed(frame[name]) for name in frame.columns)


def _read_text(path: Path) -> "pl.DataFrame":
    import polars as pl

    header = _header(path)
    separator = max(",;\t|", key=header.count)
    names = [name.strip().strip('"') for name in header.split(separator)]
    named = not any(map(_is_number, names))
    try:
        frame = pl.read_csv(
            path, separator=separator, infer_schema=False, encoding="utf8-lossy", has_header=named, raise_if_empty=False
        )
    except (pl.exceptions.PolarsError, OSError) as error:
        _unreadable(path, "table", error)
    if not named:
        return frame.rename({old: f"column {place}" for place, old in enumerate(frame.columns, start=1)})
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise DataError("table-same-names", f"{path} has more than one column {twice!r}; rename them.")
    return frame.rename({name: name.strip() for name in frame.columns})


def _header(path: Path) -> str:
    """The first line. Raises DataError if the file is empty or no text."""
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opened(path, "rb") as file:
            head = file.read(SNIFFED)
    except OSError as error:
        _unreadable(path, "table", error)
    if not head.strip():
        raise DataError("table-empty", f"{path} is empty; give a table with a header and rows.")
    if b"\0" in head:
        raise DataError("table-binary", f"{path} is no text: it has zero bytes; give a CSV, TSV or Parquet file.")
    return head.decode("utf-8-sig", errors="replace").lstrip().splitlines()[0]


def _unreadable(path: Path, kind: str, error: Exception) -> NoReturn:
    reason = str(error).strip().splitlines()[0].rstrip(".")
    raise DataError("table-unreadable", f"{path} is not a readable {kind} file: {reason}.") from None


def _typed(series: "pl.Series") -> "pl.Series":
    """Words stripped; numbers, truth values and times as float64; everything else as words."""
    import polars as pl

    if series.dtype.is_numeric():
        return series
    if series.dtype == pl.Boolean or series.dtype.is_temporal():
        return series.cast(pl.Int64)
    words = series.cast(pl.String, strict=False).str.strip_chars()
    words = words.set(words.is_in(list(MISSING)), None)
    numbers = words.cast(pl.Float64, strict=False)
    return numbers if numbers.null_count() == words.null_count() < len(words) else words


def _columns(series: "pl.Series", notes: list[str], *, alone: bool) -> Iterator[tuple[Column, Floats]]:
    """The input columns that one column of the file gives; why it gives none goes into the notes."""
    name, present = series.name, series.drop_nulls()
    distinct = present.n_unique()
    if distinct <= 1 and not (distinct == 1 and series.null_count()):
        notes.append(f"{name} is constant and left out")
        return
    if series.null_count():
        yield Column(name, "missing"), series.is_null().to_numpy().astype(np.float32)
    if series.dtype.is_numeric():
        if _counts_rows(series) and not alone:
            notes.append(f"{name} numbers the rows and is left out")
        elif distinct > 1:
            yield Column(name, "number"), _numbers(series)
    elif distinct > MOST_LEVELS and distinct > NAMES_FROM * len(present):
        notes.append(f"{name} has {distinct:,} different words in {len(present):,} rows and is left out")
    else:
        yield from _categories(series, notes)


def _categories(series: "pl.Series", notes: list[str]) -> Iterator[tuple[Column, Floats]]:
    counts = series.drop_nulls().value_counts(sort=True)[series.name].to_list()
    kept = sorted(counts[:MOST_LEVELS])
    if len(counts) > MOST_LEVELS:
        notes.append(f"{series.name} has {len(counts)} categories: the {MOST_LEVELS} commonest are kept")
        kept = [level for level in kept if level != OTHER] + [OTHER]
    for level in kept:
        yield Column(series.name, "category", level), _is_category(series, level, set(kept))


def _is_category(series: "pl.Series", level: str, known: set[str]) -> Floats:
    import polars as pl

    words = series.cast(pl.String)
    found = (words == level).fill_null(False)
    if level == OTHER:
        found = found | (~words.is_in(sorted(known))).fill_null(False)
    return found.to_numpy().astype(np.float32)


def _numbers(series: "pl.Series") -> Floats:
    """float32, NaN where missing or infinite."""
    import polars as pl

    values = series.cast(pl.Float64).fill_null(np.nan).to_numpy().astype(np.float32)
    return np.where(np.isfinite(values), values, np.float32(np.nan))


def _counts_rows(series: "pl.Series") -> bool:
    """Whether the column is 0, 1, 2, ... or 1, 2, 3, ...: it tells where a row stands, and nothing of what it is."""
    values = _numbers(series)
    return len(values) > MOST_LEVELS and values[0] in (0, 1) and bool((np.diff(values) == 1).all())


def _target(path: Path, frame: "pl.DataFrame", target: str | None) -> str:
    if target is not None:
        _require(path, frame, target)
        return target
    usual = [name for name in frame.columns if name.lower() in TARGET_NAMES]
    if len(usual) == 1:
        return usual[0]
    raise DataError(
        "table-no-target",
        f"{path} does not say which column to predict; name it with --target. Columns: {', '.join(frame.columns)}.",
    )


def _require(path: Path, frame: "pl.DataFrame", name: str) -> None:
    if name not in frame.columns:
        raise DataError(
            "table-no-column",
            f"{path} has no column {name!r}.{did_you_mean(name, frame.columns)} Columns: {', '.join(frame.columns)}.",
        )


def _wanted(series: "pl.Series") -> NDArray[np.generic]:
    import polars as pl

    values: NDArray[np.generic] = series.to_numpy()
    return values.astype(np.str_) if series.dtype == pl.String else values


def _group_labels(series: "pl.Series") -> NDArray[np.int64]:
    """Equal values, equal labels; a row without a value is a group of its own."""
    import polars as pl

    labels = series.cast(pl.String).rank("dense").fill_null(0).to_numpy().astype(np.int64)
    alone = labels == 0
    labels[alone] = labels.max() + 1 + np.arange(alone.sum())
    return labels


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _because(notes: Sequence[str]) -> str:
    return f" ({'; '.join(notes)})" if notes else ""


def _line(row: int) -> str:
    """The line of the file that a row stands on, the header being line 1."""
    return f"line {row + 2}"
