"""A run folder written by hand, for tests that need a record and no training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from markone.data.dataset import Part
from markone.data.source import Builtin
from markone.data.split import SplitResult
from markone.device import Environment
from markone.recipe import Recipe
from markone.training.record import Recorder, create_folder
from markone.training.run import Run

STEPS_PER_EPOCH = 10
ENVIRONMENT = Environment("3.11", "test", {}, "cpu", "a processor", 2, 2, 1, None)
SAMPLES = {"training": 800, "validation": 200, "test": 200}


def write_run(
    folder: Path,
    *,
    accuracies: Sequence[float] = (0.1, 0.6, 0.9),
    losses: Sequence[float] | None = None,
    status: str = "finished",
    complexity: tuple[float, float, float] = (1000.0, 50.0, 5.0),
    edits: dict[str, Any] | None = None,
    data: str = "digits",
    findings: Sequence[dict[str, Any]] = (),
    blind: float = 0.1,
    steps: int | None = None,
) -> Run:
    """``accuracies`` are those of validation at step 0 and after every epoch; the best one is kept."""
    recipe = Recipe(data=Builtin(kind="digits")).edit_all(edits or {})
    parts = np.repeat([Part.TRAINING, Part.VALIDATION, Part.TEST], list(SAMPLES.values())).astype(np.int8)
    create_folder(folder, recipe=recipe, name=data, environment=ENVIRONMENT, split=SplitResult(parts))
    recorder = Recorder(folder)
    recorder.event("started", step=0)
    recorder.meta("data", {"name": data})
    recorder.fact("samples", SAMPLES)
    recorder.fact("blind_guess", {"loss": 2.3, "accuracy": blind})
    total = (len(accuracies) - 1) * STEPS_PER_EPOCH if steps is None else steps
    batch = losses if losses is not None else [2.3 * 0.9**step for step in range(total)]
    recorder.scalars((n, n / STEPS_PER_EPOCH, "batch", "loss", value) for n, value in enumerate(batch, start=1))
    recorder.scalars((n, n / STEPS_PER_EPOCH, "batch", "lr", 0.01) for n in range(1, total + 1, 5))
    best = int(np.argmax(accuracies)) * STEPS_PER_EPOCH if accuracies else 0
    for epoch, accuracy in enumerate(accuracies):
        recorder.scalars(_epoch(epoch, accuracy, complexity, best))
    recorder.findings(findings, step=total)
    recorder.event(status, step=total)
    recorder.close(status)
    return Run(folder)


def _epoch(epoch: int, accuracy: float, complexity: tuple[float, float, float], best: int) -> list[Any]:
    step = epoch * STEPS_PER_EPOCH
    l0, l1, l2 = complexity
    net = {
        "parameters": l0,
        "l0": l0,
        "l1": l1,
        "l2": l2,
        "seconds": epoch * 1.5,
        "best_step": best,
        "throughput": 99.0,
    }
    rows = [(step, float(epoch), "net", name, value) for name, value in net.items()] if epoch else []
    for part, shift in (("training", 0.02), ("validation", 0.0)):
        rows.append((step, float(epoch), part, "accuracy", min(1.0, accuracy + shift)))
        rows.append((step, float(epoch), part, "loss", 2.3 * (1 - accuracy) + 0.01))
    return rows
