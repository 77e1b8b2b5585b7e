"""Store: pictures decoded once, as raw bytes in one file beside an index, in the cache folder.

    <cache>/stores/<key>/pixels.raw  index.json     key: what the pictures are made from and how
    <cache>/fingerprints/<fingerprint>              holds the key: what a folder looked like when it was packed

A store is written aside, in a folder that begins with a dot, and renamed: it is there whole, or not at all. Two processes
that write the same store write the same bytes; the first one in stays.
"""

import json
import os
import shutil
import time
import uuid
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from markone.errors import DataError

VERSION = 2  # raised when the layout or the decoding changes, so that older stores are not taken for ours
BLOCK = 1 << 20
CHECKED = 64 * BLOCK  # a store up to this size is checked whole at every start, a larger one at blocks spread over it
STALE_SECONDS = 24 * 3600  # after which what a killed process left aside is removed


@dataclass(frozen=True, eq=False)
class StoredPictures:
    """pixels: uint8 (n, height, width, channels), memory-mapped, read-only; index: what else was kept."""

    key: str
    pixels: NDArray[np.uint8]
    index: dict[str, Any]


def cache_folder() -> Path:
    """$MARKONE_CACHE, else $XDG_CACHE_HOME/markone, else ~/.cache/markone."""
    if own := os.environ.get("MARKONE_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "markone"


def find_store(fingerprint: str) -> StoredPictures | None:
    """The store packed from what has this fingerprint."""
    try:
        return open_store((cache_folder() / "fingerprints" / fingerprint).read_text())
    except OSError:
        return None


def remember(fingerprint: str, key: str) -> None:
    """From now on ``find_store(fingerprint)`` gives the store ``key``."""
    folder = cache_folder() / "fingerprints"
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f".{uuid.uuid4().hex}"
    aside.write_text(key)
    aside.replace(folder / fingerprint)


def open_store(key: str) -> StoredPictures | None:
    """The store, or None where there is none or it is damaged."""
    folder = cache_folder() / "stores" / key
    try:
        index = json.loads((folder / "index.json").read_text())
        if index["version"] != VERSION or index["checksum"] != _checksum(folder / "pixels.raw", index["shape"]):
            return None
        pixels = np.memmap(folder / "pixels.raw", dtype=np.uint8, mode="r", shape=tuple(index["shape"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return StoredPictures(key, pixels, index)


class StoreWriter:
    """Rows of pictures, filled in any order by any thread; then ``finish`` puts the store in its place."""

    def __init__(self, shape: tuple[int, int, int, int]) -> None:
        """Raises DataError where the cache folder cannot hold the pictures."""
        stores = cache_folder() / "stores"
        self._folder = stores / f".{uuid.uuid4().hex}"
        try:
            stores.mkdir(parents=True, exist_ok=True)
            _sweep(stores)
            self._folder.mkdir()
            _reserve(self._folder / "pixels.raw", int(np.prod(shape)))
        except OSError as error:
            self.discard()
            raise DataError(
                "data-cache",
                f"the cache folder {cache_folder()} cannot take {np.prod(shape) / 2**20:,.0f} MiB of pictures "
                f"({error.strerror}): make room, or set MARKONE_CACHE to another folder.",
            ) from None
        self.rows = np.memmap(self._folder / "pixels.raw", dtype=np.uint8, mode="r+", shape=shape)

    def discard(self) -> None:
        """Remove what was written."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def finish(self, key: str, *, keep: NDArray[np.int64], grey: bool, index: dict[str, Any]) -> StoredPictures:
        """Keep these rows, in this order, which rises; with ``grey`` only the first channel. Gives the store, reopened."""
        shape = (len(keep), *self.rows.shape[1:3], 1 if grey else self.rows.shape[3])
        _compact(self.rows, keep, shape)
        del self.rows
        file = self._folder / "pixels.raw"
        os.truncate(file, int(np.prod(shape)))
        whole = {"version": VERSION, "shape": shape, "checksum": _checksum(file, shape), **index}
        (self._folder / "index.json").write_text(json.dumps(whole))
        self._put(key)  # not forced to the disk: after a power cut the checksum tells, and it is packed again
        store = open_store(key)
        if store is None:
            raise DataError(
                "data-cache", f"the store {key} in {cache_folder()} was damaged while it was written: try again."
            )
        return store

    def _put(self, key: str) -> None:
        place = self._folder.parent / key
        for _ in range(2):
            try:
                self._folder.rename(place)
                return
            except OSError:  # there is one: another process was first, or it is damaged
                if open_store(key) is not None:
                    break
                shutil.rmtree(place, ignore_errors=True)
        self.discard()


def _compact(rows: NDArray[np.uint8], keep: NDArray[np.int64], shape: tuple[int, ...]) -> None:
    """Move the kept rows to the front, in place: a row never moves backwards, so none is overwritten before it is read."""
    if shape == rows.shape:
        return
    flat, step, size = rows.reshape(-1), 256, int(np.prod(shape[1:]))
    for start in range(0, len(keep), step):
        block = rows[keep[start : start + step], :, :, : shape[3]].reshape(-1)  # a copy, taken before the write
        flat[start * size : start * size + len(block)] = block


def _reserve(file: Path, size: int) -> None:
    """Allocate for real: a memory map of a sparse file on a full disk would kill the process."""
    with file.open("wb") as handle:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(handle.fileno(), 0, max(size, 1))
        else:
            handle.truncate(size)


def _checksum(file: Path, shape: tuple[int, ...]) -> int:
    """CRC-32 over the file, or over 64 MiB in blocks spread evenly; raises ValueError where its length is not the shape's."""
    size = file.stat().st_size
    if size != int(np.prod(shape)):
        raise ValueError(f"{size} bytes for {shape}")
    stride = max(BLOCK, size // (CHECKED // BLOCK))
    total = 0
    with file.open("rb") as handle:
        for start in range(0, size, stride):
            handle.seek(start)
            total = zlib.crc32(handle.read(BLOCK), total)
    return total


def _sweep(stores: Path) -> None:
    """Remove what killed processes left aside, a day ago or more."""
    for folder in stores.glob(".*"):
        with suppress(FileNotFoundError):  # the process that writes it has just put it in its place
            if time.time() - folder.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
