"""Material: what a recipe and its data give before the first step: dataset, split, statistics, target code, tensors on the device."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from markone.data.batches import Batches, Store, in_order
from markone.data.dataset import Dataset, Part
from markone.data.duplicates import find_duplicates
from markone.data.normalize import Statistics, identity
from markone.data.progress import Progress
from markone.data.split import SplitResult, split
from markone.device import choose_device, choose_precision
from markone.errors import DataError, SpecError
from markone.recipe import Recipe
from markone.tasks.task import TargetCode

if TYPE_CHECKING:
    import torch

INPUT_SAMPLES = 2048  # enough for a mean within 2 % of a standard deviation
INPUT_BYTES = 2**28  # of these in float64: 222 pictures of 224x224, each of which counts by all its pixels
FEATURES_KEPT = 100
NAMED = 20  # contradictions that are named one by one


@dataclass(frozen=True, eq=False)
class Material:
    """Everything that the loop needs beside the net."""

    recipe: Recipe
    dataset: Dataset
    split: SplitResult
    statistics: Statistics
    code: TargetCode
    store: Store
    device: "torch.device"
    dtype: "torch.dtype"

    @cached_property
    def batches(self) -> Batches:
        recipe = self.recipe
        return Batches(
            self.store,
            self.split.indices(Part.TRAINING),
            batch_size=recipe.batch_size,
            augmentation=recipe.augmentation,
            seed=recipe.seed,
        )

    @property
    def outputs(self) -> int:
        count: int = self.recipe.task.outputs(self.code, self.recipe.loss)
        return count

    def data_card(self) -> dict[str, Any]:
        """What prediction needs to know of the data; kept in the run's record."""
        dataset = self.dataset
        return {
            "name": dataset.name,
            "images": dataset.is_images,
            "input_shape": list(dataset.input_shape),
            "columns": [{"source": c.source, "role": c.role, "category": c.category} for c in dataset.columns],
            "white": white(dataset),
            "statistics": self.statistics.to_dict(),
            "target_code": self.code.to_dict(),
            "digest": dataset.digest,
        }

    def facts(self) -> dict[str, Any]:
        """What is established before the first step (``input``, ``samples``, ``blind_guess``)."""
        return {"samples": self.split.counts, "input": self.input_fact, "blind_guess": self._blind_guess()}

    @cached_property
    def input_fact(self) -> dict[str, Any]:
        """What the net is fed: statistics of up to INPUT_SAMPLES training samples after normalization."""
        training = self.split.indices(Part.TRAINING)
        most = min(INPUT_SAMPLES, max(1, INPUT_BYTES // (8 * math.prod(self.dataset.input_shape))))
        rows = training[:: max(1, len(training) // most)][:most]
        inputs = next(in_order(self.store, rows, batch_size=len(rows))).inputs.double()
        features = inputs.transpose(0, 1).flatten(1)
        means, stds = features.mean(1).tolist(), features.std(1, correction=0).tolist()
        names = [column.name for column in self.dataset.columns] or [f"channel {i}" for i in range(len(means))]
        worst = sorted(range(len(means)), key=lambda i: -(abs(means[i]) + abs(np.log(stds[i] + 1e-12))))
        return {
            "mean": float(features.mean()),
            "std": float(features.std(correction=0)),
            "smallest": float(features.min()),
            "largest": float(features.max()),
            "finite": bool(features.isfinite().all()),
            "features": [{"name": names[i], "mean": means[i], "std": stds[i]} for i in worst[:FEATURES_KEPT]],
        }

    def _blind_guess(self) -> dict[str, float]:
        from markone.losses import blind_guess

        rows = self.split.indices(Part.TRAINING)
        targets = self.store.targets[rows].cpu()
        smoothing = self.recipe.regularization.label_smoothing or 0.0
        found = {
            "loss": blind_guess(self.recipe.loss, targets, self.outputs),
            "batch_loss": blind_guess(self.recipe.loss, targets, self.outputs, label_smoothing=smoothing),
        }
        return {**found, **self.recipe.task.blind_guess(targets, self.code)}


def white(dataset: Dataset) -> int:
    """What a white pixel is in the store: 255, or the largest value where pictures use a few levels only (digits: 16)."""
    largest = int(dataset.inputs[:INPUT_SAMPLES].max(initial=0)) if dataset.is_images else 255
    return largest if 0 < largest < 128 else 255


def prepare(
    recipe: Recipe,
    *,
    dataset: Dataset | None = None,
    kept: SplitResult | None = None,
    digest: str | None = None,
    progress: Progress | None = None,
) -> Material:
    """Reads the data, splits it (or keeps the split of an earlier sitting) and takes statistics of the training part.

    digest: that of the data which ``kept`` was made of. Raises DataError or SpecError where recipe and data do not fit together, and
    where the data has changed since: the kept split would then mix its parts.
    """
    dataset = dataset or recipe.data.build(progress=progress)
    device = choose_device(recipe.device)
    if recipe.augmentation.needs_images and not dataset.is_images:
        raise SpecError(
            "augmentation-needs-images",
            f"flip, crop, cutout, brightness, contrast and colour act on images, but {dataset.name} is a table;"
            " only mixup may be on.",
        )
    recipe.loss.require_task(recipe.task.kind)
    recipe.task.require_net(recipe.net)
    if recipe.augmentation.mixup is not None and recipe.task.gives == "maps":
        raise SpecError(
            "augmentation-mixup",
            f"mixup mixes whole pictures, and task {recipe.task.kind} tells their pixels apart; set augmentation.mixup=none.",
        )
    result = kept or split_of(recipe, dataset, progress=progress)
    training = result.indices(Part.TRAINING)
    if len(training) == 0:
        raise DataError("data-no-training", f"{dataset.name} leaves no sample to train on; give more samples.")
    if len(result.part) != len(dataset):
        raise DataError(
            "data-changed",
            f"{dataset.name} has {len(dataset):,} samples now, but the run was begun with {len(result.part):,};"
            " restore the data or start a new run.",
        )
    if digest and dataset.digest and digest != dataset.digest:
        raise DataError(
            "data-changed",
            f"{dataset.name} is not the data that the run was begun with: its content has changed; restore it or start a new run.",
        )
    statistics = recipe.normalization.fit(dataset, training) if recipe.normalization else identity(dataset)
    code = recipe.task.code(dataset, training)
    store = Store(dataset, recipe.task.targets(dataset, code), statistics, device=device)
    return Material(
        recipe=recipe,
        dataset=dataset,
        split=result,
        statistics=statistics,
        code=code,
        store=store,
        device=device,
        dtype=choose_precision(recipe.precision, device),
    )


def split_of(recipe: Recipe, dataset: Dataset, *, progress: Progress | None = None) -> SplitResult:
    """The split that a recipe makes of a dataset, duplicates kept on one side; copies that contradict each other are named."""
    if not recipe.split.duplicates:
        return split(dataset, recipe.split, seed=recipe.seed)
    found = find_duplicates(dataset, progress=progress)
    result = split(dataset, recipe.split, seed=recipe.seed, clusters=found.clusters)
    return replace(
        result, sentences=(*result.sentences, *_contradictions(dataset, np.concatenate([found.exact, found.near])))
    )


def _contradictions(dataset: Dataset, pairs: NDArray[np.int64]) -> list[str]:
    """Copies that the data files under different classes: at least one of the two labels is wrong."""
    if dataset.classes is None:
        return []
    across = [(a, b) for a, b in pairs.tolist() if dataset.targets[a] != dataset.targets[b]]
    sentences = [
        f"The same sample is in two classes: {dataset.sample_name(a)} ({dataset.classes[dataset.targets[a]]}) and"
        f" {dataset.sample_name(b)} ({dataset.classes[dataset.targets[b]]})."
        for a, b in across[:NAMED]
    ]
    more = len(across) - NAMED
    return sentences + ([f"And {more:,} more samples are in two classes; markone data lists them."] if more > 0 else [])
