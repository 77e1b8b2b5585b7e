"""Our training against a hand-written PyTorch loop: same net, batch, precision and data, one process, alternating.

    python bench/overhead.py [--rounds 15] [--json FILE]

The hand-written side is what an expert writes for a speed comparison: data as tensors in memory, one gather per batch, autocast and
channels_last as in our recipe, the same fused optimizer, a schedule, no logging and no checkpoint. Ours is ``Training.steps()`` with
everything on: vitals, record, checkpoints at epoch ends. Only the evaluation at epoch ends is left out, on both
sides. A ratio is the median over rounds of
(our time per step / theirs), after a warm-up of both in which the half second that vitals have free is spent, as a real training does
at its beginning.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from markone.data.dataset import Part
from markone.device import Environment
from markone.recipe import Recipe
from markone.training.learner import build_net
from markone.training.loop import Training
from markone.training.material import Material
from markone.training.pace import FREE_SECONDS

WARM_UP = 12  # rounds at most

CASES: dict[str, dict[str, Any]] = {
    "convnet 28x28, batch 128": {
        "recipe": {
            "data": {"kind": "shapes", "samples": 6400, "size": 28},
            "net": {"kind": "convnet", "width": 32, "convs_per_stage": 2},
            "optimizer": {"kind": "adamw", "lr": 0.001},
            "schedule": "one-cycle",
            "batch_size": 128,
            "epochs": 10_000,
            "precision": "auto",
        },
        "steps": 10,
        "goal": 1.05,
    },
    "mlp 64-128-128-10, batch 128": {
        "recipe": {
            "data": "digits",
            "net": {"kind": "mlp", "width": 128, "depth": 2},
            "optimizer": {"kind": "adamw", "lr": 0.001},
            "schedule": "one-cycle",
            "batch_size": 128,
            "epochs": 100_000,
            "precision": "float32",
        },
        "steps": 400,
        "goal": 1.25,
    },
}


def hand_written(material: Material) -> Iterator[None]:
    """The loop of an expert; each ``next`` is one step."""
    recipe = material.recipe
    net = build_net(material)[0].train()
    rows = torch.from_numpy(material.split.indices(Part.TRAINING))
    inputs, targets = material.store.standardized(rows), material.store.targets[rows]
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.001, fused=True)
    per_epoch = len(rows) // recipe.batch_size
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.001, total_steps=per_epoch * recipe.epochs)
    mixed = material.dtype != torch.float32
    while True:
        order = torch.randperm(len(rows))
        for start in range(0, per_epoch * recipe.batch_size, recipe.batch_size):
            chosen = order[start : start + recipe.batch_size]
            x, y = inputs[chosen], targets[chosen]
            with torch.autocast(material.device.type, dtype=material.dtype, enabled=mixed):
                scores = net(x)
            loss = torch.nn.functional.cross_entropy(scores.float(), y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            schedule.step()
            yield


def without_evaluation(training: Training) -> None:
    """Neither side evaluates; everything else of an epoch's end (the record, the checkpoint) stays."""
    constant = {"training": {"loss": 1.0, "accuracy": 0.5}}
    training._evaluate = lambda: constant  # type: ignore[method-assign]


def seconds_of(advance: Callable[[], object], steps: int) -> float:
    began = time.perf_counter()
    for _ in range(steps):
        advance()
    return (time.perf_counter() - began) / steps


def measure(case: dict[str, Any], rounds: int) -> dict[str, Any]:
    recipe = Recipe.from_dict(case["recipe"])
    with tempfile.TemporaryDirectory() as folder:
        training = Training.begin(recipe, folder=Path(folder) / "run")
        without_evaluation(training)
        ours, theirs = training.steps(), hand_written(training.material)
        steps = case["steps"]
        for number in range(WARM_UP):
            seconds_of(ours.__next__, steps), seconds_of(theirs.__next__, steps)
            assert training.monitor
            if number >= 2 and training.monitor.pace.cost_seconds >= FREE_SECONDS:
                break
        ratios, ours_ms, theirs_ms = [], [], []
        for number in range(rounds):
            pair = [(ours.__next__, ours_ms), (theirs.__next__, theirs_ms)]
            for advance, times in pair if number % 2 else reversed(pair):
                times.append(1000 * seconds_of(advance, steps))
            ratios.append(ours_ms[-1] / theirs_ms[-1])
        samples = sum(len(series) for series in training.run.vitals("update_ratio").values())
        training_steps = training.at.step
        ours.close()
    return {
        "ratio": round(statistics.median(ratios), 3),
        "spread": [round(min(ratios), 3), round(max(ratios), 3)],
        "ours_ms": round(statistics.median(ours_ms), 3),
        "theirs_ms": round(statistics.median(theirs_ms), 3),
        "goal": case["goal"],
        "rounds": rounds,
        "steps": training_steps,
        "vital_rows": samples,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = {name: measure(case, options.rounds) for name, case in CASES.items()}
    for name, row in found.items():
        low, high = row["spread"]
        print(
            f"{name}: {row['ratio']:.3f}x (goal {row['goal']}x; {low} to {high} over {row['rounds']} rounds), "
            f"{row['ours_ms']} ms against {row['theirs_ms']} ms a step"
        )
    if options.json:
        environment = Environment.here(torch.device("cpu")).to_dict()
        options.json.write_text(json.dumps({"cases": found, "environment": environment}, indent=2) + "\n")


if __name__ == "__main__":
    main()
