"""The datasheet of a recipe's data: the rows of its parts as the net is fed them, with augmentation and without."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from markone.data.augment import move_both, vary
from markone.data.batches import in_order
from markone.data.dataset import Part
from markone.data.duplicates import equal_rows
from markone.seeds import numpy_generator, torch_generator
from markone.training.datasheet import MOST_TRAINING, MOST_VALIDATION, Shown, datasheet, rows_for

if TYPE_CHECKING:
    import torch

    from markone.training.material import Material

MOST_COMPARED = 2**28  # bytes of all rows that are compared with each other
MOST_AUGMENTED = 512  # rows: a tenth more or less of their neighbours is then 5 standard errors
Indices = NDArray[np.int64]


def material_datasheet(material: "Material") -> dict[str, Any]:
    """The fact ``datasheet``, and ``copies`` across the parts where the recipe lets copies part."""
    dataset = material.dataset
    width = int(np.prod(dataset.input_shape))
    training, validation = (
        _some(material.split.indices(part), rows_for(10**9, width, most))
        for part, most in ((Part.TRAINING, MOST_TRAINING), (Part.VALIDATION, MOST_VALIDATION))
    )
    shown = _shown(material, training)
    found = datasheet(
        shown,
        _shown(material, validation) if len(validation) else None,
        names=tuple(column.name for column in dataset.columns),
        classes=_counts(material),
        augmented=None,
    )
    if (augmentation := _augmentation(material, training[:MOST_AUGMENTED])) is not None:
        found["augmentation"] = augmentation
    if not material.recipe.split.duplicates and (copies := _copies(material)) is not None:
        found["copies"] = copies
    return found


def _some(rows: Indices, most: int) -> Indices:
    """A random part of the rows, always the same: files may be sorted by class."""
    if len(rows) <= most:
        return rows
    return np.sort(numpy_generator(0, "datasheet").choice(rows, most, replace=False))


def _shown(material: "Material", rows: Indices) -> Shown:
    batch = next(in_order(material.store, rows, batch_size=len(rows)))
    targets = batch.targets.cpu()
    flat = targets.ndim == 1 or (targets.is_floating_point() and targets.ndim == 2)
    return Shown(batch.inputs.cpu().contiguous(), targets if flat else None)


def _counts(material: "Material") -> dict[str, int] | None:
    dataset = material.dataset
    if dataset.classes is None or dataset.targets.ndim != 1:
        return None
    counts = np.bincount(dataset.targets[material.split.indices(Part.TRAINING)], minlength=len(dataset.classes))
    return {name: int(count) for name, count in zip(dataset.classes, counts, strict=False) if count}


def _augmentation(material: "Material", rows: Indices) -> dict[str, float | None] | None:
    """What one augmentation of each row changes; mixup apart, which mixes labels too."""
    from markone.training.picture_probes import augmentation_fact

    spec, store = material.recipe.augmentation, material.store
    if not store.images or not (spec.moves_pixels or spec.varies_values) or len(rows) < 2:
        return None
    generator = torch_generator(material.recipe.seed, "datasheet", device=str(store.device))
    chosen = store.rows(rows)
    raw, targets = store.take(chosen), store.targets_of(chosen)
    moved = move_both(raw, targets, spec, generator)[0] if spec.moves_pixels else raw
    after: torch.Tensor = store.prepared(moved)
    after = vary(after, spec, generator) if spec.varies_values else after
    return augmentation_fact(store.prepared(raw).cpu().contiguous(), after.cpu().contiguous(), targets.cpu())


def _copies(material: "Material") -> dict[str, float] | None:
    """The share of validation rows that are in the training part as well; ``by_chance``: if its columns were permuted one by one."""
    dataset = material.dataset
    training, validation = (material.split.indices(part) for part in (Part.TRAINING, Part.VALIDATION))
    if not len(validation) or dataset.inputs.nbytes > MOST_COMPARED:
        return None
    fed = dataset.inputs[training].reshape(len(training), -1)
    judged = dataset.inputs[validation].reshape(len(validation), -1)
    share = _share(fed, judged)
    mixed = numpy_generator(0, "datasheet").permuted(fed, axis=0) if share else fed
    return {"share": share, "by_chance": _share(mixed, judged) if share else 0.0, "of": len(validation)}


def _share(fed: NDArray[Any], judged: NDArray[Any]) -> float:
    first = equal_rows(np.concatenate([fed, judged]))
    return float((first[len(fed) :] < len(fed)).mean())
