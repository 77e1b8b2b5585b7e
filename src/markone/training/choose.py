"""The recipe that ``markone train DATA`` begins with: chosen from size, shape and classes of the data, and written whole."""

from typing import Any

import numpy as np

from markone.data.dataset import Dataset
from markone.data.source import DataSource
from markone.data.split import policy_fractions
from markone.device import choose_device, has_bfloat16
from markone.nets import ConvNet
from markone.recipe import Recipe

IMAGE_STEPS, TABLE_STEPS = 1400, 10_000  # what settles a small net on a few thousand samples; epochs follow from it
IMAGE_EPOCHS, TABLE_EPOCHS = (8, 40), (20, 100)  # fewest and most
TRAINING_SHARE = 0.8
PHOTO_SIDE = 48


def choose_recipe(source: DataSource, dataset: Dataset, *, seed: int = 0) -> Recipe:
    """A recipe for a dataset. Nothing in it is implicit but the device: edit what was chosen and train again."""
    fields: dict[str, Any] = {"data": _source(source, dataset), "split": _split(dataset), "seed": seed}
    fields |= _task(dataset)
    fields |= _images(dataset) if dataset.is_images else _table(dataset)
    return Recipe.from_dict(fields)


def _source(source: DataSource, dataset: Dataset) -> dict[str, Any]:
    """The source, with the size of pictures that it chose by itself."""
    data: dict[str, Any] = source.to_dict()
    if "size" in data and data["size"] is None:
        data["size"] = dataset.input_shape[1]
    return data


def _split(dataset: Dataset) -> dict[str, Any]:
    """The policy's shares; a source that gives parts itself keeps them, and what it leaves open is sized when it is split."""
    if dataset.parts is not None:
        return {}
    counts = np.bincount(dataset.targets).tolist() if dataset.is_classification else [len(dataset)]
    validation, test = policy_fractions(counts)
    return {"validation": round(validation, 4), "test": round(test, 4)}


def _task(dataset: Dataset) -> dict[str, Any]:
    if dataset.is_classification:
        return {"task": "classification", "loss": "cross-entropy"}
    return {"task": "regression", "loss": "squared"}


def _images(dataset: Dataset) -> dict[str, Any]:
    """A convolutional net, one-cycle training; shifted by up to a tenth of the side, mirrored where that keeps the class.

    From PHOTO_SIDE on the net begins with half the channels: the first maps cost the most there.
    """
    shape = dataset.input_shape
    side = min(shape[1:])
    batch_size = _batch_size(len(dataset))
    return {
        "net": {"kind": "convnet", "depth": ConvNet().stages(shape), "width": 16 if side >= PHOTO_SIDE else 32},
        "augmentation": {"flip": dataset.mirrored, "crop": side // 10 or None},
        "optimizer": {"kind": "adamw", "lr": 0.005},
        "regularization": {"label_smoothing": 0.1} if dataset.mirrored else {},
        "batch_size": batch_size,
        "epochs": _epochs(len(dataset), batch_size, IMAGE_STEPS, IMAGE_EPOCHS),
        "precision": "bfloat16" if has_bfloat16(choose_device()) else "float32",
    }


def _table(dataset: Dataset) -> dict[str, Any]:
    """A small MLP in float32: its matrices are too small to gain from less."""
    batch_size = _batch_size(len(dataset))
    return {
        "net": {"kind": "mlp", "width": 64, "depth": 2},
        "optimizer": {"kind": "adamw", "lr": 0.003},
        "batch_size": batch_size,
        "epochs": _epochs(len(dataset), batch_size, TABLE_STEPS, TABLE_EPOCHS),
        "precision": "float32",
    }


def _epochs(samples: int, batch_size: int, steps: int, limits: tuple[int, int]) -> int:
    fewest, most = limits
    return min(most, max(fewest, round(steps * batch_size / (TRAINING_SHARE * samples))))


def _batch_size(samples: int) -> int:
    """A power of two between 16 and 128 that gives an epoch some thirty steps or more, where there are enough samples."""
    wanted = max(1, int(TRAINING_SHARE * samples) // 30)
    return max(16, min(128, 1 << (wanted.bit_length() - 1)))
