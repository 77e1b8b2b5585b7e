"""NPZ archives: inputs and targets under their usual names, with or without given parts."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from markone.data.dataset import UNASSIGNED, Column, Dataset, Part
from markone.data.digest import content_digest
from markone.data.targets import Task, encode_targets
from markone.errors import DataError, did_you_mean

Array = NDArray[np.generic]

INPUTS = ("x", "images", "inputs", "data", "features", "imgs")
TARGETS = ("y", "labels", "targets", "target", "label")
PARTS: dict[str, int] = {"train": int(UNASSIGNED), "val": Part.VALIDATION, "valid": Part.VALIDATION, "test": Part.TEST}
CHANNELS = (1, 2, 3, 4)


def read_arrays(path: Path, *, inputs: str | None = None, targets: str | None = None, task: Task = "auto") -> Dataset:
    """Inputs (n, height, width), (n, height, width, channels), (n, channels, height, width), (n, columns) or (n,).

    inputs, targets: the arrays' names; without them the usual ones are looked for (x and y, images and labels, x_train and
    y_train with x_test and y_test, ...). Pictures that are not 8-bit are scaled to it, which a note tells. Raises DataError.
    """
    stored = _load(path)
    pairs = _named_pair(path, stored, inputs, targets) if inputs or targets else _find_pairs(path, stored)
    for x_name, y_name, _ in pairs:
        _refuse_unlike(path, x_name, y_name, stored)
    x = _join(path, [stored[name] for name, _, _ in pairs])
    y = _join(path, [stored[name] for _, name, _ in pairs])
    part = np.concatenate([np.full(len(stored[name]), part, np.int8) for name, _, part in pairs])
    features, notes, columns = _as_images(path, x) if x.ndim > 2 else _as_table(path, x)
    answers, classes = encode_targets(y, name=str(path), task=task)
    return Dataset(
        name=path.stem,
        inputs=features,
        targets=answers,
        classes=classes,
        target_names=_target_names(answers, pairs[0][1]),
        columns=columns,
        parts=part if (part != UNASSIGNED).any() else None,
        notes=notes,
        digest=content_digest(features, answers),
    )


def _load(path: Path) -> Mapping[str, Array]:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except ValueError as error:
        if "allow_pickle" in str(error) or "pickle" in str(error).lower():
            raise DataError(
                "npz-pickle",
                f"{path} holds Python objects, which are never opened: store plain numbers or text instead.",
            ) from None
        raise DataError("npz-damaged", f"{path} cannot be read as NPZ: {error}.") from None
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error, AttributeError) as error:
        raise DataError("npz-damaged", f"{path} cannot be read as NPZ: {error}.") from None
    if not arrays:
        raise DataError("npz-empty", f"{path} holds no arrays: store x (inputs) and y (targets) in it.")
    return arrays


Pair = tuple[str, str, int]


def _named_pair(path: Path, stored: Mapping[str, Array], inputs: str | None, targets: str | None) -> list[Pair]:
    names = []
    for given, usual, what in ((inputs, INPUTS, "inputs"), (targets, TARGETS, "targets")):
        name = given or _find(stored, usual)
        if name is None or name not in stored:
            near = did_you_mean(name or what, stored)
            raise DataError("npz-name", f"{path} has no array {name or what!r}.{near} It holds: {_held(stored)}.")
        names.append(name)
    return [(names[0], names[1], int(UNASSIGNED))]


def _find_pairs(path: Path, stored: Mapping[str, Array]) -> list[Pair]:
    """Plain names first; else those with train, val and test before or after."""
    if (x := _find(stored, INPUTS)) and (y := _find(stored, TARGETS)):
        return [(x, y, int(UNASSIGNED))]
    pairs = []
    for word, part in PARTS.items():
        x, y = (
            _find(stored, [form for name in names for form in (f"{name}_{word}", f"{word}_{name}", f"{name}{word}")])
            for names in (INPUTS, TARGETS)
        )
        if x and y:
            pairs.append((x, y, part))
    if not pairs or pairs[0][2] != UNASSIGNED:
        raise DataError(
            "npz-name",
            f"{path} has no inputs and targets under a usual name (x and y, images and labels, x_train and y_train, ...); "
            f"it holds {_held(stored)}: name them with data.inputs and data.targets.",
        )
    return pairs


def _find(stored: Mapping[str, Array], names: tuple[str, ...] | list[str]) -> str | None:
    by_lower = {name.lower(): name for name in reversed(list(stored))}
    return next((by_lower[name] for name in names if name in by_lower), None)


def _held(stored: Mapping[str, Array]) -> str:
    return ", ".join(f"{name} {array.shape}" for name, array in stored.items())


def _refuse_unlike(path: Path, x: str, y: str, stored: Mapping[str, Array]) -> None:
    inputs, targets = stored[x], stored[y]
    if not inputs.ndim or not targets.ndim or len(inputs) != len(targets):
        raise DataError(
            "npz-counts",
            f"in {path}, {x} has shape {inputs.shape} and {y} {targets.shape}: their first axes must agree.",
        )
    if not inputs.size:
        raise DataError("npz-empty", f"in {path}, {x} has shape {inputs.shape}: it holds no samples.")
    if inputs.dtype.kind not in "fiub":
        raise DataError("npz-type", f"in {path}, {x} is of type {inputs.dtype}: numbers are needed.")
    if targets.ndim > 2 or targets.dtype.kind not in "fiubUS":
        raise DataError(
            "npz-type",
            f"in {path}, {y} has type {targets.dtype} and shape {targets.shape}: one label or row per sample is needed.",
        )


def _join(path: Path, arrays: list[Array]) -> Array:
    try:
        return np.concatenate(arrays)
    except ValueError as error:
        raise DataError("npz-parts", f"the parts in {path} do not fit together: {error}.") from None


Features = tuple[NDArray[np.uint8] | NDArray[np.float32], tuple[str, ...], tuple[Column, ...]]


def _as_table(path: Path, x: Array) -> Features:
    table = np.ascontiguousarray(x.reshape(len(x), -1), dtype=np.float32)
    if np.isinf(table).any():
        raise DataError(
            "npz-infinite", f"the inputs in {path} hold infinity: replace it by NaN where a number is missing."
        )
    return table, (), tuple(Column(f"x{i}", "number") for i in range(table.shape[1]))


def _as_images(path: Path, x: Array) -> Features:
    """uint8 (n, height, width, channels)."""
    if x.ndim > 4:
        raise DataError("npz-shape", f"the inputs in {path} have shape {x.shape}: pictures have 3 or 4 axes.")
    notes: list[str] = []
    if x.ndim == 3:
        x = x[..., np.newaxis]
    elif x.shape[3] not in CHANNELS:
        if x.shape[1] not in CHANNELS:
            raise DataError(
                "npz-shape",
                f"the inputs in {path} have shape {x.shape}: neither the second nor the last axis is 1 to 4 channels.",
            )
        x = x.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(_bytes(path, x, notes)), tuple(notes), ()


def _bytes(path: Path, x: Array, notes: list[str]) -> NDArray[np.uint8]:
    if x.dtype == np.uint8:
        return x.astype(np.uint8, copy=False)
    low, high = float(x.min()), float(x.max())
    if not np.isfinite([low, high]).all():
        raise DataError("npz-not-finite", f"the pictures in {path} hold NaN or infinity: replace them.")
    whole = x.dtype.kind in "iub" or bool((x == np.rint(x)).all())
    if whole and low >= 0 and 1 < high <= 255:
        return x.astype(np.uint8)
    start, span = _range(low, high)
    notes.append(f"The pictures are stored as 8 bits: {x.dtype} values {start:g} to {start + span:g} became 0 to 255.")
    pixels: NDArray[np.uint8] = np.rint((x.astype(np.float32) - start) * (255 / span)).clip(0, 255).astype(np.uint8)
    return pixels


def _range(low: float, high: float) -> tuple[float, float]:
    """What 0 stands for, and how far 255 is from it: a usual range that holds the values, else their own."""
    for start, stop in ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (0.0, 65535.0)):
        if start <= low and high <= stop:
            return start, stop - start
    return low, max(high - low, 1e-12)


def _target_names(targets: Array, name: str) -> tuple[str, ...]:
    outputs = targets.shape[1] if targets.ndim == 2 else 1
    return (name,) if outputs == 1 else tuple(f"{name}{i}" for i in range(outputs))
