"""Depth: plain nets against residual ones; the same data, steps and schedule for all.

    python bench/depth.py [NET ...] [--json FILE] [--plot FILE] [--memory]

Fashion-MNIST (in MARKONE_DATA): 8,000 of its training images, three quarters of them to train on, halved to 14x14 by averaging so that
110 layers train on two cores. EPOCHS epochs of batches of 64, SGD with momentum, one-cycle, no augmentation, one seed. What counts is the
training loss: a deeper plain net does not overfit, it cannot be trained. preact-resnet-1001 has epochs of its own, which the record
states as steps. Results are added to FILE net by net, so that an interrupted bench goes on. --memory: the peak memory of two training
steps of preact-resnet-1001 on 3x32x32 pixels with and without activation checkpointing, each in a process of its own.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from markone.data.source import resolve
from markone.device import Environment
from markone.recipe import Recipe
from markone.report.chart import HEIGHT, WIDTH, Curve, chart, smooth
from markone.training.loop import Training

SAMPLES, BATCH = 8000, 64
NETS = ["plain-20", "plain-56", "plain-110", "cifar-resnet-20", "cifar-resnet-56", "cifar-resnet-110"]
DEEPEST = "preact-resnet-1001"
COLOURS = {"this": "#2563eb", "other": "#ea7317", "reference": "#7b8794"}
STYLE = (
    "text {font: 12px sans-serif; fill: #52606d} .title {font-weight: bold} .grid {stroke: #e4e7eb}"
    " polyline {fill: none; stroke-width: 1.5} "
    + " ".join(f"polyline.{tone} {{stroke: {hue}}} text.{tone} {{fill: {hue}}}" for tone, hue in COLOURS.items())
)
EPOCHS = dict.fromkeys(NETS, 8) | {DEEPEST: 2}


def small_images(folder: Path) -> Path:
    """The first SAMPLES training images, averaged over 2x2 pixels."""
    dataset = resolve("fashion-mnist").build()
    images = dataset.inputs[:SAMPLES].reshape(SAMPLES, 14, 2, 14, 2).mean((2, 4)).round().astype(np.uint8)
    path = folder / "fashion-14.npz"
    np.savez(path, images=images, labels=dataset.targets[:SAMPLES])
    return path


def recipe_of(net: str, data: Path) -> Recipe:
    return Recipe.from_dict(
        {
            "data": {"kind": "arrays", "path": str(data)},
            "split": {"validation": 0.25, "test": 0.0, "duplicates": False},
            "net": {"kind": net, "stem": "small"},
            "optimizer": {"kind": "momentum", "lr": 0.03},
            "schedule": "one-cycle",
            "batch_size": BATCH,
            "epochs": EPOCHS[net],
            "precision": "float32",
        }
    )


def train(net: str, data: Path, folder: Path) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """One training: its numbers, the metrics being of the whole parts after the last epoch; and the loss of every batch."""
    training = Training.begin(recipe_of(net, data), folder=folder / net)
    for step in training.steps():
        if step.index % 20 == 0:
            print(f"{net}: step {step.index} of {step.total_steps}, {step.seconds:.0f} s", flush=True)
    run = training.run
    batch = run.scalars("loss", "batch")
    numbers: dict[str, Any] = {"steps": run.steps, "epochs": EPOCHS[net], "seconds": round(run.seconds)}
    for part in ("training", "validation"):
        for name in ("loss", "accuracy"):
            numbers[f"{part} {name}"] = round(run.scalars(name, part).last, 4)
    return numbers, {"epoch": batch.epochs.round(4).tolist(), "loss": batch.values.round(4).tolist()}


def plot(curves: dict[str, dict[str, list[float]]]) -> str:
    """Two charts, plain and residual: the batch loss over the epochs, smoothed over one epoch's quarter."""
    charts = []
    for title, kind in (("Plain nets", "plain-"), ("Residual nets", "cifar-resnet-")):
        lines = [
            Curve(
                name.removeprefix(kind) + " layers",
                np.array(curves[name]["epoch"]),
                smooth(np.array(curves[name]["loss"]), len(curves[name]["loss"]) // EPOCHS[name] // 4),
                tone,
            )
            for name, tone in zip(
                (kind + depth for depth in ("20", "56", "110")), ("reference", "other", "this"), strict=True
            )
            if name in curves
        ]
        charts.append(chart(f"{title}: training loss", lines, end=max(EPOCHS[net] for net in NETS)))
    panels = [
        f'<svg x="{place * WIDTH}" y="24" width="{WIDTH}" height="{HEIGHT}" {re.findall("<svg (.*)</svg>", drawn)[0]}</svg>'
        f'<text x="{place * WIDTH + 52}" y="16" class="title">{re.findall("<figcaption>(.*)</figcaption>", drawn)[0]}</text>'
        for place, drawn in enumerate(charts)
        if drawn
    ]
    size = f'width="{2 * WIDTH}" height="{HEIGHT + 24}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{STYLE}</style>{"".join(panels)}</svg>\n'


MEASURE = """
import resource, sys, torch
from markone.nets import ResNet
from markone.nets.checkpointing import checkpoint_activations
net = ResNet(kind="preact-resnet-1001").build((3, 32, 32), 10)
if sys.argv[1] == "on":
    checkpoint_activations(net)
optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
inputs, targets = torch.randn(int(sys.argv[2]), 3, 32, 32), torch.zeros(int(sys.argv[2]), dtype=torch.long)
for _ in range(2):
    torch.nn.functional.cross_entropy(net(inputs), targets).backward()
    optimizer.step()
    optimizer.zero_grad()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


def memory(batch: int = 32) -> dict[str, Any]:
    """Peak resident memory in GiB of two training steps in float32."""

    def peak(state: str) -> float:
        command = [sys.executable, "-c", MEASURE, state, str(batch)]
        return round(float(subprocess.run(command, check=True, capture_output=True, text=True).stdout), 2)

    return {"batch": batch, "peak GiB": peak("off"), "peak GiB, checkpointed": peak("on")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", nargs="*", metavar="NET", help=", ".join(EPOCHS))
    parser.add_argument("--json", type=Path, default=Path("depth.json"))
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--memory", action="store_true")
    options = parser.parse_args()
    found: dict[str, Any] = {"cases": {}, "curves": {}}
    if options.json.exists():
        found = json.loads(options.json.read_text())

    def keep(name: str, numbers: dict[str, Any]) -> None:
        found["cases"][name] = numbers
        found["environment"] = Environment.here(torch.device("cpu")).to_dict()
        options.json.write_text(json.dumps(found) + "\n")
        print(name, numbers, flush=True)

    with tempfile.TemporaryDirectory() as folder:
        data = small_images(Path(folder))
        for net in options.nets or EPOCHS:
            if net not in found["cases"]:
                numbers, found["curves"][net] = train(net, data, Path(folder))
                keep(net, numbers)
    if options.memory:
        keep(f"{DEEPEST}, two steps on 3x32x32", memory())
    if options.plot:
        options.plot.write_text(plot(found["curves"]))


if __name__ == "__main__":
    main()
