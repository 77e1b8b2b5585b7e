"""Pack: decode every picture once, in parallel, into one memory-mapped store; a bad file is listed, never fatal."""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from markone.data.dataset import SetAside
from markone.data.decode import HEAD, Fit, Unusable, decode, picture_size, quiet_pillow, sniff
from markone.data.progress import Progress
from markone.data.store import VERSION, StoredPictures, StoreWriter, find_store, remember

T = TypeVar("T")

TASK = 16  # pictures that a thread decodes at a time: a future costs about 50 microseconds, a small picture 500
PROBED = 256  # pictures, spread evenly, whose sizes decide the size of all
LARGE, SMALL = 64, 32  # what photos, and small pictures, are scaled to
SMALL_SIDE = 48  # median shorter side under which pictures are small: less than halfway between the two


@dataclass(frozen=True)
class File:
    """A file below a root: its path there, its size and when it was last changed."""

    path: str
    bytes: int
    mtime_ns: int


@dataclass(frozen=True, eq=False)
class Packed:
    """pixels: uint8 (n, size, size, channels); kept: which of the files they are, int64 (n,), rising."""

    pixels: NDArray[np.uint8]
    kept: NDArray[np.int64]
    set_aside: tuple[SetAside, ...]
    odd: tuple[SetAside, ...]
    key: str


@dataclass(frozen=True)
class _Outcome:
    sha256: str
    grey: bool = True
    reason: str | None = None
    oddities: tuple[str, ...] = ()


def pack(root: Path, files: Sequence[File], *, size: int | None, fit: Fit, progress: Progress | None = None) -> Packed:
    """The pictures, from the store where there is one, else decoded into it.

    size: None takes it from the data: the common size where it is at most 64, else 64, or 32 for small pictures. Where none
    of the files is a picture, ``pixels`` has no rows.
    """
    listing = "\n".join(f"{file.path}\t{file.bytes}\t{file.mtime_ns}" for file in files)

    def fingerprint(size: int | None) -> str:
        return _sha256(f"{VERSION}:{size}:{fit}\n{root.absolute()}\n{listing}")

    if (store := find_store(fingerprint(size))) is not None:
        return _packed(store)
    with quiet_pillow():
        chosen = size or choose_size(root, files)
        packed = _decode_all(root, files, chosen, fit, progress)
    if len(packed.kept):
        for asked in {size, chosen}:  # the recipe that is kept names the size that was chosen
            remember(fingerprint(asked), packed.key)
    return packed


def choose_size(root: Path, files: Sequence[File]) -> int:
    """The common size where it is at most 64; else 64, or 32 where the median shorter side is under 48."""
    step = max(len(files) // PROBED, 1)
    sizes = [found for file in files[::step] if (found := picture_size(root / file.path))]
    if not sizes:
        return LARGE
    if len(set(sizes)) == 1 and max(sizes[0]) <= LARGE:
        return min(sizes[0])
    return SMALL if median(min(found) for found in sizes) < SMALL_SIDE else LARGE


def decode_for(source: object, paths: Sequence[Path], *, input_shape: tuple[int, ...]) -> list[NDArray[np.uint8] | str]:
    """New pictures as a net was trained on them, each uint8 (height, width, channels), or the reason why there is none.

    source: the training's data source, whose ``fit`` is used where it has one; input_shape: (channels, height, width).
    """
    channels, height, width = input_shape
    fit: Fit = getattr(source, "fit", "crop")
    found = list[NDArray[np.uint8] | str]()
    with quiet_pillow():
        for path in paths:
            try:
                decoded = decode(_read(path), size=(width, height), fit=fit, extension=path.suffix)
            except Unusable as error:
                found.append(str(error))
                continue
            found.append(decoded.pixels if channels == 3 else _grey(decoded.pixels))
    return found


def _grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(height, width, 1), by the luma of ITU-R BT.601; pixels that are grey already keep their value."""
    luma = pixels @ np.array([0.299, 0.587, 0.114])
    grey: NDArray[np.uint8] = np.rint(luma)[:, :, np.newaxis].astype(np.uint8)
    return grey


def workers() -> int:
    """Threads that decode: one per core that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_parallel(work: Callable[[range], T], count: int, *, progress: Progress | None, what: str) -> list[T]:
    """``work`` on all of range(count), a few at a time, by threads; the results in order."""
    ranges = [range(start, min(start + TASK, count)) for start in range(0, count, TASK)]
    results = []
    with ThreadPoolExecutor(workers(), thread_name_prefix="decode") as pool:
        try:
            for span, result in zip(ranges, pool.map(work, ranges), strict=True):
                results.append(result)
                if progress:
                    progress(span.stop, count, what)
        except BaseException:  # Ctrl-C too: do not decode the rest first
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return results


def _decode_all(root: Path, files: Sequence[File], size: int, fit: Fit, progress: Progress | None) -> Packed:
    writer = StoreWriter((len(files), size, size, 3))
    try:

        def work(span: range) -> list[_Outcome]:
            return [_decode_into(writer.rows[i], root / files[i].path, size, fit) for i in span]

        parts = in_parallel(work, len(files), progress=progress, what="decoding pictures")
        outcomes = [outcome for part in parts for outcome in part]
        index = _index(files, outcomes)
        kept = np.array(index["kept"], dtype=np.int64)
        key = _sha256(
            "\n".join(
                [f"{VERSION}:{size}:{fit}", *(f"{f.path}\t{o.sha256}" for f, o in zip(files, outcomes, strict=True))]
            )
        )
        if not len(kept):
            return _packed(StoredPictures(key, np.empty((0, size, size, 3), np.uint8), index))
        grey = all(outcomes[i].grey for i in index["kept"])
        return _packed(writer.finish(key[:32], keep=kept, grey=grey, index=index))
    finally:
        writer.discard()


def _index(files: Sequence[File], outcomes: Sequence[_Outcome]) -> dict[str, Any]:
    pairs = list(zip(files, outcomes, strict=True))
    return {
        "kept": [i for i, outcome in enumerate(outcomes) if outcome.reason is None],
        "set_aside": [(file.path, outcome.reason) for file, outcome in pairs if outcome.reason],
        "odd": [(file.path, oddity) for file, outcome in pairs for oddity in outcome.oddities],
    }


def _read(path: Path) -> bytes:
    """The file's bytes, or only the first of them where they announce no picture. Raises Unusable."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
            return head + file.read() if sniff(head) else head
    except OSError as error:
        raise Unusable(f"cannot be read: {error.strerror}") from None


def _decode_into(row: NDArray[np.uint8], path: Path, size: int, fit: Fit) -> _Outcome:
    sha256 = ""
    try:
        data = _read(path)
        sha256 = hashlib.sha256(data).hexdigest()
        decoded = decode(data, size=(size, size), fit=fit, extension=path.suffix)
    except Unusable as error:
        return _Outcome(sha256, reason=str(error))
    row[...] = decoded.pixels
    return _Outcome(sha256, grey=decoded.grey, oddities=decoded.oddities)


def _packed(store: StoredPictures) -> Packed:
    return Packed(
        pixels=store.pixels,
        kept=np.array(store.index["kept"], dtype=np.int64),
        set_aside=tuple(SetAside(path, reason) for path, reason in store.index["set_aside"]),
        odd=tuple(SetAside(path, reason) for path, reason in store.index["odd"]),
        key=store.key,
    )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
