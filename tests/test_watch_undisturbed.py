"""Watching disturbs nothing: trainings end bit for bit alike, nothing of it stays, and its own failures end nothing but itself."""

import contextlib
import io
import pickle
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from markone.training.script import run_script
from markone.training.watch import Watch, watch
from tests.trainings.small import COMPILED, TRAININGS, Ending

SCRIPT = Path(__file__).parent / "trainings" / "train.py"
PLAIN: dict[str, tuple[Ending, str]] = {}


def same(one: Any, other: Any) -> bool:
    """Bit for bit; a NaN equals a NaN."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one.view(torch.uint8), other.view(torch.uint8)) if one.ndim else one.item() == other.item()
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) or (one != one and other != other)


def different(one: Ending, other: Ending) -> list[str]:
    return [name for name in one if not same(one[name], other[name])]


def run(training: Callable[..., Ending], watching: Callable[..., Any]) -> tuple[Ending, str]:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        return training(watching), said.getvalue()


def plain(name: str) -> tuple[Ending, str]:
    """The training without anybody watching."""
    if name not in PLAIN:
        PLAIN[name] = run((TRAININGS | COMPILED)[name], lambda _nets, _optimizers: contextlib.nullcontext())
    return PLAIN[name]


@pytest.mark.parametrize("every", ["auto", 1])
@pytest.mark.parametrize("name", TRAININGS)
def test_the_api_door_changes_no_bit(name: str, every: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted, said = plain(name)
    begun: list[Watch] = []

    def watching(nets: Any, optimizers: Any) -> Watch:
        begun.append(watch(nets, optimizers, folder=tmp_path / "run", every=every))
        return begun[0]

    result, heard = run(TRAININGS[name], watching)
    assert different(wanted, result) == []
    assert heard == said
    assert capsys.readouterr().err == ""
    assert begun[0].failure is None
    record = begun[0].finished
    assert record.facts["watched"]["optimizers"]
    assert len(record.scalars("loss", "batch")) > 5, record.facts
    print(name, {k:len(v) for k,v in record.vitals("gradient_norm").items()}, record.facts["watched"]["unseen"])
