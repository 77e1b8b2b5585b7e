"""A training that is killed at any moment leaves a whole record, and goes on to the very weights of an unbroken one."""

import multiprocessing
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from markone.recipe import Recipe
from markone.training.loop import fit
from markone.training.run import Run
from tests.test_training import digest

KILLS = 20

# Everything that a checkpoint must carry: dropout, augmentation, batch norm, Adam's moments, a plateau, an average, early stopping.
RECIPE = {
    "data": {"kind": "shapes", "samples": 600, "size": 16},
    "net": {"kind": "convnet", "width": 8, "dropout": 0.2},
    "augmentation": {"flip": True, "crop": 2, "mixup": 0.2},
    "optimizer": {"kind": "adamw", "lr": 0.003},
    "schedule": {"kind": "plateau", "patience": 1},
    "regularization": {"ema": 0.95, "l2": 0.1, "early_stopping": {"patience": 100}},
    "batch_size": 32,
    "epochs": 25,
    "recording": {"checkpoint_seconds": 0.05},
}


def train(folder: str) -> None:
    import torch

    torch.set_num_threads(1)
    fit(Recipe.from_dict(RECIPE), folder=Path(folder))


@pytest.mark.slow
def test_killed_at_random_moments_and_resumed_bit_for_bit(tmp_path: Path) -> None:
    """kill -9 at twenty random moments between the first write and the end, none of which may show in the result."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums of one thread and of two differ in the last bit
    try:
        fit(Recipe.from_dict(RECIPE).edit("epochs", 1), folder=tmp_path / "warm")
        began = time.monotonic()
        whole = digest(fit(Recipe.from_dict(RECIPE), folder=tmp_path / "whole").folder)
        lasted = time.monotonic() - began
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["torch._dynamo", "sklearn.datasets", "markone.training.loop"])
        moments = random.Random(5)
        resumed_steps = []
        for number in range(KILLS):
            folder = tmp_path / str(number)
            victim = context.Process(target=train, args=(str(folder),), daemon=True)
            victim.start()
            while victim.is_alive() and not folder.exists():
                time.sleep(0.001)
            time.sleep(moments.uniform(0, lasted))
            victim.kill()
            victim.join()
            check = sqlite3.connect(folder / "record.db").execute("pragma integrity_check").fetchone()
            assert check == ("ok",)
            if Run(folder).status == "finished":  # it was quicker than its killer
                assert digest(folder) == whole
                shutil.rmtree(folder)
                continue
            assert Run(folder).status == "killed"
            run = fit(Recipe.from_dict(RECIPE), folder=folder, resume=True)
            resumed_steps.append([event.step for event in run.events if event.kind == "resumed"][-1])
            assert run.status == "finished"
            assert digest(folder) == whole
            steps = run.scalars("loss", "batch").steps
            assert list(steps) == list(range(1, run.steps + 1)), "every step is recorded once"
            shutil.rmtree(folder)
        assert len(resumed_steps) >= KILLS / 2
        assert len(set(resumed_steps)) > 3, "the kills fell on different moments"
    finally:
        torch.set_num_threads(threads)


@pytest.mark.slow
def test_killed_command_line_is_resumed(tmp_path: Path) -> None:
    """The same through the program: kill -9 of ``markone train``, then ``markone train --resume``."""
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(Recipe.from_dict(RECIPE).edit("epochs", 60).to_toml())
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def command(*words: str) -> list[str]:
        return [sys.executable, "-m", "markone", "train", *words, "--quiet"]

    subprocess.run(command(str(recipe), "--folder", str(tmp_path / "whole")), check=True, env=environment)
    victim = subprocess.Popen(command(str(recipe), "--folder", str(tmp_path / "parts")), env=environment)
    while victim.poll() is None and not list((tmp_path / "parts" / "checkpoint").glob("[0-9]*")):
        time.sleep(0.01)
    victim.kill()
    victim.wait()
    assert Run(tmp_path / "parts").status == "killed"
    subprocess.run(command("--resume", str(tmp_path / "parts")), check=True, env=environment)
    assert digest(tmp_path / "parts") == digest(tmp_path / "whole")
