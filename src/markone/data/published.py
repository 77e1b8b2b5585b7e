"""Well-known picture sets, by name, from files on this machine: MNIST, Fashion-MNIST, CIFAR-10."""

import hashlib
import io
import itertools
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from markone.data.dataset import UNASSIGNED, Dataset, Part
from markone.data.digest import content_digest
from markone.data.idx import is_idx, read_idx_dataset
from markone.data.pack import in_parallel
from markone.data.progress import Progress
from markone.data.store import StoreWriter, open_store
from markone.errors import DataError

FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

INSIDE = {  # where other libraries put the files below a data folder
    "mnist": ("", "raw", "MNIST/raw"),
    "fashion-mnist": ("", "raw", "FashionMNIST/raw"),
    "cifar10": ("", "cifar-10-batches-bin"),
}
NEEDED = {
    "mnist": "train-images-idx3-ubyte, train-labels-idx1-ubyte and the two t10k files (plain or .gz)",
    "fashion-mnist": "train-images-idx3-ubyte, train-labels-idx1-ubyte and the two t10k files (plain or .gz)",
    "cifar10": "data_batch_1.bin to data_batch_5.bin and test_batch.bin (the binary version), or cifar10_jpeg.npz",
}
RECORD = 1 + 3 * 32 * 32  # CIFAR-10 binary: a label byte, then red, green and blue planes
JPEG_NPZ = "cifar10_jpeg.npz"


def read_published(name: str, *, folder: str | None, progress: Progress | None = None) -> Dataset:
    """The set ``name``; its official test file is the test part. Raises DataError that says where it was looked for."""
    place = find_folder(name, folder)
    if name == "cifar10":
        return _read_cifar10(place, progress)
    dataset = replace(read_idx_dataset(place), name=name)
    if name == "fashion-mnist" and dataset.classes == tuple("0123456789"):
        return replace(dataset, classes=FASHION, mirrored=True)
    return dataset


def find_folder(name: str, folder: str | None) -> Path:
    """The first folder that has the set's files: the given one, else $MARKONE_DATA/name, ./name, ./data/name."""
    root = os.environ.get("MARKONE_DATA")
    places = [Path(root) / name] if root else []
    places = [Path(folder).expanduser()] if folder else [*places, Path(name), Path("data") / name]
    for place in places:
        for inside in INSIDE[name]:
            if _has_files(name, place / inside):
                return place / inside
    looked = ", ".join(str(place) for place in places)
    raise DataError(
        "data-not-here",
        f"the files of {name} are not here (looked in {looked}): put {NEEDED[name]} into one of these folders, "
        "or set data.folder or the environment variable MARKONE_DATA.",
    )


def _has_files(name: str, place: Path) -> bool:
    if not place.is_dir():
        return False
    if name != "cifar10":
        return is_idx(place)
    if (place / "data_batch_1").exists() and not (place / "data_batch_1.bin").exists():
        raise DataError(
            "data-pickle",
            f"{place} holds CIFAR-10's Python version, which is a pickle and is never opened: put {NEEDED[name]} there.",
        )
    return (place / JPEG_NPZ).is_file() or (place / "data_batch_1.bin").is_file()


def _read_cifar10(place: Path, progress: Progress | None) -> Dataset:
    binary = (place / "data_batch_1.bin").is_file()
    images, labels, tests = _read_binary(place) if binary else _read_jpegs(place / JPEG_NPZ, progress)
    parts = np.full(len(labels), UNASSIGNED, dtype=np.int8)
    parts[len(labels) - tests :] = Part.TEST
    note = "The pictures are JPEG copies of CIFAR-10's: results are a little below those on the original."
    return Dataset(
        name="cifar10",
        inputs=images,
        targets=labels,
        classes=CIFAR10,
        parts=parts,
        notes=() if binary else (note,),
        mirrored=True,
        digest=content_digest(images, labels),
    )


Loaded = tuple[NDArray[np.uint8], NDArray[np.int64], int]


def _read_binary(place: Path) -> Loaded:
    """Pictures (n, 32, 32, 3), labels (n,), and how many of them, at the end, are the test part."""
    records = []
    for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"):
        file = place / name
        data = np.fromfile(file, dtype=np.uint8) if file.is_file() else np.empty(0, np.uint8)
        if not len(data) or len(data) % RECORD:
            raise DataError("data-cifar10", f"{file} is absent or damaged ({len(data):,} bytes): get it again.")
        records.append(data.reshape(-1, RECORD))
    every = np.concatenate(records)
    images = np.ascontiguousarray(every[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
    return images, every[:, 0].astype(np.int64), len(records[-1])


def _read_jpegs(file: Path, progress: Progress | None) -> Loaded:
    """The same from an .npz of JPEG byte streams without the header that all share: decoded once, then from the store."""
    from PIL import Image

    key = hashlib.sha256(file.read_bytes()).hexdigest()[:32]
    with file.open("rb") as opened, np.load(opened, allow_pickle=False) as stored:
        labels = np.concatenate([stored["train_y"], stored["test_y"]]).astype(np.int64)
        tests = len(stored["test_y"])
        if (store := open_store(key)) is not None:
            return store.pixels, labels, tests
        header = stored["header"].tobytes()
        streams = [
            data[start:stop].tobytes()
            for data, offsets in ((stored[f"{p}_data"], stored[f"{p}_off"].tolist()) for p in ("train", "test"))
            for start, stop in itertools.pairwise(offsets)
        ]
    writer = StoreWriter((len(streams), 32, 32, 3))
    try:

        def work(span: range) -> None:
            for i in span:
                with Image.open(io.BytesIO(header + streams[i])) as image:
                    writer.rows[i] = np.asarray(image)

        in_parallel(work, len(streams), progress=progress, what="decoding pictures")
        return writer.finish(key, keep=np.arange(len(streams)), grey=False, index={}).pixels, labels, tests
    finally:
        writer.discard()
