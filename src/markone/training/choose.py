"""The recipe that ``markone train DATA`` begins with: chosen from size, shape and classes of the data, and written whole."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from markone.data.dataset import Dataset
from markone.data.source import DataSource
from markone.data.split import policy_fractions
from markone.device import choose_device, has_bfloat16
from markone.fine_tuning import early_layers
from markone.nets import NETS, ConvNet, MarkOne
from markone.nets.weights import statistics_of
from markone.recipe import Recipe
from markone.rules import Backpropagation
from markone.spec import OFF

IMAGE_STEPS, TABLE_STEPS = 1400, 10_000  # what settles a small net on a few thousand samples; epochs follow from it
IMAGE_EPOCHS, TABLE_EPOCHS = (8, 40), (20, 100)  # fewest and most
MAP_STEPS, MAP_BATCH = 900, 16  # 2000 shapes: mean IoU 96 % in a minute of one core; batches of 32 for as long: 68 %
FINE_TUNING_STEPS, FINE_TUNING_BATCH, FINE_TUNING_EPOCHS = 1000, 32, (4, 20)
FINE_TUNING_LR = 4e-4
FINE_TUNING_SIDE = (
    160  # pixels: on the flowers 224, what the nets were made for, costs twice the time and gains nothing
)
HEAD_STD = 0.01  # of a new head's weights: larger scores would shake what is there
UNNORMALIZED_LR = 5e-4  # AdamW's for nets as deep as VGG without batch normalization; with it they take 5e-3
TRAINING_SHARE = 0.8
ONE_BY_ONE_STEPS = 15_000  # of the perceptron rule, 15 s; after 12,000 the Mark I gets 96 % of unseen letters right
PHOTO_SIDE = 48


def choose_source(source: DataSource, wishes: Mapping[str, Any]) -> DataSource:
    """The source with those of the edits that are its own; pictures for published weights are read larger than others."""
    for path, value in wishes.items():
        if path.startswith("data."):
            source = source.edit(path.removeprefix("data."), value)
    if _published(wishes) and getattr(source, "size", OFF) is None:
        source = source.edit("size", FINE_TUNING_SIDE)
    return source


def choose_recipe(
    source: DataSource, dataset: Dataset, *, seed: int = 0, wishes: Mapping[str, Any] | None = None
) -> Recipe:
    """A recipe for a dataset. Nothing in it is implicit but the device: edit what was chosen and train again.

    wishes: edits that the caller will make, by dotted path, for what goes well with them is chosen: a task, a net that
    gives maps, published weights, a learning rule.
    """
    wishes = wishes or {}
    task, net, rule = (wishes.get(f"{field}.kind", wishes.get(field)) for field in ("task", "net", "rule"))
    fields: dict[str, Any] = {"data": _source(source, dataset), "split": _split(dataset), "seed": seed}
    fields |= _task(dataset)
    fields |= _images(dataset) if dataset.is_images else _table(dataset)
    if dataset.is_images and _is_unnormalized(net, wishes):
        fields["optimizer"] = {"kind": "adamw", "lr": UNNORMALIZED_LR}
    if dataset.is_images and (task == "segmentation" or (task is None and _wants_maps(dataset, net))):
        fields |= _maps(dataset, net if net in _nets_of_maps() else "unet")
    if _published(wishes):
        fields |= _fine_tuning(dataset, net)
    if rule not in (None, Backpropagation().kind) or net == MarkOne().kind:
        fields |= _learning_rule(rule or "perceptron", dataset, wishes)
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


def _maps(dataset: Dataset, net: str) -> dict[str, Any]:
    """What is other for a class at every pixel: a thin net; a U-Net halves the map to 4 pixels or more, four times at most."""
    side = min(dataset.input_shape[1:])
    width = 16 if side >= PHOTO_SIDE else 8
    own: dict[str, Any] = {"depth": min(4, max(1, (side // 4).bit_length() - 1))} if net == "unet" else {}
    own |= {"hidden": 16 * width} if net.startswith("fcn") else {}
    return {
        "task": "segmentation",
        "loss": "cross-entropy",
        "net": {"kind": net, "width": width, "normalization": "batch", **own},
        "optimizer": {"kind": "adamw", "lr": 0.01},
        "regularization": {},
        "batch_size": MAP_BATCH,
        "epochs": _epochs(len(dataset), MAP_BATCH, MAP_STEPS, IMAGE_EPOCHS),
    }


def _is_unnormalized(net: str | None, wishes: Mapping[str, Any]) -> bool:
    """Whether the wished net has layers that could be normalized and are not: it bears smaller steps only."""
    spec = next((spec for spec in NETS if net in spec.variants and "normalization" in spec.model_fields), None)
    default = getattr(spec.from_dict({"kind": net}), "normalization", None) if spec else None
    return spec is not None and wishes.get("net.normalization", default) == OFF


def _wants_maps(dataset: Dataset, net: str | None) -> bool:
    """A net that gives maps, or no net yet for pictures that have masks and no classes of their own."""
    return net in _nets_of_maps() or (net is None and "mask" in dataset.extras and not dataset.is_classification)


def _nets_of_maps() -> set[str]:
    return {kind for spec in NETS if spec.gives == "maps" for kind in spec.variants}


def _published(wishes: Mapping[str, Any]) -> bool:
    return wishes.get("net.weights", OFF) not in (None, OFF)


def _fine_tuning(dataset: Dataset, net: str | None) -> dict[str, Any]:
    """What is other for a net that begins with published weights: inputs as it knows them, small steps, few epochs."""
    mean, std = statistics_of(net or "")
    batch_size = min(FINE_TUNING_BATCH, _batch_size(len(dataset)))
    fields: dict[str, Any] = {
        "initialization": {"kind": "normal", "std": HEAD_STD},
        "optimizer": {"kind": "adamw", "lr": FINE_TUNING_LR},
        "batch_size": batch_size,
        "epochs": _epochs(len(dataset), batch_size, FINE_TUNING_STEPS, FINE_TUNING_EPOCHS),
    }
    if dataset.input_shape[0] == len(mean):
        fields["normalization"] = {"kind": "fixed", "mean": mean, "std": std}
    family = next((spec for spec in NETS if net in spec.variants and spec.images_only), None)
    if family is None or net == "timm":
        return fields
    chosen = {"kind": net}
    if "stem" in family.model_fields:
        chosen["stem"] = "imagenet"  # the stem that the weights are of, however small the pictures
        fields["net"] = chosen
    if family.gives == "scores" and dataset.is_classification:
        twin = family.from_dict(chosen).build(dataset.input_shape, len(dataset.classes or ()))
        fields["fine_tuning"] = {"frozen": early_layers(twin, dataset.input_shape)}
    return fields


def _learning_rule(rule: str, dataset: Dataset, wishes: Mapping[str, Any]) -> dict[str, Any]:
    """What is other for a rule of one layer: its own step and nothing else, from zeros where it can leave them.

    The perceptron rule corrects as the machine did, sample by sample; its rate only scales the weights. Least mean
    squares is stable below 2 / the largest eigenvalue of E[x x^T], at most 2 / (inputs + 1) for standardized inputs and a
    bias. Oja's takes a quarter of half of that: its weights may begin with |W W^T| up to 4. Hebb's grow by E[y x] a step: taught
    ones to the mean of t x / (inputs + 1) at the end, others by e at most along each component.
    """
    inputs = math.prod(dataset.input_shape)
    if wishes.get("net.kind", wishes.get("net")) == MarkOne().kind:
        inputs = int(wishes.get("net.associations", MarkOne().associations))
    one_by_one, batch, epochs = rule == "perceptron", 16, 10
    if one_by_one:
        batch, epochs = 1, _epochs(len(dataset), 1, ONE_BY_ONE_STEPS, (1, TABLE_EPOCHS[1]))
    steps = epochs * max(1, round(TRAINING_SHARE * len(dataset) / batch))
    lr = {"perceptron": 0.1, "delta": 1.0, "oja": 1 / 4, "hebb": 1 / steps}[rule] / (1 if one_by_one else inputs + 1)
    needs_a_start = rule == "oja" or (
        rule == "hebb" and not wishes.get("rule.teacher", True)
    )  # from 0 it would stay there
    return {
        "rule": rule,
        "initialization": "lecun-normal" if needs_a_start else "constant",
        "optimizer": {"kind": "sgd", "lr": lr},
        "schedule": "constant",
        "augmentation": {},
        "regularization": {},
        "batch_size": batch,
        "epochs": epochs,
        "precision": "float32",
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
