"""Tables: columns of numbers and words as float32 columns that a net can take, and the same again for new rows."""

from collections.abc import Sequence
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

TARGETS = ("target", "label", "class", "y")
LEVELS = 20  # categories of a column that get a column of their own; the rest share one
OTHER = "other"
UNIQUE = 0.5  # share of different words from which a column is names or numbers of things, which teach nothing


def read_table(
    path: Path,
    *,
    target: str | None = None,
    group: str | None = None,
    ignore: Sequence[str] = (),
    task: Task = "auto",
) -> Dataset:
    """One sample per row; inputs float32 (n, columns), NaN where a number is missing.

    A column of numbers stays one, and one of words becomes a column per word (the 20 commonest, then ``other``). Missing
    values are marked in a column of their own. Constant columns, row numbers and columns of names are left out, which the
    notes tell. Rows without target are set aside. Raises DataError.
    """
    frame = read_frame(path)
    goal = _target_column(path, frame, target)
    for name in (*ignore, *([group] if group else [])):
        _require(path, frame, name)
    absent = frame[goal].is_null().to_numpy()
    if absent.all():
        raise DataError("table-no-target", f"the target {goal} of {path} is missing in every row.")
    rows = np.flatnonzero(~absent)
    kept = frame[rows]
    used = [name for name in frame.columns if name not in (goal, group, *ignore)]
    columns, notes = _choose_columns(kept.select(used))
    if not columns:
        raise DataError(
            "table-no-inputs", f"{path} leaves no column to learn from besides {goal}. {' '.join(notes)}".strip()
        )
    inputs = _encode(kept, columns)
    values = kept[goal].to_numpy() if kept[goal].dtype.is_numeric() else np.array(kept[goal].to_list(), dtype=np.str_)
    _refuse_names(path, goal, values)
    targets, classes = encode_targets(values, name=f"{path}, column {goal},", task=task)
    if task == "auto" and values.dtype.kind == "f":
        notes += (f"The numbers in {goal} are taken for {'classes' if classes else 'amounts'}.",)
    return Dataset(
        name=path.name.split(".")[0],
        inputs=inputs,
        targets=targets,
        classes=classes,
        target_names=(goal,),
        columns=columns,
        groups=_groups(kept[group]) if group else None,
        names=_row_names(rows),
        set_aside=tuple(SetAside(f"row {row + 1}", f"has no {goal}") for row in np.flatnonzero(absent)),
        notes=notes,
        digest=content_digest(inputs, targets),
    )


def encode(path: Path, columns: Sequence[Column]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """The rows of a file as inputs (n, columns) for a net that was trained on these columns, and the rows' names.

    Raises DataError where a column is absent, or holds words where numbers were.
    """
    frame = read_frame(path)
    for column in columns:
        _require(path, frame, column.source)
        if (
            column.role == "number"
            and not frame[column.source].dtype.is_numeric()
            and frame[column.source].drop_nulls().len()
        ):
            word = _first_word(frame[column.source])
            raise DataError(
                "table-words", f"the column {column.source} of {path} holds {word!r}, where the training had numbers."
            )
    return _encode(frame, columns), _row_names(np.arange(frame.height))


def _target_column(path: Path, frame: "pl.DataFrame", target: str | None) -> str:
    if target is not None:
        _require(path, frame, target)
        return target
    by_lower = {name.lower(): name for name in frame.columns}
    for usual in TARGETS:
        if usual in by_lower:
            return by_lower[usual]
    raise DataError(
        "table-target",
        f"{path} has no column named {', '.join(TARGETS[:-1])} or {TARGETS[-1]}: name the one to predict with target "
        f"(its columns: {', '.join(frame.columns)}).",
    )


def _require(path: Path, frame: "pl.DataFrame", name: str) -> None:
    if name not in frame.columns:
        near = did_you_mean(name, frame.columns)
        raise DataError("table-column", f"{path} has no column {name!r}.{near} It has {', '.join(frame.columns)}.")


def _refuse_names(path: Path, goal: str, values: NDArray[np.generic]) -> None:
    different = len(np.unique(values))
    if values.dtype.kind == "U" and different > LEVELS and different > UNIQUE * len(values):
        raise DataError(
            "table-target-names",
            f"the target {goal} of {path} holds {different:,} different words in {len(values):,} rows: these are names, not classes.",
        )


def _choose_columns(frame: "pl.DataFrame") -> tuple[tuple[Column, ...], tuple[str, ...]]:
    """What is made of each column, and notes on what is left out or joined."""
    columns, notes = list[Column](), list[str]()
    for name in frame.columns:
        known = frame[name].drop_nulls()
        reason = _no_use(frame[name])
        if reason is None:
            columns += [Column(name, "number")] if known.dtype.is_numeric() else _categories(name, known, notes)
        else:
            notes.append(f"The column {name} is left out: {reason}.")
        if 0 < len(known) < frame.height:
            columns.append(Column(name, "missing"))
    return tuple(columns), tuple(notes)


def _no_use(column: "pl.Series") -> str | None:
    known = column.drop_nulls()
    different = known.n_unique()
    if different == 0:
        return "it is empty"
    if different == 1:
        return "it is the same everywhere"
    if not known.dtype.is_numeric():
        names = different > LEVELS and different > UNIQUE * len(known)
        return f"its {different:,} different words in {len(known):,} rows are names, not categories" if names else None
    numbers = known.to_numpy()
    if len(numbers) == len(column) > 2 and (np.diff(numbers) == 1).all():
        return "it counts the rows"
    return None


def _categories(name: str, known: "pl.Series", notes: list[str]) -> list[Column]:
    """The commonest words, equally common ones by the alphabet."""
    counts = known.value_counts()
    ranked = sorted(
        zip(counts[known.name].to_list(), counts["count"].to_list(), strict=True), key=lambda wc: (-wc[1], wc[0])
    )
    words = [word for word, _ in ranked[:LEVELS]]
    if len(ranked) > LEVELS:
        notes.append(
            f"The column {name} has {len(ranked):,} categories: the {LEVELS} commonest are kept, the others joined."
        )
        words = [*(word for word in words if word != OTHER), OTHER]
    return [Column(name, "category", word) for word in words]


def _encode(frame: "pl.DataFrame", columns: Sequence[Column]) -> NDArray[np.float32]:
    inputs = np.empty((frame.height, len(columns)), dtype=np.float32)
    for place, column in enumerate(columns):
        series = frame[column.source]
        if column.role == "missing":
            inputs[:, place] = series.is_null().to_numpy()
        elif column.role == "number":
            inputs[:, place] = _finite(series)
        elif column.category == OTHER:
            named = [c.category for c in columns if c.source == column.source and c.category not in (None, OTHER)]
            words = _as_words(series)
            inputs[:, place] = (~words.is_in(named)).fill_null(False).to_numpy()
        else:
            inputs[:, place] = (_as_words(series) == column.category).fill_null(False).to_numpy()
    return inputs


def _finite(series: "pl.Series") -> NDArray[np.float64]:
    """Numbers, NaN where there is none or where float32 cannot hold it."""
    import polars as pl

    numbers: NDArray[np.float64] = series.cast(pl.Float64, strict=False).to_numpy().astype(np.float64)
    return np.where(np.abs(numbers) <= np.finfo(np.float32).max, numbers, np.nan)


def _as_words(series: "pl.Series") -> "pl.Series":
    """Words; whole numbers as they are written."""
    import polars as pl

    if not series.dtype.is_numeric():
        return series
    whole = series.drop_nulls()
    return series.cast(pl.Int64 if (whole == whole.round()).all() else pl.Float64).cast(pl.String)


def _first_word(series: "pl.Series") -> str:
    import polars as pl

    words = series.drop_nulls()
    return str(words.filter(words.cast(pl.Float64, strict=False).is_null())[0])


def _groups(column: "pl.Series") -> NDArray[np.int64]:
    """A number per value; a row without one is a group of its own."""
    import polars as pl

    words = column.cast(pl.String).to_list()
    keys = [f"={word}" if word is not None else f"#{row}" for row, word in enumerate(words)]
    return np.unique(keys, return_inverse=True)[1].astype(np.int64)


def _row_names(rows: NDArray[np.int64]) -> tuple[str, ...]:
    return tuple(f"row {row + 1}" for row in rows.tolist())
