"""NPZ archives: inputs, targets and masks under their usual names, with or without given parts."""

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from markone.data.dataset import UNASSIGNED, Column, Dataset, Part
from markone.data.digest import content_digest
from markone.data.targets import Task, encode_targets
from markone.errors import DataError, did_you_mean

Array = NDArray[np.generic]

INPUTS = ("x", "images", "inputs", "data", "features", "imgs")
TARGETS = ("y", "labels", "targets", "target", "label")
MASKS = ("masks", "mask")
MASK_CLASSES = "mask_classes"
SHARE = "share of pixels that are not 0"
PARTS: dict[str, int] = {"train": int(UNASSIGNED), "val": Part.VALIDATION, "valid": Part.VALIDATION, "test": Part.TEST}
CHANNELS = (1, 2, 3, 4)


def read_arrays(path: Path, *, inputs: str | None = None, targets: str | None = None, task: Task = "auto") -> Dataset:
    """Inputs (n, height, width), (n, height, width, channels), (n, channels, height, width), (n, columns) or (n,).

    inputs, targets: the arrays' names; without them the usual ones are looked for (x and y, images and labels, x_train and
    y_train with x_test and y_test, ...). Pictures that are not 8-bit are scaled to it, which a note tells.

    Whole numbers 0 to 255 named masks or mask (masks_train, ...), (n, height, width), are the class of every pixel, 255 none;
    mask_classes, text (k,), names them from 0 on. Where there are masks and no targets, the target is the share of a
    picture that is not 0, and splits are stratified by it. Raises DataError.
    """
    stored = _load(path)
    pairs = _named_pair(path, stored, inputs, targets) if inputs or targets else _find_pairs(path, stored)
    for pair in pairs:
        _refuse_unlike(path, pair, stored)
    x = _join(path, [stored[pair.inputs] for pair in pairs])
    part = np.concatenate([np.full(len(stored[pair.inputs]), pair.part, np.int8) for pair in pairs])
    features, notes, columns = _as_images(path, x) if x.ndim > 2 else _as_table(path, x)
    masks = _masks(path, stored, pairs, features)
    if all(pair.targets for pair in pairs):
        y = _join(path, [stored[pair.targets] for pair in pairs if pair.targets])
        answers, classes = encode_targets(y, name=str(path), task=task)
        names = _target_names(answers, pairs[0].targets or "")
    else:
        answers, classes, names = (masks > 0).mean(axis=(1, 2), dtype=np.float32)[:, np.newaxis], None, (SHARE,)
    return Dataset(
        name=path.stem,
        inputs=features,
        targets=answers,
        classes=classes,
        target_names=names,
        columns=columns,
        parts=part if (part != UNASSIGNED).any() else None,
        notes=notes,
        extras={"mask": masks} if masks.size else {},
        mask_classes=_mask_classes(path, stored) if masks.size else None,
        digest=content_digest(features, answers, *([masks] if masks.size else [])),
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


class Pair(NamedTuple):
    """The names of arrays that go together; targets or masks may be absent, not both."""

    inputs: str
    targets: str | None
    masks: str | None
    part: int


def _named_pair(path: Path, stored: Mapping[str, Array], inputs: str | None, targets: str | None) -> list[Pair]:
    names, masks = list[str | None](), _find(stored, MASKS)
    for given, usual, what in ((inputs, INPUTS, "inputs"), (targets, TARGETS, "targets")):
        name = given or _find(stored, usual)
        if (name is None and not (masks and what == "targets")) or (name is not None and name not in stored):
            near = did_you_mean(name or what, stored)
            raise DataError("npz-name", f"{path} has no array {name or what!r}.{near} It holds: {_held(stored)}.")
        names.append(name)
    return [Pair(names[0] or "", names[1], masks, int(UNASSIGNED))]


def _find_pairs(path: Path, stored: Mapping[str, Array]) -> list[Pair]:
    """Plain names first; else those with train, val and test before or after."""
    if plain := _find_pair(stored, None, int(UNASSIGNED)):
        return [plain]
    pairs = [pair for word, part in PARTS.items() if (pair := _find_pair(stored, word, part))]
    if not pairs or pairs[0].part != UNASSIGNED:
        raise DataError(
            "npz-name",
            f"{path} has no inputs and targets under a usual name (x and y, images and labels or masks, x_train and y_train,"
            f" ...); it holds {_held(stored)}: name them with data.inputs and data.targets.",
        )
    return pairs


def _find_pair(stored: Mapping[str, Array], word: str | None, part: int) -> Pair | None:
    def find(names: tuple[str, ...]) -> str | None:
        forms = [f for name in names for f in (f"{name}_{word}", f"{word}_{name}", f"{name}{word}")] if word else names
        return _find(stored, forms)

    inputs, targets, masks = find(INPUTS), find(TARGETS), find(MASKS)
    return Pair(inputs, targets, masks, part) if inputs and (targets or masks) else None


def _find(stored: Mapping[str, Array], names: Sequence[str]) -> str | None:
    by_lower = {name.lower(): name for name in reversed(list(stored))}
    return next((by_lower[name] for name in names if name in by_lower), None)


def _held(stored: Mapping[str, Array]) -> str:
    return ", ".join(f"{name} {array.shape}" for name, array in stored.items())


def _refuse_unlike(path: Path, pair: Pair, stored: Mapping[str, Array]) -> None:
    x, y = pair.inputs, pair.targets or pair.masks or ""
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
    if pair.targets and (targets.ndim > 2 or targets.dtype.kind not in "fiubUS"):
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


def _masks(
    path: Path, stored: Mapping[str, Array], pairs: list[Pair], features: NDArray[np.generic]
) -> NDArray[np.uint8]:
    """uint8 (n, height, width); empty where there are none, or where labels are for a table and masks are something else."""
    found = [stored[pair.masks] for pair in pairs if pair.masks]
    if not found or (features.ndim < 4 and all(pair.targets for pair in pairs)):
        return np.empty(0, np.uint8)
    if len(found) < len(pairs):
        raise DataError(
            "npz-masks", f"in {path}, some of the parts have masks and others none: give all of them masks."
        )
    masks = _join(path, found)
    if features.ndim < 4 or masks.shape != features.shape[:3]:
        wanted = f"must be {features.shape[:3]}, as its pictures" if features.ndim == 4 else "are for pictures"
        raise DataError(
            "npz-masks",
            f"the masks in {path} have shape {masks.shape}; they {wanted}, whose inputs are {features.shape}.",
        )
    if masks.dtype.kind not in "iub" or masks.min() < 0 or masks.max() > 255:
        values = (
            f"values {masks.min()} to {masks.max()} of type {masks.dtype}"
            if masks.dtype.kind in "iubf"
            else masks.dtype
        )
        raise DataError(
            "npz-masks", f"the masks in {path} hold {values}; whole numbers 0 to 255 are needed, one a class."
        )
    return masks.astype(np.uint8)


def _mask_classes(path: Path, stored: Mapping[str, Array]) -> tuple[str, ...] | None:
    names = stored.get(MASK_CLASSES)
    if names is None:
        return None
    if names.ndim != 1 or names.dtype.kind != "U" or len(set(names.tolist())) < len(names):
        raise DataError(
            "npz-masks",
            f"in {path}, {MASK_CLASSES} has type {names.dtype} and shape {names.shape}: a list of different names is needed.",
        )
    return tuple(map(str, names.tolist()))


def _target_names(targets: Array, name: str) -> tuple[str, ...]:
    outputs = targets.shape[1] if targets.ndim == 2 else 1
    return (name,) if outputs == 1 else tuple(f"{name}{i}" for i in range(outputs))
