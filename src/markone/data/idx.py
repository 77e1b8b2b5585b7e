"""IDX, the format of MNIST and its relatives: a header of sizes, then the numbers; plain or gz."""

import gzip
import math
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from markone.data.dataset import UNASSIGNED, Dataset, Part
from markone.data.digest import content_digest
from markone.data.targets import class_indices
from markone.errors import DataError

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
GZIP = b"\x1f\x8b"
NAME = re.compile(r"(?P<stem>.*?)[-_.]?(?P<what>images|labels)[-_.]?idx\d[-_.]?u?byte(?:\.gz)?", re.IGNORECASE)


def read_idx(path: Path) -> NDArray[np.generic]:
    """The array of one IDX file: two zero bytes, the type, the number of axes, each axis' length, the numbers (big-endian).

    Raises DataError for a file that is damaged or something else.
    """
    try:
        raw = path.read_bytes()
        data = gzip.decompress(raw) if raw.startswith(GZIP) else raw
    except (OSError, EOFError, zlib.error) as error:
        raise DataError("idx-unreadable", f"cannot read {path}: {error}.") from None
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in TYPES:
        raise DataError("idx-not-idx", f"{path} is no IDX file: it begins with {data[:4].hex(' ') or 'nothing'}.")
    kind, axes = np.dtype(TYPES[data[2]]), data[3]
    shape = tuple(int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(axes))
    wanted, have = math.prod(shape) * kind.itemsize, len(data) - 4 - 4 * axes
    if wanted != have:
        raise DataError(
            "idx-length", f"{path} should hold {wanted:,} bytes of numbers and holds {have:,}: get it again."
        )
    return np.frombuffer(data, dtype=kind, offset=4 + 4 * axes).reshape(shape)


@dataclass(frozen=True)
class Pair:
    """An images file and its labels file."""

    images: Path
    labels: Path
    part: int


def read_idx_dataset(path: Path) -> Dataset:
    """A folder of IDX files, or one images or labels file with its partner beside it.

    Files named ``test`` or ``t10k`` are the test part; the others are split. Raises DataError.
    """
    pairs = find_pairs(path)
    loaded = [_read_pair(pair) for pair in pairs]
    if len({images.shape[1:] for images, _ in loaded}) > 1:
        raise DataError(
            "idx-sizes", f"the pictures in {path} differ in size from file to file: give the path of one file."
        )
    inputs = np.concatenate([images for images, _ in loaded])
    targets, classes = class_indices(np.concatenate([labels for _, labels in loaded]), name=str(path))
    parts = np.concatenate(
        [np.full(len(labels), pair.part, np.int8) for pair, (_, labels) in zip(pairs, loaded, strict=True)]
    )
    return Dataset(
        name=path.name if path.is_dir() else path.parent.name,
        inputs=inputs,
        targets=targets,
        classes=classes,
        parts=parts if (parts != UNASSIGNED).any() and (parts == UNASSIGNED).any() else None,
        digest=content_digest(inputs, targets),
    )


def find_pairs(path: Path) -> list[Pair]:
    """The images files, each with its labels file; training before test. Raises DataError."""
    folder = path if path.is_dir() else path.parent
    found: dict[tuple[str, str], Path] = {}
    for file in sorted(folder.iterdir(), reverse=True):  # plain comes after .gz and wins
        if (match := NAME.fullmatch(file.name)) and file.is_file():
            found[match["stem"].lower(), match["what"].lower()] = file
    stems = sorted({stem for stem, _ in found})
    if not path.is_dir():
        match = NAME.fullmatch(path.name)
        stems = [match["stem"].lower()] if match else []
    if not stems:
        raise DataError("idx-absent", f"there are no IDX files such as train-images-idx3-ubyte(.gz) in {folder}.")
    for stem in stems:
        for what in ("images", "labels"):
            if (stem, what) not in found:
                raise DataError(
                    "idx-half", f"{folder} has no {what} file for {stem or 'its IDX file'!r}: both are needed."
                )
    pairs = [Pair(found[stem, "images"], found[stem, "labels"], _part(stem)) for stem in stems]
    for part in {pair.part for pair in pairs}:
        same = [pair.images.name for pair in pairs if pair.part == part]
        if len(same) > 1:
            raise DataError(
                "idx-several", f"{folder} holds several sets ({', '.join(same)}): give the path of one file."
            )
    return sorted(pairs, key=lambda pair: pair.part)


def is_idx(path: Path) -> bool:
    """Whether the file, or a file in the folder, is named like an IDX file."""
    names = [file.name for file in path.iterdir()] if path.is_dir() else [path.name]
    return any(NAME.fullmatch(name) for name in names)


def _part(stem: str) -> int:
    return int(Part.TEST) if re.search(r"test|t10k", stem) else int(UNASSIGNED)


def _read_pair(pair: Pair) -> tuple[NDArray[np.uint8], NDArray[np.generic]]:
    images, labels = read_idx(pair.images), read_idx(pair.labels)
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or 0 in images.shape:
        raise DataError(
            "idx-images", f"{pair.images} holds {images.dtype} of shape {images.shape}, not 8-bit pictures."
        )
    if labels.shape != images.shape[:1]:
        raise DataError(
            "idx-counts", f"{pair.images} has {len(images):,} pictures but {pair.labels.name} {len(labels):,} labels."
        )
    pictures: NDArray[np.uint8] = images.reshape(*images.shape[:3], -1).astype(np.uint8, copy=False)
    return pictures, labels
