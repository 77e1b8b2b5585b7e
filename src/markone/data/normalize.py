"""Normalization: statistics of the training part only, applied to whole batches on the device."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from markone.data.dataset import Dataset
from markone.spec import Spec, family

if TYPE_CHECKING:
    import torch

CHUNK = 4096


@dataclass(frozen=True)
class Statistics:
    """What ``x -> (x - mean) / std`` needs: one number per channel of an image, or per column of a table."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"mean": list(self.mean), "std": list(self.std)}

    @staticmethod
    def from_dict(data: dict[str, Any]) -> "Statistics":
        return Statistics(mean=tuple(data["mean"]), std=tuple(data["std"]))


class _Normalization(Spec):
    @abstractmethod
    def fit(self, dataset: Dataset, training: NDArray[np.int64]) -> Statistics:
        """The statistics, from the samples with these indices alone."""


class Standardize(_Normalization):
    """x -> (x - mean) / standard deviation, per channel or column.

    LeCun, Bottou, Orr and Müller, "Efficient BackProp" (1998), section 4.3. A constant channel is only centred.
    """

    kind: Literal["standardize"] = Field("standardize", description="mean 0 and standard deviation 1")

    def fit(self, dataset: Dataset, training: NDArray[np.int64]) -> Statistics:
        mean, std = moments(dataset, training)
        return Statistics(mean=tuple(map(float, mean)), std=tuple(float(s) if s > 1e-12 else 1.0 for s in std))


class UnitRange(_Normalization):
    """x -> (x - smallest) / (largest - smallest): [0, 1] over the training part, all channels alike for images."""

    kind: Literal["unit-range"] = Field("unit-range", description="smallest value 0, largest value 1")

    def fit(self, dataset: Dataset, training: NDArray[np.int64]) -> Statistics:
        part = dataset.inputs[training]
        axis = None if dataset.is_images else 0
        low = np.broadcast_to(np.nanmin(part, axis=axis), _features(dataset)).astype(float)
        span = np.broadcast_to(np.nanmax(part, axis=axis), _features(dataset)).astype(float) - low
        return Statistics(mean=tuple(map(float, low)), std=tuple(float(s) if s > 0 else 1.0 for s in span))


Normalization = family(Standardize | UnitRange)
NORMALIZATIONS = (Standardize, UnitRange)


def identity(dataset: Dataset) -> Statistics:
    """The statistics that change nothing: what ``normalization = "none"`` uses."""
    features = _features(dataset)
    return Statistics(mean=(0.0,) * features, std=(1.0,) * features)


def moments(dataset: Dataset, indices: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation per channel or column, in float64, NaN left out; chunked, so memory stays small."""
    features = _features(dataset)
    total, square, count = np.zeros(features), np.zeros(features), np.zeros(features)
    for start in range(0, len(indices), CHUNK):
        rows = dataset.inputs[indices[start : start + CHUNK]]
        if rows.dtype == np.uint8:  # a histogram is exact and needs no float copy of the pictures
            values = np.arange(256, dtype=np.float64)
            flat = rows.reshape(-1, features)
            histogram = np.stack([np.bincount(flat[:, c], minlength=256) for c in range(features)])
            total, square = total + histogram @ values, square + histogram @ values**2
            count = count + histogram.sum(1)
        else:
            wide = rows.astype(np.float64)
            total, square = total + np.nansum(wide, 0), square + np.nansum(wide**2, 0)
            count = count + np.isfinite(wide).sum(0)
    count = np.maximum(count, 1)
    mean = total / count
    return mean, np.sqrt(np.maximum(square / count - mean**2, 0))


def _features(dataset: Dataset) -> int:
    return dataset.input_shape[0]


class Normalizer:
    """Statistics on a device: uint8 or float inputs in, standardized float32 out; missing numbers become the mean."""

    def __init__(self, statistics: Statistics, *, images: bool, device: "torch.device") -> None:
        import torch

        std = torch.tensor(statistics.std, dtype=torch.float64)
        mean = torch.tensor(statistics.mean, dtype=torch.float64)
        shape = (1, -1, 1, 1) if images else (1, -1)
        self.scale = (1 / std).to(device, torch.float32).reshape(shape)
        self.shift = (-mean / std).to(device, torch.float32).reshape(shape)
        self.images = images

    def __call__(self, inputs: "torch.Tensor") -> "torch.Tensor":
        """Images (n, height, width, channels) -> (n, channels, height, width), channels last in memory; rows -> rows."""
        if self.images:
            return inputs.permute(0, 3, 1, 2).float().mul_(self.scale).add_(self.shift)
        return (inputs * self.scale).add_(self.shift).nan_to_num_(nan=0.0)
