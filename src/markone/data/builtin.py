"""scikit-learn's bundled datasets: real data that needs no network."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from markone.data.dataset import Column, Dataset
from markone.data.digest import content_digest


def read_builtin(name: str) -> Dataset:
    """The bundled set: digits as uint8 pictures (1797, 8, 8, 1) of values 0 to 16, the others as float32 tables."""
    from sklearn import datasets

    bunch: Any = getattr(datasets, f"load_{name.replace('-', '_')}")()
    if name == "digits":
        return _digits(bunch)
    inputs = np.ascontiguousarray(bunch.data, dtype=np.float32)
    targets, classes, outputs = _targets(bunch)
    columns = tuple(Column(str(column), "number") for column in bunch.feature_names)
    digest = content_digest(inputs, targets)
    return Dataset(
        name=name, inputs=inputs, targets=targets, classes=classes, target_names=outputs, columns=columns, digest=digest
    )


def _digits(bunch: Any) -> Dataset:
    inputs = np.ascontiguousarray(bunch.images[..., np.newaxis], dtype=np.uint8)
    targets = bunch.target.astype(np.int64)
    classes = tuple(str(digit) for digit in bunch.target_names)
    digest = content_digest(inputs, targets)
    return Dataset(name="digits", inputs=inputs, targets=targets, classes=classes, digest=digest)


Targets = tuple[NDArray[np.int64] | NDArray[np.float32], tuple[str, ...] | None, tuple[str, ...]]


def _targets(bunch: Any) -> Targets:
    """Targets, class names (None for regression) and output names."""
    names = [str(name).replace("_", " ") for name in getattr(bunch, "target_names", ["disease progression"])]
    if np.issubdtype(bunch.target.dtype, np.integer):
        return bunch.target.astype(np.int64), tuple(names), ("class",)
    return bunch.target.astype(np.float32).reshape(len(bunch.target), -1), None, tuple(names)
