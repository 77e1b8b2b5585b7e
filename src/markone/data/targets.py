"""Targets: class labels to indices, and whether a column of numbers means classes or amounts."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from markone.errors import DataError

Task = Literal["auto", "classification", "regression"]

FEW = 20  # distinct whole numbers up to which they are taken for classes: grades, stars, digits, Likert scales
PER_CLASS = 20  # samples per class from which numbers 0..K-1 are taken for classes however many there are


def task_of(values: NDArray[np.generic]) -> Literal["classification", "regression"]:
    """What a target column (n,) without missing values is for, when nobody says.

    Words and truth values are classes; numbers with fractions are amounts; whole numbers are classes where few differ, or
    where they count 0..K-1 or 1..K with 20 samples each.

    >>> task_of(np.array([0, 1, 1])), task_of(np.array([0.5, 1.0])), task_of(np.arange(1000) * 7)
    ('classification', 'regression', 'regression')
    """
    if values.dtype.kind in "USOb":
        return "classification"
    numbers = values.astype(np.float64)
    if (numbers != np.rint(numbers)).any():
        return "regression"
    distinct = np.unique(numbers)
    counting = distinct[0] in (0, 1) and distinct[-1] - distinct[0] == len(distinct) - 1
    few = len(distinct) <= FEW and 2 * len(distinct) <= max(len(numbers), 4)
    return "classification" if few or (counting and len(numbers) >= PER_CLASS * len(distinct)) else "regression"


def class_indices(values: NDArray[np.generic], *, name: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Indices int64 (n,) into the sorted class names. Raises DataError if there are fewer than two classes."""
    distinct, indices = np.unique(values, return_inverse=True)
    classes = tuple(_class_name(value) for value in distinct.tolist())
    if len(classes) < 2:
        raise DataError(
            "data-one-class",
            f"every sample of {name} is of the class {classes[0]}: to learn a difference, at least two classes are needed.",
        )
    return indices.reshape(-1).astype(np.int64), classes


def _class_name(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def encode_targets(
    values: NDArray[np.generic], *, name: str, task: Task
) -> tuple[NDArray[np.int64] | NDArray[np.float32], tuple[str, ...] | None]:
    """Class indices and class names, or float32 (n, outputs) and None; ``task`` overrides what the values suggest."""
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 2 and task != "regression" and _is_one_hot(values):
        return class_indices(values.argmax(axis=1), name=name)
    if values.ndim == 1 and (task_of(values) if task == "auto" else task) == "classification":
        return class_indices(values, name=name)
    if values.dtype.kind not in "fiub":
        raise DataError(
            "data-target-words",
            f"the target of {name} holds words, so it cannot be a regression's: give task = classification.",
        )
    targets = values.astype(np.float32).reshape(len(values), -1)
    if not np.isfinite(targets).all():
        raise DataError("data-target-not-finite", f"the target of {name} holds NaN or infinity: remove those samples.")
    if (targets == targets[0]).all():
        raise DataError(
            "data-target-constant", f"the target of {name} is {targets[0, 0]:g} everywhere: there is nothing to learn."
        )
    return targets, None


def _is_one_hot(values: NDArray[np.generic]) -> bool:
    if values.dtype.kind not in "fiub" or values.shape[1] < 2:
        return False
    numbers = values.astype(np.float64)
    return bool((((numbers == 0) | (numbers == 1)).all()) and (numbers.sum(axis=1) == 1).all())
