"""What healthy and ill trainings look like to the checks: the origin of the calibrated numbers in ``diagnosis/thresholds.py``.

    python bench/calibrate.py FOLDER [--seeds 1] [--only rates|nets]

Trains a grid of recipes into FOLDER (runs that are there are kept, so it can be stopped and started again), then prints

- rates: problem x optimizer x schedule x learning rate x seed. In each row of rates a run is "too high" or "too low" if its
  validation skill is 0.05 or more under the best of the row, its training loss 0.1 of a blind guess's or more above the least,
  and its rate on that side of the best run's; runs in between are left out. What the checks say is set against that.
- nets: depth x activation x normalization x scale of the initial weights x scaling of the inputs, and the ranges of the
  statistics that the signal checks use, for nets that learned and for nets that are stuck.
"""

import argparse
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from markone.data.source import Builtin
from markone.diagnosis.diagnose import diagnose
from markone.diagnosis.evidence import aligned, blind_loss, learning, recent, sampled_steps, skill
from markone.diagnosis.finding import Severity
from markone.diagnosis.optimization_checks import largest_rise
from markone.recipe import Recipe
from markone.training.loop import fit
from markone.training.run import Run

PLAIN = {"precision": "float32", "recording.vitals_budget": 1.0, "batch_size": 64, "net.kind": "mlp", "split.test": 0.0}
PLAIN |= {"split.duplicates": False}  # looked for once would be enough, and it is half of a small run

PROBLEMS: dict[str, dict[str, Any]] = {
    "digits": {"data": {"kind": "digits"}, "net.depth": 2, "net.width": 64, "epochs": 12},
    "digits-conv": {"data": {"kind": "digits"}, "net.kind": "convnet", "net.width": 16, "epochs": 8},
    "digits-tanh": {
        "data": {"kind": "digits"},
        "net.depth": 3,
        "net.width": 32,
        "net.activation": "tanh",
        "epochs": 12,
    },
    "digits-sigmoid": {"data": {"kind": "digits"}, "net.width": 64, "net.activation": "sigmoid", "epochs": 12},
    "digits-deep": {
        "data": {"kind": "digits"},
        "net.depth": 8,
        "net.width": 64,
        "net.normalization": "batch",
        "epochs": 10,
    },
    "moons": {"data": {"kind": "moons"}, "net.width": 32, "epochs": 20},
    "noisy-moons": {"data": {"kind": "moons", "noise": 0.5}, "net.width": 32, "epochs": 20},
    "spirals": {"data": {"kind": "spirals"}, "net.depth": 3, "net.width": 64, "epochs": 40},
    "cancer": {"data": {"kind": "breast-cancer"}, "net.width": 32, "batch_size": 32, "epochs": 20},
    "wine": {"data": {"kind": "wine"}, "net.depth": 1, "net.width": 32, "batch_size": 16, "epochs": 30},
    "polynomial": {"data": {"kind": "polynomial"}, "net.width": 32, "batch_size": 32, "epochs": 40},
    "noise": {"data": {"kind": "polynomial", "noise": 1.0}, "net.width": 32, "batch_size": 32, "epochs": 40},
    "diabetes": {"data": {"kind": "diabetes"}, "net.width": 32, "batch_size": 32, "epochs": 20},
}
NUMBERS = ("polynomial", "noise", "diabetes")  # regression
RATES = {
    "sgd": (1e-4, 1e-3, 1e-2, 0.1, 0.3, 1.0, 3.0, 10.0),
    "momentum": (1e-4, 1e-3, 1e-2, 0.1, 0.3, 1.0, 3.0),
    "adamw": (1e-5, 1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0),
}
HARM, LOSS_HARM = 0.05, 0.1
Ranges = defaultdict[tuple[str, str], list[tuple[float, str]]]


def recipe(edits: dict[str, Any], *, seed: int) -> Recipe:
    regression = edits["data"]["kind"] in NUMBERS
    task = {"task.kind": "regression", "loss.kind": "squared"} if regression else {}
    return Recipe(data=Builtin(kind="digits")).edit_all({**PLAIN, **task, **edits, "seed": seed})


def rate_recipes(seeds: int) -> Iterator[tuple[str, Recipe]]:
    for seed, schedule, problem in itertools.product(range(seeds), ("constant", "one-cycle"), PROBLEMS):
        for optimizer, rates in RATES.items():
            for rate in rates:
                edits = {"schedule.kind": schedule, "optimizer.kind": optimizer, "optimizer.lr": rate}
                name = f"{problem}+{schedule}+{optimizer}+{rate:g}+{seed}"
                yield name, recipe({**PROBLEMS[problem], **edits}, seed=seed)


def net_recipes(seeds: int) -> Iterator[tuple[str, Recipe]]:
    init = {"relu": "he-normal", "tanh": "glorot-normal", "sigmoid": "glorot-normal"}
    gains = {"relu": 2**0.5, "tanh": 1.6, "sigmoid": 1.85}
    base = {"schedule.kind": "constant", "net.width": 32, "epochs": 10}
    optimizers = {"adamw": 1e-3, "sgd": 0.1}
    for seed, (optimizer, rate), activation in itertools.product(range(seeds), optimizers.items(), init):
        same = {**base, "optimizer.kind": optimizer, "optimizer.lr": rate, "net.activation": activation}
        same["initialization.kind"] = init[activation]
        for depth, norm in itertools.product((3, 5, 10, 20, 30), ("none", "batch")):
            edits = {**same, "data": {"kind": "digits"}, "net.depth": depth, "net.normalization": norm}
            yield f"depth+{activation}+{depth}+{norm}+{optimizer}+{seed}", recipe(edits, seed=seed)
        for scale, depth in itertools.product((0.1, 0.3, 2.0, 3.0, 5.0, 10.0), (3, 10)):
            edits = {**same, "data": {"kind": "digits"}, "net.depth": depth}
            edits["initialization.gain"] = scale * gains[activation]
            yield f"scale+{activation}+{depth}+{scale:g}+{optimizer}+{seed}", recipe(edits, seed=seed)
        for data, inputs in itertools.product(("breast-cancer", "wine", "iris", "diabetes"), ("standardize", None)):
            edits = {**same, "data": {"kind": data}, "normalization": inputs, "batch_size": 32, "epochs": 20}
            yield f"input+{activation}+{data}+{inputs or 'none'}+{optimizer}+{seed}", recipe(edits, seed=seed)


def runs(recipes: Iterator[tuple[str, Recipe]], folder: Path) -> dict[str, Run]:
    found = {}
    for number, (name, one) in enumerate(recipes, start=1):
        path = folder / name
        found[name] = Run(path) if path.exists() and Run(path).status != "killed" else fit(one, folder=path)
        print(f"\r{number} runs", end="", flush=True)
    print()
    return found


def judge_rates(found: dict[str, Run]) -> None:
    rows = defaultdict(list)
    for name, run in found.items():
        problem, schedule, optimizer, rate, seed = name.split("+")
        rows[problem, schedule, optimizer, seed].append((float(rate), name, run))
    table, odd, ranges = Counter[tuple[str, str]](), [], Ranges(list)
    for row in rows.values():
        for truth, name, run in labelled(sorted(row, key=lambda one: one[0])):
            top = [finding for finding in diagnose(run) if finding.severity is not Severity.NOTE]
            said = top[0].slug if top else "nothing"
            table[truth, said] += 1
            for statistic, value in step_statistics(run).items():
                ranges[statistic, truth].append((value, name))
            if truth == "right" and top:
                odd.append(f"  {name}: {said} ({top[0].confidence})")
    print("truth, first cause above a note: runs")
    for (truth, said), count in sorted(table.items()):
        print(f"  {truth:9s} {said:22s} {count}")
    print("alarms on runs with the right rate:", *odd, sep="\n")
    print_ranges(ranges)


def labelled(row: list[tuple[float, str, Run]]) -> Iterator[tuple[str, str, Run]]:
    """Each run of one row of rates with "right", "too high" or "too low"; those in between are left out."""
    scored = [(score(run), loss(run), name, run) for _, name, run in row]
    best = max(range(len(row)), key=lambda n: (scored[n][0], -scored[n][1]))
    least = min(one[1] for one in scored)
    for place, (value, left, name, run) in enumerate(scored):
        harm = scored[best][0] - value
        if harm >= HARM and left - least >= LOSS_HARM:
            yield ("too high" if place > best else "too low"), name, run
        elif harm < HARM / 2:
            yield "right", name, run


def score(run: Run) -> float:
    values = skill(run, "validation")
    return float(values.values[-2:].mean()) if values and np.isfinite(loss(run)) else -1.0


def loss(run: Run) -> float:
    state = learning(run)
    assert state is not None
    return state.now


def describe_nets(found: dict[str, Run]) -> None:
    ranges = Ranges(list)
    for name, run in found.items():
        state = learning(run)
        assert state is not None
        group = "learned" if state.learned > 0.5 else "stuck" if state.learned <= 0.1 else None
        if group:
            for statistic, value in statistics(run).items():
                ranges[statistic, group].append((value, name))
    print_ranges(ranges)


def print_ranges(ranges: Ranges) -> None:
    for (statistic, group), values in sorted(ranges.items()):
        values.sort()
        print(f"  {statistic:20s} {group:8s} n={len(values):4d} median {values[len(values) // 2][0]:.3g}")
        print(f"      least: {', '.join(f'{value:.3g} ({name})' for value, name in values[:3])}")
        print(f"      most:  {', '.join(f'{value:.3g} ({name})' for value, name in values[-3:])}")


def step_statistics(run: Run) -> dict[str, float]:
    """What the checks of the learning rate compare with their thresholds, some of it only where something is left to learn."""
    state, blind, steps = learning(run), blind_loss(run, batch=True), sampled_steps(run)
    if state is None or blind is None or not np.isfinite(state.now):
        return {}
    late = steps.at_full_rate.recent
    late = late.where(np.isfinite(late.ratio))
    found = {"update_ratio, largest": float(np.nanmax(steps.update_ratio))}
    if state.learned < 0.9:
        found["rise x not learned"] = largest_rise(run, steps, blind)[0] * (1 - state.learned)
        found["depth to the floor"] = float(np.median(late.depth)) / blind
        found["gain / predicted"] = float(np.median(late.ratio))
        found["lost again"] = state.now - state.best
    return found


def statistics(run: Run) -> dict[str, float]:
    """What the signal checks compare with their thresholds."""
    found = {}
    for vital in ("dead_fraction", "saturated_fraction"):
        values = [float(np.nanmedian(recent(series.values))) for series in run.vitals(vital).values()]
        if values:
            found[vital] = max(values)
    layers = [layer.name for layer in run.layers if layer.role == "weights"]
    norms = run.vitals("activation_gradient_norm")
    if len(layers) >= 3:
        _, ends = aligned({name: norms[name] for name in (layers[0], layers[-1])})
        ends = recent(ends[np.isfinite(ends).all(axis=1) & (ends[:, 1] > 0)])
        if len(ends):
            found["gradient_ratio"] = float(np.median(ends[:, 0] / ends[:, 1]))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", choices=("rates", "nets"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.only != "nets":
        judge_rates(runs(rate_recipes(options.seeds), options.folder))
    if options.only != "rates":
        describe_nets(runs(net_recipes(options.seeds), options.folder))


if __name__ == "__main__":
    main()
