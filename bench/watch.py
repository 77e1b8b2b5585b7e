"""Cost of ``watch`` at its defaults: the same hand-written PyTorch loop, watched and not, in one process, alternating.

    python bench/watch.py [--memory] [--json FILE]

Two trainings with the same start, batches and optimizer take turns in blocks of steps, from their first step on: one inside
``markone.watch(net, optimizer)``, one without. While the unwatched one is at work, torch is put back as it was and the clocks of the
watch stand still, so that it spends what it would spend on a training of its own. Blocks of both sides are paired:

- ratio: the median over the pairs; spread: their quartiles. It says what a step costs.
- whole: all seconds of the watched side by all of the other: with the first steps, all of which are looked at, the probes, and every
  step that is looked at later.
- steady: as whole, of the second half of the training.

--memory: the peak of the resident memory of a training in a process of its own, without markone and with it watching.
"""

import argparse
import contextlib
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from markone.training.watch import Watch

CASES: dict[str, dict[str, Any]] = {
    "CNN 28x28, batch 128": {"net": "cnn", "steps": 100, "block": 1, "goal": 1.03},
    "MLP 64-64-64-10, batch 32": {"net": "mlp", "steps": 20_000, "block": 20, "goal": 1.10},
}
MEMORY: dict[str, dict[str, Any]] = {
    "CNN 28x28, batch 128, memory": {"net": "cnn", "steps": 20, "goal": 1.02},
    "ResNet-18 on 3x32x32, batch 64, memory": {"net": "resnet-18", "steps": 6, "goal": 1.02},
}
SAMPLES = 2048


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def cnn() -> nn.Module:
    """Two stages of two convolutions with batch normalization: about 0.1 s a step of 128 pictures on one core."""
    layers: list[nn.Module] = []
    for given, made in ((1, 10), (10, 10), (10, 20), (20, 20)):
        layers += [nn.Conv2d(given, made, 3, padding=1, bias=False), nn.BatchNorm2d(made), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if given == made else []
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.2), nn.Linear(20 * 7 * 7, 10))


class Block(nn.Module):
    """The basic block of a ResNet (He et al. 2016)."""

    def __init__(self, given: int, made: int) -> None:
        super().__init__()
        stride = 1 if given == made else 2
        self.body = nn.Sequential(
            nn.Conv2d(given, made, 3, stride, 1, bias=False), nn.BatchNorm2d(made), nn.ReLU(),
            nn.Conv2d(made, made, 3, 1, 1, bias=False), nn.BatchNorm2d(made),
        )  # fmt: skip
        self.skip = nn.Identity() if stride == 1 else nn.Conv2d(given, made, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.relu(self.body(x) + self.skip(x))


def resnet_18() -> nn.Module:
    """11 million weights."""
    widths = (64, 64, 64, 128, 128, 256, 256, 512, 512)
    blocks = [Block(given, made) for given, made in itertools.pairwise(widths)]
    stem = (nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU())
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))


NETS = {"mlp": (mlp, (64,), 32), "cnn": (cnn, (1, 28, 28), 128), "resnet-18": (resnet_18, (3, 32, 32), 64)}


class Loop:
    """A loop as it is written by hand: a shuffled epoch after the other, and the loss of every step added up."""

    def __init__(self, kind: str) -> None:
        make, shape, self.batch = NETS[kind]
        torch.manual_seed(0)
        self.net = make().train()
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.01, momentum=0.9)
        self.inputs = torch.randn(SAMPLES, *shape)
        self.targets = self.inputs.flatten(1)[:, :10].argmax(1)
        self.total = 0.0

    def steps(self) -> Iterator[None]:
        while True:
            order = torch.randperm(SAMPLES)
            for chosen in order.split(self.batch):
                x, y = self.inputs[chosen], self.targets[chosen]
                loss = nn.functional.cross_entropy(self.net(x), y)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                self.total += loss.item()
                yield


@contextlib.contextmanager
def aside(watching: "Watch") -> Iterator[None]:
    """torch as it was before the watch began, and the clocks of the watch stopped."""
    began, noting = time.perf_counter(), torch.is_anomaly_enabled()
    if noting:  # the watch has the nodes of its first graphs note the lines that make them
        torch.set_anomaly_enabled(False)
    for owner, name, original, _ in watching.taps._replaced:
        setattr(owner, name, original)
    yield
    for owner, name, _, ours in watching.taps._replaced:
        setattr(owner, name, ours)
    assert watching.witness, watching.failure
    if noting:
        torch.set_anomaly_enabled(True, check_nan=False)
    gone, pace = time.perf_counter() - began, watching.witness.pace
    pace._began += gone
    if pace._step_began is not None:
        pace._step_began += gone
    watching.witness.recorder._flushed += gone
    watching._concluded += gone


def seconds_of(steps: Iterator[None], count: int) -> float:
    began = time.perf_counter()
    for _ in range(count):
        next(steps)
    return time.perf_counter() - began


def measure(case: dict[str, Any]) -> dict[str, Any]:
    from markone.training.watch import watch

    for _ in zip(range(5), Loop(case["net"]).steps(), strict=False):
        pass  # what every first use of an operation costs is nobody's
    ours, theirs, block = [], [], case["block"]
    one, other = Loop(case["net"]), Loop(case["net"])
    with tempfile.TemporaryDirectory() as folder, watch(one.net, one.optimizer, folder=Path(folder) / "run") as run:
        watched, plain = one.steps(), other.steps()
        for number in range(case["steps"] // block):
            if number % 2:
                ours.append(seconds_of(watched, block))
            with aside(run):
                theirs.append(seconds_of(plain, block))
            if not number % 2:
                ours.append(seconds_of(watched, block))
        run.close()
        found = run.finished
        recorded, rows = len(found.scalars("loss", "batch").values), len(found.vitals("update_ratio")["net"].values)
    assert recorded == case["steps"]
    return figures(case, ours, theirs) | {"steps": case["steps"], "looked at": rows}


def figures(case: dict[str, Any], ours: list[float], theirs: list[float]) -> dict[str, Any]:
    ratios = [mine / plain for mine, plain in zip(ours, theirs, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    half = len(ours) // 2
    return {
        "ratio": round(middle, 3),
        "goal": case["goal"],
        "spread": [round(low, 3), round(high, 3)],
        "whole": round(sum(ours) / sum(theirs), 3),
        "steady": round(sum(ours[half:]) / sum(theirs[half:]), 3),
        "watched_ms": round(1000 * statistics.median(ours) / case["block"], 3),
        "plain_ms": round(1000 * statistics.median(theirs) / case["block"], 3),
    }


def train(kind: str, steps: int, watched: bool) -> None:
    """One training in this process; prints the peak of its resident memory in MiB."""
    loop = Loop(kind)
    with tempfile.TemporaryDirectory() as folder:
        if watched:
            from markone.training.watch import watch

            with watch(loop.net, loop.optimizer, folder=Path(folder) / "run"):
                for _ in zip(range(steps), loop.steps(), strict=False):
                    pass
        else:
            for _ in zip(range(steps), loop.steps(), strict=False):
                pass
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)


def memory(case: dict[str, Any], rounds: int = 3) -> dict[str, Any]:
    """Medians over processes of each kind, alternating."""

    def peak(side: str) -> float:
        command = [sys.executable, __file__, "--alone", case["net"], str(case["steps"]), side]
        ran = subprocess.run(
            command, check=True, capture_output=True, text=True, env={**os.environ, "PYTHONHASHSEED": "0"}
        )
        return float(ran.stdout)

    peaks: dict[str, list[float]] = {"watched": [], "plain": []}
    for _ in range(rounds):
        for side, found in peaks.items():
            found.append(peak(side))
    watched, plain = (statistics.median(found) for found in peaks.values())
    ratio = round(watched / plain, 3)
    return {
        "ratio": ratio,
        "goal": case["goal"],
        "watched_MiB": round(watched),
        "plain_MiB": round(plain),
        "steps": case["steps"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--only", metavar="NET", choices=NETS, help=f"one of {', '.join(NETS)}")
    parser.add_argument("--alone", nargs=3, metavar=("NET", "STEPS", "SIDE"), help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.alone:
        net, steps, side = options.alone
        train(net, int(steps), side == "watched")
        return
    found = {}
    for name, case in (CASES | (MEMORY if options.memory else {})).items():
        if options.only in (None, case["net"]):
            found[name] = measure(case) if name in CASES else memory(case)
            print(name, found[name], flush=True)
    if options.json:
        from markone.device import Environment

        environment = Environment.here(torch.device("cpu")).to_dict()
        options.json.write_text(json.dumps({"cases": found, "environment": environment}, indent=2) + "\n")


if __name__ == "__main__":
    main()
