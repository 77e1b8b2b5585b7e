"""Run folders with vitals, written by hand: every number of a diagnosis can then be worked out on paper."""

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from markone.training.record import TABLES, Recorder
from markone.training.run import Run

BLIND = {"loss": 2.0, "accuracy": 0.5}
SAMPLES = {"training": 800, "validation": 200, "test": 200}
Values = float | Sequence[float]


def chain(depth: int, *, activation: str = "ReLU", normalized: bool = False) -> list[dict[str, Any]]:
    """The fact ``layers`` of ``depth`` hidden blocks and a head."""
    found: list[tuple[str, str, str]] = []
    for block in range(depth):
        found.append((f"hidden.{block}.linear", "Linear", "weights"))
        if normalized:
            found.append((f"hidden.{block}.norm", "BatchNorm1d", "normalization"))
        found.append((f"hidden.{block}.activation", activation, "activation"))
    found.append(("head", "Linear", "weights"))
    return [
        {"name": name, "kind": kind, "role": role, "order": order, "parameters": 10}
        for order, (name, kind, role) in enumerate(found)
    ]


def write_vitals(
    folder: Path,
    *,
    steps: int = 40,
    losses: Values = 1.9,
    lr: Values = 0.1,
    gain: Values = 0.0098,
    predicted: Values = 0.01,
    update_ratio: Values = 0.01,
    training: Mapping[str, Sequence[float]] | None = None,
    validation: Mapping[str, Sequence[float]] | None = None,
    layers: Sequence[Mapping[str, Any]] = (),
    vitals: Mapping[tuple[str, str], Values] | None = None,
    facts: Mapping[str, Any] | None = None,
    status: str = "finished",
) -> Run:
    """Every step is sampled; a number stands for itself at every step. ``training`` and ``validation`` give metrics after
    every tenth step, and at step 0."""
    folder.mkdir(parents=True)
    database = sqlite3.connect(folder / "record.db")
    database.executescript(TABLES)
    database.close()
    recorder = Recorder(folder)
    known = {"blind_guess": BLIND, "samples": SAMPLES, "layers": list(layers)}
    known["plan"] = {"steps_per_epoch": 10, "total_steps": steps, "epochs": steps // 10, "batch_size": 32}
    for name, fact in {**known, **(facts or {})}.items():
        recorder.fact(name, fact)
    at = range(1, steps + 1)
    for name, values in (("loss", losses), ("lr", lr)):
        recorder.scalars((n, n / 10, "batch", name, value) for n, value in zip(at, spread(values, steps), strict=True))
    for part, metrics in (("training", training), ("validation", validation)):
        for name, each in (metrics or {}).items():
            recorder.scalars((10 * epoch, float(epoch), part, name, value) for epoch, value in enumerate(each))
    whole = {"step_gain": gain, "step_gain_predicted": predicted, "update_ratio": update_ratio}
    rows: dict[tuple[str, str], Values] = {("net", name): values for name, values in whole.items()}
    for (layer, name), values in {**rows, **(vitals or {})}.items():
        recorder.vitals((n, layer, name, value) for n, value in zip(at, spread(values, steps), strict=True))
    recorder.close(status)
    return Run(folder)


def spread(values: Values, steps: int) -> list[float]:
    return [float(values)] * steps if isinstance(values, int | float) else [float(value) for value in values]


def product(factor: float, depth: int, *, steps: int = 40) -> dict[tuple[str, str], Values]:
    """Gradients of the outputs that every layer multiplies by ``factor`` on their way back from the head, where they are 1."""
    names = [f"hidden.{block}.linear" for block in range(depth)] + ["head"]
    sizes = factor ** np.arange(depth, -1, -1.0)
    return {(name, "activation_gradient_norm"): float(size) for name, size in zip(names, sizes, strict=True)}
