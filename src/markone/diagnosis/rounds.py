"""Rounds: the diagnosis of a watched training while it goes on; a finding that no longer holds is recorded as withdrawn."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from markone.diagnosis.diagnose import diagnose
from markone.training import watch as door
from markone.training.run import Run
from markone.training.watch import Watch

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


def watch(
    model: "nn.Module | Iterable[nn.Module]",
    optimizer: "Optimizer | Iterable[Optimizer]",
    *,
    folder: Path | str | None = None,
    every: "int | Literal['auto']" = "auto",
    probes: bool = True,
) -> Watch:
    """Watches a training loop: ``with markone.watch(model, optimizer) as run: ...``, or ``run = markone.watch(...)`` and ``run.close()``.

    model, optimizer: one, or several (a GAN has two of each). folder: where the Run goes (default: a new one in runs/). every: a step in
    so many is looked at closely; "auto" keeps the cost under 2 % of the training's time. probes: experiments on a copy of the net after the
    second step. In a process group only rank 0 records. Raises nothing: what cannot be watched is said in one line on standard error.
    """
    watching = door.watch(model, optimizer, folder=folder, every=every, probes=probes)
    watching.rounds = documents
    return watching


def documents(run: Run) -> list[dict[str, Any]]:
    """The findings of a run as its record keeps them."""
    return [finding.to_dict() for finding in diagnose(run)]
