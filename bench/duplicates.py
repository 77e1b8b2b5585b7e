"""How long it takes to find the duplicates among the 70,000 pictures of Fashion-MNIST, and whether all are found.

    MARKONE_DATA=... python bench/duplicates.py [--json FILE]

Users reported 43 samples twice in the training file, one twice in the test file and 10 in both (issue 44 of its repository). The files were
replaced since: they hold no two equal pictures. So the reported number of copies is planted at random places of the real pictures, and
counted as found only if the pairs are exactly those. Near duplicates that the published files do hold are counted beside.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from markone.data.dataset import Part
from markone.data.duplicates import find_duplicates
from markone.data.source import resolve
from markone.device import Environment


def plant(inputs: np.ndarray, in_test: np.ndarray, seed: int) -> tuple[np.ndarray, set[tuple[int, int]]]:
    """A copy of the pictures with the reported number of duplicates, and the pairs (first, second)."""
    draw = np.random.default_rng(seed)
    training = draw.permutation(np.flatnonzero(~in_test))
    test = draw.permutation(np.flatnonzero(in_test))
    pairs = list(zip(training[:43], training[43:86], strict=True))
    pairs += list(zip(training[86:96], test[:10], strict=True))
    pairs.append((test[10], test[11]))
    planted = inputs.copy()
    for first, second in pairs:
        planted[second] = planted[first]
    return planted, {(min(pair), max(pair)) for pair in ((int(a), int(b)) for a, b in pairs)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    dataset = replace(resolve("fashion-mnist").build(), digest="")  # without a digest nothing is kept in the cache
    assert dataset.parts is not None
    planted, expected = plant(np.asarray(dataset.inputs), dataset.parts == Part.TEST, seed=0)
    cases = {}
    for name, inputs in (("as published", dataset.inputs), ("with the reported copies planted", planted)):
        began = time.perf_counter()
        found = find_duplicates(replace(dataset, inputs=inputs))
        seconds = time.perf_counter() - began
        pairs = {(int(min(pair)), int(max(pair))) for pair in found.exact}
        cases[name] = {
            "pictures": len(dataset),
            "equal pairs": len(pairs),
            "planted pairs found": f"{len(pairs & expected)} of {len(expected) if inputs is planted else 0}",
            "near pairs": len(found.near),
            "seconds": round(seconds, 2),
            "goal in s": 10,
        }
    print(json.dumps(cases, indent=2))
    if options.json:
        environment = Environment.here(torch.device("cpu")).to_dict()
        options.json.write_text(json.dumps({"cases": cases, "environment": environment}, indent=2) + "\n")


if __name__ == "__main__":
    main()
