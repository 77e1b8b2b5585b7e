"""What ``markone train DATA`` reaches with the recipe it chooses itself.

    python bench/accuracy.py [CASE ...] [--seeds 5] [--first 0] [--json FILE]

Cases: digits, breast-cancer, housing (generated, California-housing-like), fashion-mnist and flowers (in MARKONE_DATA; flowers also
fine-tuned from published weights). Tables are compared
with scikit-learn's own MLP at its defaults (hidden_layer_sizes=(100,), Adam, max_iter=200; inputs standardized, which it needs) on the
same training and test rows. Every figure is of the part that it names; test parts are opened once per run.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from markone.data.dataset import Dataset, Part
from markone.data.source import resolve
from markone.device import Environment
from markone.training.choose import choose_recipe, choose_source
from markone.training.evaluate import open_test
from markone.training.loop import Training


def housing(folder: Path, *, rows: int = 20_640, seed: int = 0) -> Path:
    """A table like California housing: skewed columns, a price that depends on income, age, rooms and two coasts, noise, a cap."""
    draw = np.random.default_rng(seed)
    income = draw.gamma(4.0, 1.0, rows)
    age = draw.uniform(1, 52, rows)
    rooms = draw.lognormal(1.6, 0.3, rows)
    bedrooms = rooms * draw.uniform(0.15, 0.28, rows)
    population = draw.lognormal(7.0, 0.7, rows)
    occupants = draw.lognormal(1.0, 0.25, rows)
    latitude, longitude = draw.uniform(32.5, 42, rows), draw.uniform(-124.3, -114.3, rows)
    coast = np.exp(-((longitude + 124.3 - 0.9 * (42 - latitude)) ** 2) / 3)
    price = 0.42 * income + 1.2 * coast * np.sqrt(income) + 0.008 * age - 0.35 * (occupants - 2.7)
    price += 0.5 * np.sin(latitude) + 1.5 * (bedrooms / rooms - 0.2) + draw.normal(0, 0.35, rows)
    columns = {
        "MedInc": income,
        "HouseAge": age,
        "AveRooms": rooms,
        "AveBedrms": bedrooms,
        "Population": population,
        "AveOccup": occupants,
        "Latitude": latitude,
        "Longitude": longitude,
        "MedHouseVal": np.clip(price, 0.15, 5.0),
    }
    path = folder / "housing.csv"
    table = np.column_stack(list(columns.values()))
    np.savetxt(path, table, delimiter=",", header=",".join(columns), comments="", fmt="%.6g")
    return path


def flowers(folder: Path) -> Path:
    with zipfile.ZipFile(Path(os.environ["MARKONE_DATA"]) / "flowers_160.zip") as archive:
        archive.extractall(folder)
    return folder / "flowers"


def published(net: str, file: str) -> dict[str, Any]:
    """The edits of ``markone train DATA --set net.kind=NET --set net.weights=FILE``."""
    return {"net.kind": net, "net.weights": str(Path(os.environ["MARKONE_DATA"]) / "weights" / file)}


def of_sklearn(dataset: Dataset, part: np.ndarray, seed: int) -> float:
    """Accuracy or RMSE of scikit-learn's MLP on the same test rows."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    training, test = part == Part.TRAINING, part == Part.TEST
    model = (MLPClassifier if dataset.is_classification else MLPRegressor)(random_state=seed)
    targets = dataset.targets if dataset.is_classification else dataset.targets[:, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = make_pipeline(StandardScaler(), model).fit(dataset.inputs[training], targets[training])
    guess = fitted.predict(dataset.inputs[test])
    if dataset.is_classification:
        return float((guess == targets[test]).mean())
    return float(np.sqrt(np.mean((guess - targets[test]) ** 2)))


def one_run(
    data: str, seed: int, target: str | None = None, *, compare: bool = False, edits: dict[str, Any] | None = None
) -> dict[str, float]:
    """Trains with the chosen recipe; seconds are from reading the data to the end of the training."""
    began, edits = time.perf_counter(), edits or {}
    source = choose_source(resolve(data, target=target), edits)
    dataset = source.build()
    recipe = choose_recipe(source, dataset, seed=seed, wishes=edits).edit_all(edits)
    metric = recipe.task.metric
    with tempfile.TemporaryDirectory() as folder:
        training = Training.begin(recipe, folder=Path(folder) / "run", dataset=dataset)
        for _ in training.steps():
            pass
        seconds = time.perf_counter() - began
        run = training.run
        found = {
            "seconds": seconds,
            f"validation {metric}": run.metrics()["validation"][metric],
            f"test {metric}": open_test(run)["metrics"][metric]["value"],
        }
        if compare:
            found[f"scikit-learn test {metric}"] = of_sklearn(dataset, training.material.split.part, seed)
    return found


CASES: dict[str, Callable[[Path, int], dict[str, float]]] = {
    "digits": lambda _, seed: one_run("digits", seed),
    "breast-cancer": lambda _, seed: one_run("breast-cancer", seed, compare=True),
    "housing": lambda folder, seed: one_run(str(housing(folder)), seed, "MedHouseVal", compare=True),
    "fashion-mnist": lambda _, seed: one_run("fashion-mnist", seed),
    "flowers": lambda folder, seed: one_run(str(flowers(folder)), seed),
    "flowers, squeezenet-1.1 fine-tuned": lambda folder, seed: one_run(
        str(flowers(folder)), seed, edits=published("squeezenet-1.1", "squeezenet1_1_imagenet.safetensors")
    ),
}


def summarize(runs: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    return {
        name: {
            "mean": round(statistics.mean(run[name] for run in runs), 4),
            "lowest": round(min(run[name] for run in runs), 4),
            "highest": round(max(run[name] for run in runs), 4),
        }
        for name in runs[0]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for case in options.cases or CASES:
            runs: list[dict[str, float]] = []
            for seed in range(options.first, options.first + options.seeds):
                runs.append(CASES[case](Path(folder), seed))
                print(case, seed, {name: round(value, 4) for name, value in runs[-1].items()}, flush=True)
            found[case] = {"seeds": options.seeds, **summarize(runs)}
    print(json.dumps(found, indent=2))
    if options.json:
        environment = Environment.here(torch.device("cpu")).to_dict()
        options.json.write_text(json.dumps({"cases": found, "environment": environment}, indent=2) + "\n")


if __name__ == "__main__":
    main()
