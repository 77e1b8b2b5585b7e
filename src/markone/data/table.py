"""Tables: CSV, TSV and Parquet files as numbers, missing-value indicators and one column per category."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from markone.data.dataset import Column, Dataset, SetAside
from markone.data.digest import content_digest
from markone.data.frame import read_frame
from markone.data.targets import Task, encode_targets
from markone.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import polars as pl

TARGET_NAMES = ("target", "label", "class", "y")
MOST_LEVELS = 20  # categories that get a column of their own; rarer ones share "other"
NAMES_FROM = 0.5  # share of distinct values from which a column of words names its rows instead of describing them
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
    frame, lines = read_frame(path)
    target = _target(path, frame, target)
    for name in (*ignore, *([group] if group else [])):
        _require(path, frame, name)
    wanted = frame[target]
    absent = wanted.is_null().to_numpy()
    set_aside = tuple(SetAside(name, f"has no {target}") for name in _lines(lines[absent]))
    frame, wanted = frame.filter(wanted.is_not_null()), wanted.drop_nulls()
    if frame.height == 0:
        raise DataError("table-no-rows", f"{path} has no row with a value of {target}; check the file.")
    notes = _no_names(frame)
    sources = [name for name in frame.columns if name not in {target, group, *ignore}]
    pairs = [pair for name in sources for pair in _columns(frame[name], notes, alone=len(sources) == 1)]
    if not pairs:
        raise DataError("table-no-inputs", f"{path} has no column to learn from beside {target}.{_because(notes)}")
    inputs = np.column_stack([values for _, values in pairs]).astype(np.float32)
    values = _wanted(path, wanted)
    targets, classes = encode_targets(values, name=target, task=task)
    if task == "auto" and values.dtype.kind == "f" and len(np.unique(values)) > 2:
        notes.append(f"the numbers in {target} are taken for {'classes' if classes else 'amounts'}")
    return Dataset(
        name=path.name.split(".")[0],
        inputs=inputs,
        targets=targets,
        classes=classes,
        target_names=(target,),
        columns=tuple(column for column, _ in pairs),
        groups=None if group is None else _group_labels(frame[group]),
        names=_lines(lines[~absent]),
        set_aside=set_aside,
        notes=tuple(notes),
        digest=content_digest(inputs, targets),
    )


def encode(path: Path, columns: Sequence[Column]) -> tuple[Floats, tuple[str, ...]]:
    """A new file in the columns of an earlier one, float32 (n, columns), and what its rows are called.

    A category that was not there before counts as "other", or as none where there was no such column. Raises DataError for
    a column that is absent or holds words where numbers were.
    """
    frame, lines = read_frame(path, keep_blank=True)
    for source in dict.fromkeys(column.source for column in columns):
        _require(path, frame, source)
    known: dict[str, set[str]] = {}
    for column in columns:
        if column.role == "category":
            known.setdefault(column.source, set()).add(str(column.category))
    inputs = np.column_stack([_values(path, frame[c.source], c, known.get(c.source, set())) for c in columns])
    return inputs.astype(np.float32), _lines(lines)


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

    values = series.cast(pl.Float64).fill_null(np.nan).to_numpy()
    return np.where(np.abs(values) <= np.finfo(np.float32).max, values, np.nan).astype(np.float32)


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


def _wanted(path: Path, series: "pl.Series") -> NDArray[np.generic]:
    """The target's values. Raises DataError for words that name the rows instead of sorting them."""
    import polars as pl

    if series.dtype != pl.String:
        numbers: NDArray[np.generic] = series.to_numpy()
        return numbers
    distinct = series.n_unique()
    if distinct > MOST_LEVELS and distinct > NAMES_FROM * len(series):
        raise DataError(
            "table-target-names",
            f"column {series.name} of {path} has {distinct:,} different words in {len(series):,} rows; these are names,"
            " not classes: predict another column.",
        )
    return np.array(series.to_list(), dtype=np.str_)


def _no_names(frame: "pl.DataFrame") -> list[str]:
    places = [f"column {place}" for place in range(1, frame.width + 1)]
    return ["the first line holds a number, so it is taken for a row: the columns have no names"] * (
        frame.columns == places
    )


def _group_labels(series: "pl.Series") -> NDArray[np.int64]:
    """Equal values, equal labels; a row without a value is a group of its own."""
    import polars as pl

    labels = series.cast(pl.String).rank("dense").fill_null(0).to_numpy().astype(np.int64)
    alone = labels == 0
    labels[alone] = labels.max() + 1 + np.arange(alone.sum())
    return labels


def _because(notes: Sequence[str]) -> str:
    return f" ({'; '.join(notes)})" if notes else ""


def _lines(lines: NDArray[np.int64]) -> tuple[str, ...]:
    return tuple(f"line {line}" for line in lines.tolist())
