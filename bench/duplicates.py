"""The search for duplicates in Fashion-MNIST, with as many copies planted as users once reported.

    python bench/duplicates.py [--rounds 5] [--json FILE]

Users reported 43 copies inside the training file and 10 of training pictures in the test file (zalandoresearch/fashion-mnist, issue 44);
the files of today have none any more. So as many are planted, and one pair inside the test file, at places drawn from a seed, a
different one each round, and all 54 must be found, no more and no fewer. Near duplicates are searched in the same pass. Needs
fashion-mnist, and for the further cases mnist and flowers_160.zip, in the folder that MARKONE_DATA names.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from markone.data.dataset import Dataset
from markone.data.duplicates import Duplicates, find_duplicates
from markone.data.folder import read_folder
from markone.data.published import read_published
from markone.device import Environment

GOAL_SECONDS = 10


def planted(dataset: Dataset, seed: int) -> tuple[Dataset, set[tuple[int, int]]]:
    """The dataset with 54 pictures replaced by copies of others, and the pairs."""
    draw = np.random.default_rng(seed)
    train, test = draw.permutation(60_000).tolist(), (60_000 + draw.permutation(10_000)).tolist()
    pairs = [
        *zip(train[:43], train[43:86], strict=True),
        *zip(train[86:96], test[:10], strict=True),
        (test[10], test[11]),
    ]
    pictures = np.array(dataset.inputs)
    for source, copy in pairs:
        pictures[copy] = pictures[source]
    return replace(dataset, inputs=pictures, digest=""), {(min(pair), max(pair)) for pair in pairs}


def timed(dataset: Dataset) -> tuple[Duplicates, float]:
    began = time.perf_counter()
    return find_duplicates(dataset), time.perf_counter() - began


def fashion(folder: Path, rounds: int) -> dict[str, Any]:
    dataset = read_published("fashion-mnist", folder=str(folder / "fashion-mnist"))
    seconds, near = [], []
    for seed in range(rounds):
        spoilt, pairs = planted(dataset, seed)
        found, taken = timed(spoilt)
        if {(min(pair), max(pair)) for pair in found.exact.tolist()} != pairs:
            raise SystemExit(f"seed {seed}: what was found is not what was planted")
        seconds.append(taken)
        near.append(len(found.near))
    return {"planted and found": "54 of 54", "near": near[0], "s": seconds, "rounds": rounds}


def plain(dataset: Dataset, rounds: int) -> dict[str, Any]:
    answers = [timed(replace(dataset, digest="")) for _ in range(rounds)]
    found = answers[0][0]
    return {"exact": len(found.exact), "near": len(found.near), "s": [taken for _, taken in answers], "rounds": rounds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    root = os.environ.get("MARKONE_DATA")
    if root is None:
        raise SystemExit("MARKONE_DATA names no folder with real data sets")
    folder = Path(root)
    found = {"fashion-mnist, 70,000 pictures of 28 x 28, copies planted": fashion(folder, options.rounds)}
    found["mnist, 70,000 pictures of 28 x 28"] = plain(
        read_published("mnist", folder=str(folder / "mnist")), options.rounds
    )
    with tempfile.TemporaryDirectory() as name, zipfile.ZipFile(folder / "flowers_160.zip") as archive:
        archive.extractall(name)
        os.environ["MARKONE_CACHE"] = f"{name}/cache"
        found["flowers, 4,317 pictures of 64 x 64"] = plain(read_folder(Path(name) / "flowers"), options.rounds)
    for row in found.values():
        seconds = row.pop("s")
        row |= {"s": round(statistics.median(seconds), 2), "range": [round(min(seconds), 2), round(max(seconds), 2)]}
        row["goal in s"] = GOAL_SECONDS
    print(json.dumps(found, indent=2))
    if options.json:
        environment = Environment.here(torch.device("cpu")).to_dict()
        options.json.write_text(json.dumps({"cases": found, "environment": environment}, indent=2) + "\n")


if __name__ == "__main__":
    main()
