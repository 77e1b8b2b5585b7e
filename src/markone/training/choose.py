"""The recipe that ``markone train DATA`` begins with: chosen from size, shape and classes of the data, and written whole."""

from typing import Any

from markone.data.dataset import Dataset
from markone.data.source import DataSource
from markone.recipe import Recipe

STEPS = 3000  # what a small net on a few thousand samples needs to settle; epochs follow from it
FEWEST_EPOCHS, MOST_EPOCHS = 10, 60
TABLE_EPOCHS = 100
PHOTO_SIDE = 48  # from this side on pictures are taken as photos: colours and framing vary


def choose_recipe(source: DataSource, dataset: Dataset, *, seed: int = 0) -> Recipe:
    """A recipe for a dataset. Nothing in it is implicit: edit what was chosen and train again."""
    fields: dict[str, Any] = {"data": source.to_dict(), "seed": seed}
    fields |= _task(dataset)
    fields |= _images(dataset) if dataset.is_images else _table(dataset)
    return Recipe.from_dict(fields)


def _task(dataset: Dataset) -> dict[str, Any]:
    if dataset.is_classification:
        return {"task": "classification", "loss": "cross-entropy"}
    return {"task": "regression", "loss": "squared"}


def _images(dataset: Dataset) -> dict[str, Any]:
    """A convolutional net: wider for bigger pictures, longer and more varied for fewer of them."""
    _, height, width = dataset.input_shape
    side, samples = min(height, width), len(dataset)
    batch_size = _batch_size(samples)
    epochs = round(STEPS / max(1, 0.8 * samples / batch_size))
    return {
        "net": {"kind": "convnet", "width": 32, "convs_per_stage": 2},
        "augmentation": {"flip": dataset.mirrored, "crop": max(1, side // 14)},
        "optimizer": {"kind": "adamw", "lr": 0.003},
        "batch_size": batch_size,
        "epochs": min(MOST_EPOCHS, max(FEWEST_EPOCHS, epochs)),
        "precision": "auto",
    }


def _table(dataset: Dataset) -> dict[str, Any]:
    """A small MLP in float32 that stops where validation stops to improve."""
    return {
        "net": {"kind": "mlp", "width": 64, "depth": 2},
        "optimizer": {"kind": "adamw", "lr": 0.003},
        "regularization": {"early_stopping": {"patience": 20}},
        "batch_size": min(128, _batch_size(len(dataset))),
        "epochs": TABLE_EPOCHS,
        "precision": "float32",
    }


def _batch_size(samples: int) -> int:
    """A power of two that gives an epoch at least some twenty steps, between 16 and 128."""
    return max(16, min(128, 1 << (samples // 20).bit_length() - 1 if samples >= 40 else 4))
