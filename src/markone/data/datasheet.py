"""Datasheet: what is in a dataset and what is odd about it, as one plain value that the terminal and the report show."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from markone.data.dataset import Dataset, Part
from markone.data.duplicates import Duplicates
from markone.data.split import SplitResult

CHUNK = 4096  # samples looked at together
NAMED = 50  # duplicate pairs of a kind that are named


@dataclass(frozen=True)
class Feature:
    """One column, channel or output: its range and moments over all samples, missing values left out."""

    name: str
    smallest: float
    largest: float
    mean: float
    std: float
    missing: int

    @property
    def constant(self) -> bool:
        """Whether it tells nothing: one value everywhere."""
        return self.smallest == self.largest


@dataclass(frozen=True)
class Pair:
    """Two samples that are duplicates, with their classes (None in regression) and parts."""

    first: str
    second: str
    classes: tuple[str, str] | None
    parts: tuple[str, str]


@dataclass(frozen=True)
class DuplicateKind:
    """pairs: how many; across_classes: of these, how many are filed under two classes; named: the first of them."""

    pairs: int
    across_classes: int
    named: tuple[Pair, ...]


@dataclass(frozen=True)
class Oddity:
    """A file or row that is set aside, or used in spite of something, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Datasheet:
    """Counts, shapes, ranges, balance, duplicates, constant columns, missing values, odd files, notes."""

    name: str
    kind: str
    samples: int
    input_shape: tuple[int, ...]
    parts: dict[str, int]
    classes: dict[str, dict[str, int]]
    inputs: tuple[Feature, ...]
    targets: tuple[Feature, ...]
    constant: tuple[str, ...]
    missing: dict[str, int]
    duplicates: dict[str, DuplicateKind]
    similarity: float | None
    groups: int | None
    set_aside: tuple[Oddity, ...]
    odd: tuple[Oddity, ...]
    notes: tuple[str, ...]
    digest: str

    def to_dict(self) -> dict[str, Any]:
        """As plain data: dict, list, str, int, float, None."""
        data: dict[str, Any] = _plain(asdict(self))
        return data


def datasheet(dataset: Dataset, split: SplitResult, duplicates: Duplicates) -> Datasheet:
    """The datasheet of a dataset as it is split. Reads the inputs once, in pieces."""
    inputs = tuple(_features(dataset))
    targets = () if dataset.is_classification else tuple(_moments(dataset.targets, dataset.target_names))
    named = [feature for feature, column in zip(inputs, dataset.columns, strict=False) if column.role == "number"]
    return Datasheet(
        name=dataset.name,
        kind="pictures" if dataset.is_images else "table",
        samples=len(dataset),
        input_shape=dataset.input_shape,
        parts=split.counts,
        classes=_balance(dataset, split),
        inputs=inputs,
        targets=targets,
        constant=tuple(feature.name for feature in inputs if feature.constant),
        missing={feature.name: feature.missing for feature in (named or inputs) if feature.missing},
        duplicates={
            "exact": _kind(duplicates.exact, dataset, split),
            "near": _kind(duplicates.near, dataset, split),
        },
        similarity=duplicates.threshold,
        groups=None if dataset.groups is None else len(np.unique(dataset.groups)),
        set_aside=tuple(Oddity(s.path, s.reason) for s in dataset.set_aside),
        odd=tuple(Oddity(s.path, s.reason) for s in dataset.odd),
        notes=(*dataset.notes, *split.sentences),
        digest=dataset.digest,
    )


def _features(dataset: Dataset) -> Iterator[Feature]:
    if dataset.is_images:
        names = (
            ("grey",) if dataset.input_shape[0] == 1 else ("red", "green", "blue", "alpha")[: dataset.input_shape[0]]
        )
        yield from _channels(dataset.inputs.astype(np.uint8, copy=False), names)
    else:
        names = tuple(column.name for column in dataset.columns) or tuple(
            f"x{i}" for i in range(dataset.inputs.shape[1])
        )
        yield from _moments(dataset.inputs, names)


def _channels(pictures: NDArray[np.uint8], names: tuple[str, ...]) -> Iterator[Feature]:
    """From the histogram of each channel, which is exact and needs no copy in floating point."""
    counts = np.zeros((len(names), 256), dtype=np.int64)
    for start in range(0, len(pictures), CHUNK):
        piece = pictures[start : start + CHUNK].reshape(-1, len(names))
        counts += [np.bincount(piece[:, channel], minlength=256) for channel in range(len(names))]
    value = np.arange(256)
    for name, count in zip(names, counts, strict=True):
        there, mean = np.flatnonzero(count), float(count @ value / count.sum())
        std = float(np.sqrt(count @ (value - mean) ** 2 / count.sum()))
        yield Feature(name, float(there[0]), float(there[-1]), mean, std, 0)


def _moments(rows: NDArray[Any], names: tuple[str, ...]) -> Iterator[Feature]:
    for name, column in zip(names, rows.reshape(len(rows), -1).T, strict=True):
        known = column[np.isfinite(column)].astype(np.float64)
        if len(known):
            yield Feature(name, known.min(), known.max(), known.mean(), known.std(), len(column) - len(known))
        else:
            yield Feature(name, np.nan, np.nan, np.nan, np.nan, len(column))


def _balance(dataset: Dataset, split: SplitResult) -> dict[str, dict[str, int]]:
    """Samples by class and part; the parts that are empty are left out."""
    if dataset.classes is None:
        return {}
    parts = [part for part in (Part.TRAINING, Part.VALIDATION, Part.TEST, Part.LEFT_OUT) if (split.part == part).any()]
    counts = [np.bincount(dataset.targets[split.part == part], minlength=len(dataset.classes)) for part in parts]
    return {
        name: {part.label: int(count[index]) for part, count in zip(parts, counts, strict=True)}
        for index, name in enumerate(dataset.classes)
    }


def _kind(pairs: NDArray[np.int64], dataset: Dataset, split: SplitResult) -> DuplicateKind:
    """Pairs across classes are named first: one of the two labels must be wrong."""
    across = np.zeros(len(pairs), dtype=bool)
    if dataset.is_classification:
        across = dataset.targets[pairs[:, 0]] != dataset.targets[pairs[:, 1]]
    first = pairs[np.argsort(~across, kind="stable")][:NAMED]
    return DuplicateKind(len(pairs), int(across.sum()), tuple(_pair(a, b, dataset, split) for a, b in first.tolist()))


def _pair(a: int, b: int, dataset: Dataset, split: SplitResult) -> Pair:
    classes = None
    if dataset.classes is not None:
        classes = dataset.classes[int(dataset.targets[a])], dataset.classes[int(dataset.targets[b])]
    parts = Part(int(split.part[a])).label, Part(int(split.part[b])).label
    return Pair(dataset.sample_name(a), dataset.sample_name(b), classes, parts)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):  # NumPy's too
        return float(value) if np.isfinite(value) else None
    return value
