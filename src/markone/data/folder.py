"""Class folders: ``root/class/.../picture``, or ``root/train|validation|test/class/.../picture``."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from markone.data.dataset import Dataset, Part, SetAside
from markone.data.decode import Fit
from markone.data.pack import File, Packed, pack
from markone.data.progress import Progress
from markone.errors import DataError

PART_NAMES = {
    "train": Part.TRAINING,
    "training": Part.TRAINING,
    "val": Part.VALIDATION,
    "valid": Part.VALIDATION,
    "validation": Part.VALIDATION,
    "test": Part.TEST,
    "testing": Part.TEST,
}
CLUTTER = {"__macosx", "thumbs.db", "desktop.ini"}  # what other systems leave behind
SIDED = {"left", "right"}


@dataclass(frozen=True)
class Place:
    """A file and what its path says: its class, its part, and the sub-folder of the class that it lies in."""

    file: File
    label: str
    part: Part | None
    inside: str | None


@dataclass(frozen=True)
class Tree:
    """What a root folder holds: files to try, in order of class and path; classes by name; what is no part of it."""

    places: tuple[Place, ...]
    classes: tuple[str, ...]
    set_aside: tuple[SetAside, ...]


def read_folder(
    root: Path,
    *,
    size: int | None = None,
    fit: Fit = "crop",
    group: Literal["folder"] | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """The pictures below ``root`` as uint8 (n, size, size, channels), one channel where all are grey.

    A class is a sub-folder; pictures in folders below it are its own too, and with ``group="folder"`` such a folder is a group
    (the same name in two classes is one group). Folders train, validation (val, valid) and test are kept as parts. What cannot
    be read is in ``set_aside``, what was read in spite of something in ``odd``, each with its reason. Raises DataError.
    """
    tree = scan(root)
    packed = pack(root, [place.file for place in tree.places], size=size, fit=fit, progress=progress)
    kept = [tree.places[i] for i in packed.kept]
    _refuse_empty_classes(root, tree, kept, packed)
    index = {name: i for i, name in enumerate(tree.classes)}
    parts = [place.part for place in kept]
    return Dataset(
        name=root.absolute().name,
        inputs=packed.pixels,
        targets=np.array([index[place.label] for place in kept], dtype=np.int64),
        classes=tuple(map(_printable, tree.classes)),
        parts=np.array(parts, dtype=np.int8) if None not in parts else None,
        groups=_groups(kept) if group else None,
        names=tuple(_printable(place.file.path) for place in kept),
        set_aside=tuple(SetAside(_printable(s.path), s.reason) for s in (*tree.set_aside, *packed.set_aside)),
        odd=tuple(SetAside(_printable(s.path), s.reason) for s in packed.odd),
        notes=_notes(tree, kept),
        mirrored=_mirror_keeps_class(tree.classes, packed),
        digest=packed.key[:12],
    )


def scan(root: Path) -> Tree:
    """List the files without opening one. Raises DataError for fewer than two class folders, or no files."""
    set_aside: list[SetAside] = []
    tops, strays = _list(root, root, set_aside)
    parts = _part_folders(tops)
    if parts:
        set_aside += [SetAside(f"{top.name}/", "is not train, validation or test") for top in tops if top not in parts]
    labelled: list[tuple[Path, Part | None]] = [] if parts else [(top, None) for top in tops]
    for top, part in parts.items():
        folders, files = _list(root, top, set_aside)
        labelled += [(folder, part) for folder in folders]
        strays += files
    places = [
        Place(file, folder.name, part, _sub_folder(file, depth=1 + (part is not None)))
        for folder, part in labelled
        for file in _walk(root, folder, set_aside, frozenset())
    ]
    classes = _in_order({folder.name for folder, _ in labelled})
    if len(classes) < 2 or not places:
        raise _too_few(root, [folder for folder, _ in labelled], strays)
    set_aside += [SetAside(file.path, "lies outside every class folder") for file in strays]
    order = {name: i for i, name in enumerate(classes)}
    places.sort(key=lambda place: (place.part or 0, order[place.label], place.file.path))
    return Tree(tuple(places), classes, tuple(set_aside))


def _list(root: Path, folder: Path, set_aside: list[SetAside]) -> tuple[list[Path], list[File]]:
    """Sub-folders and files, by name; what is hidden, broken or cannot be listed is set aside."""
    folders, files = list[Path](), list[File]()
    above = f"{folder.relative_to(root)}/" if folder != root else ""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        set_aside.append(SetAside(above, f"cannot be listed: {error.strerror}"))
        return folders, files
    for entry in entries:
        path = above + entry.name  # a string: pathlib would take half as long as the decoding of a small picture
        try:
            is_folder, stat = entry.is_dir(), entry.stat()
        except OSError as error:
            reason = "is a broken link" if entry.is_symlink() else f"cannot be read: {error.strerror}"
            set_aside.append(SetAside(path, reason))
            continue
        if entry.name.startswith(".") or entry.name.lower() in CLUTTER:
            set_aside.append(SetAside(f"{path}/" if is_folder else path, "is hidden"))
        elif is_folder:
            folders.append(Path(entry.path))
        elif entry.is_file():
            files.append(File(path, stat.st_size, stat.st_mtime_ns))
        else:
            set_aside.append(SetAside(path, "is not a file"))
    return folders, files


def _walk(root: Path, folder: Path, set_aside: list[SetAside], above: frozenset[Path]) -> Iterator[File]:
    """All files below, links followed, but never in a circle."""
    real = folder.resolve()
    if real in above:
        set_aside.append(SetAside(f"{folder.relative_to(root)}/", "is a link to a folder above it"))
        return
    folders, files = _list(root, folder, set_aside)
    yield from files
    for inner in folders:
        yield from _walk(root, inner, set_aside, above | {real})


def _part_folders(tops: Sequence[Path]) -> dict[Path, Part]:
    """The folders that are parts: where there is a training folder and another part, unless they look like classes."""
    parts = {top: PART_NAMES[top.name.lower()] for top in tops if top.name.lower() in PART_NAMES}
    training = [top for top, part in parts.items() if part is Part.TRAINING]
    if not training or len(set(parts.values())) < 2:
        return {}
    nested = any(inner.is_dir() for top in training for inner in top.iterdir())
    return parts if nested or len(parts) == len(tops) else {}


def _sub_folder(file: File, depth: int) -> str | None:
    """The folder below the class folder, which lies ``depth`` folders below the root."""
    parts = file.path.split("/")
    return parts[depth] if len(parts) > depth + 1 else None


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
    """By name; numbers by value."""
    return tuple(sorted(names, key=lambda name: (0, int(name), name) if name.isdecimal() else (1, 0, name)))


def _groups(places: Sequence[Place]) -> NDArray[np.int64]:
    """A number per sub-folder name; a picture outside every sub-folder is a group of its own."""
    keys = [place.inside or f"/{place.file.path}" for place in places]
    return np.unique(keys, return_inverse=True)[1].astype(np.int64)


def _refuse_empty_classes(root: Path, tree: Tree, kept: Sequence[Place], packed: Packed) -> None:
    """Every class needs a picture that can be read, in the training part where there are parts."""
    reasons = [f"{bad.path}, which {bad.reason}" for bad in packed.set_aside]
    if not kept:
        raise DataError(
            "data-no-images",
            f"none of the {len(reasons):,} files in the class folders of {root} is a picture, such as {reasons[0]}.",
        )
    there = {place.label for place in kept if place.part in (None, Part.TRAINING)}
    for name in (name for name in tree.classes if name not in there):
        own = [bad for bad in packed.set_aside if name in Path(bad.path).parts[:-1]]
        why = (
            f"{len(own)} files were set aside, such as {own[0].path}, which {own[0].reason}" if own else "there is none"
        )
        where = " in the training part" if any(place.part is not None for place in kept) else ""
        raise DataError(
            "data-class-empty",
            f"the class {_printable(name)} of {root} has no picture to train on{where} ({why}): "
            "add pictures, or remove its folder.",
        )


def _too_few(root: Path, folders: Sequence[Path], strays: Sequence[File]) -> DataError:
    if folders and len({folder.name for folder in folders}) > 1:
        return DataError(
            "data-no-images", f"there are no files in the class folders of {root}: put pictures into them."
        )
    if folders:
        inner = [entry for entry in folders[0].iterdir() if entry.is_dir()]
        hint = f" Did you mean {folders[0]}?" if len(inner) > 1 else ""
        return DataError(
            "data-one-class",
            f"{root} has one class folder only, {folders[0].name}: each class needs a folder, and two are the least.{hint}",
        )
    if strays:
        return DataError(
            "data-no-classes",
            f"{root} holds {len(strays):,} files and no class folders: put the pictures of each class into a folder "
            "that is named after it.",
        )
    return DataError("data-empty", f"{root} is empty: it should hold one folder of pictures for each class.")


def _notes(tree: Tree, kept: Sequence[Place]) -> tuple[str, ...]:
    count = Counter(place.label for place in kept)
    alone = [_printable(name) for name in tree.classes if count[name] == 1]
    given = {place.part for place in kept if place.part is not None}
    absent = [
        f"The class {_printable(name)} has no picture in {part.label}."
        for part in sorted(given)
        for name in tree.classes
        if not any(place.label == name and place.part is part for place in kept)
    ]
    return (*(f"The class {name} has one picture only: it cannot be in all three parts." for name in alone), *absent)


def _mirror_keeps_class(classes: Sequence[str], packed: Packed) -> bool:
    """Photos may be mirrored; grey scans (digits, letters), single characters and what is named left or right may not."""
    words = {word for name in classes for word in re.split(r"[\W_]+", name.lower())}
    return packed.pixels.shape[3] == 3 and not words & SIDED and any(len(name) > 1 for name in classes)


def _printable(name: str) -> str:
    """File names need not be valid text; messages must be."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
