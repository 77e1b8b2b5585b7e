"""Epochs over a folder of JPEGs: ours against torch's DataLoader over Pillow, in one process, taking turns.

    python bench/ingest.py [--pictures 4000] [--rounds 5] [--json FILE]

Ours: ``Folder(...).build()`` with an empty cache, statistics of the pixels, then ``Batches``; later epochs are batches alone. Theirs, as
in any tutorial: a Dataset that opens, converts and resizes to 64 x 64 with Pillow, two workers that persist, batches of 128, then the
same standardization. Both sides shuffle and give float32 batches; the files are in the page cache. A ratio is the median over rounds
of ours / theirs (first epoch) and theirs / ours (later epochs). Case ``generated``: pictures of 320 x 240; case ``flowers``: photos of up
to 160 pixels a side, where MARKONE_DATA names the folder with flowers_160.zip.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from markone.data.augment import Augmentation
from markone.data.batches import Batches, Store
from markone.data.normalize import Standardize
from markone.data.source import Folder
from markone.device import Environment

SIZE, BATCH, WORKERS, CLASSES = 64, 128, 2, 4
LATER = 3  # epochs after the first, of which the median counts
FIRST_GOAL, LATER_GOAL = 1.1, 20


def generate(folder: Path, pictures: int) -> None:
    """JPEGs of 320 x 240, quality 90: noise at five scales in three colours, about as many bytes as a photo of that size."""
    draw = np.random.default_rng(0)
    for i in range(pictures):
        picture = np.full((240, 320, 3), 128.0)
        for scale, strength in ((120, 60), (48, 35), (16, 20), (4, 10), (1, 4)):
            coarse = draw.normal(0, strength, (240 // scale + 2, 320 // scale + 2, 3))
            grown = np.stack([_grow(coarse[..., c]) for c in range(3)], axis=2)
            picture += grown
        place = folder / f"class {i % CLASSES}" / f"{i:05}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(place, quality=90)


def _grow(coarse: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(coarse.astype(np.float32)).resize((320, 240), Image.Resampling.BICUBIC))


class Pictures(TorchDataset[tuple[torch.Tensor, int]]):
    """What a tutorial writes."""

    def __init__(self, folder: Path) -> None:
        classes = sorted(path.name for path in folder.iterdir())
        self.files = [(file, classes.index(name)) for name in classes for file in sorted((folder / name).iterdir())]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        file, label = self.files[index]
        with Image.open(file) as image:
            pixels = np.array(image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR))
        return torch.from_numpy(pixels).permute(2, 0, 1), label


def theirs(folder: Path) -> Iterator[float]:
    """Seconds of one epoch after the other; the first includes the start of the workers."""
    began = time.perf_counter()
    loader = DataLoader(
        Pictures(folder), batch_size=BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True, drop_last=True
    )
    mean, std = torch.full((1, 3, 1, 1), 120.0), torch.full((1, 3, 1, 1), 60.0)
    while True:
        for pixels, _ in loader:
            (pixels.float() - mean) / std
        yield time.perf_counter() - began
        began = time.perf_counter()


def ours(folder: Path) -> Iterator[float]:
    """The same; the first includes listing, decoding and storing the pictures, and their statistics."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["MARKONE_CACHE"] = cache
        began = time.perf_counter()
        dataset = Folder(path=str(folder), size=SIZE).build()
        rows = np.arange(len(dataset))
        device = torch.device("cpu")
        store = Store(dataset, torch.from_numpy(dataset.targets), Standardize().fit(dataset, rows), device=device)
        batches = Batches(store, rows, batch_size=BATCH, augmentation=Augmentation(), seed=0)
        for epoch in range(1 + LATER):
            for _ in batches.epoch(epoch):
                pass
            yield time.perf_counter() - began
            began = time.perf_counter()


def measure(folder: Path, rounds: int) -> dict[str, Any]:
    for file in folder.rglob("*.jpg"):
        file.read_bytes()
    found = []
    for turn in range(rounds):
        sides = (("theirs", theirs), ("ours", ours)) if turn % 2 else (("ours", ours), ("theirs", theirs))
        seconds = {}
        for name, side in sides:
            epochs = side(folder)
            taken = [next(epochs) for _ in range(1 + (LATER if name == "ours" else 1))]
            seconds[name] = taken[0], statistics.median(taken[1:])
            epochs.close()
        found.append(seconds)
    first = [turn["ours"][0] / turn["theirs"][0] for turn in found]
    later = [turn["theirs"][1] / turn["ours"][1] for turn in found]
    return {
        "first epoch, ours / theirs": round(statistics.median(first), 3),
        "its range": [round(min(first), 2), round(max(first), 2)],
        "at most": FIRST_GOAL,
        "later epochs, theirs / ours": round(statistics.median(later), 1),
        "their range": [round(min(later)), round(max(later))],
        "at least": LATER_GOAL,
        "first epoch in s": {side: round(statistics.median(turn[side][0] for turn in found), 2) for side in found[0]},
        "later epoch in s": {side: round(statistics.median(turn[side][1] for turn in found), 3) for side in found[0]},
        "rounds": rounds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder / "generated", options.pictures)
        found[f"generated, {options.pictures:,} JPEGs of 320 x 240"] = measure(folder / "generated", options.rounds)
        real = os.environ.get("MARKONE_DATA")
        if real and (Path(real) / "flowers_160.zip").is_file():
            with zipfile.ZipFile(Path(real) / "flowers_160.zip") as archive:
                archive.extractall(folder)
            found["flowers, 4,317 JPEGs of up to 160 x 160"] = measure(folder / "flowers", options.rounds)
    print(json.dumps(found, indent=2))
    if options.json:
        environment = Environment.here(torch.device("cpu")).to_dict()
        options.json.write_text(json.dumps({"cases": found, "environment": environment}, indent=2) + "\n")


if __name__ == "__main__":
    main()
