"""Normalization: statistics of the training part only, applied to whole batches on the device."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from markone.data.dataset import Dataset
from markone.errors import SpecError
from markone.spec import KIND, Spec

if TYPE_CHECKING:
    import torch

    Floats = NDArray[np.float64]

PIECE_BYTES = 2**24  # of the stored samples that are read at a time: eight times that as float64


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
        return Statistics(tuple(mean.tolist()), tuple(np.where(std > 0, std, 1.0).tolist()))


class UnitRange(_Normalization):
    """x -> (x - smallest) / (largest - smallest): [0, 1] over the training part, all channels alike for images."""

    kind: Literal["unit-range"] = Field("unit-range", description="smallest value 0, largest value 1")

    def fit(self, dataset: Dataset, training: NDArray[np.int64]) -> Statistics:
        low, high = extremes(dataset, training)
        if dataset.is_images:
            low, high = np.full_like(low, low.min()), np.full_like(high, high.max())
        return Statistics(tuple(low.tolist()), tuple(np.where(high > low, high - low, 1.0).tolist()))


class Fixed(_Normalization):
    """x -> (x / 255 - mean) / std with given numbers, for nets whose weights were published with theirs; ImageNet's by default."""

    kind: Literal["fixed"] = Field("fixed", description="given means and deviations, in shares of white")
    mean: tuple[float, ...] = Field((0.485, 0.456, 0.406), description="one for each channel, or one for all")
    std: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        (0.229, 0.224, 0.225), description="one for each channel, or one for all"
    )

    def fit(self, dataset: Dataset, training: NDArray[np.int64]) -> Statistics:
        channels = _features(dataset)
        if not dataset.is_images or any(len(given) not in (1, channels) for given in (self.mean, self.std)):
            raise SpecError(
                "normalization-channels",
                f"normalization fixed has {len(self.mean)} means and {len(self.std)} deviations, made for pictures of as many"
                f" channels, and {dataset.name} has {channels} {'channels' if dataset.is_images else 'columns'};"
                " give one for each, or take standardize.",
            )
        mean, std = (np.resize(np.array(given) * 255, channels) for given in (self.mean, self.std))
        return Statistics(tuple(mean.tolist()), tuple(std.tolist()))


NORMALIZATIONS = (Standardize, UnitRange, Fixed)
Normalization = Annotated[Standardize | UnitRange | Fixed, KIND]


def identity(dataset: Dataset) -> Statistics:
    """The statistics that change nothing: what ``normalization = "none"`` uses."""
    features = _features(dataset)
    return Statistics(mean=(0.0,) * features, std=(1.0,) * features)


def moments(dataset: Dataset, indices: NDArray[np.int64]) -> "tuple[Floats, Floats]":
    """Mean and standard deviation (of the population) per channel or column; NaN and infinity are left out.

    In two passes over float64, so that a large mean costs no digits and the deviation of a constant is exactly 0. A column
    without a number has mean 0 and deviation 0.
    """
    if dataset.inputs.dtype == np.uint8:
        return _moments_of_bytes(dataset, indices)
    low, _ = extremes(dataset, indices)
    total, count = np.zeros_like(low), np.zeros_like(low)
    for piece in _finite(dataset, indices):
        total += np.nansum(piece - low, axis=0)
        count += np.isfinite(piece).sum(0)
    count = np.maximum(count, 1)
    mean = low + total / count
    squares = sum((np.nansum((piece - mean) ** 2, axis=0) for piece in _finite(dataset, indices)), np.zeros_like(low))
    return mean, np.sqrt(squares / count)


def _moments_of_bytes(dataset: Dataset, indices: NDArray[np.int64]) -> "tuple[Floats, Floats]":
    """The same from histograms: exact, in one pass and without a float copy of the pictures."""
    histogram = np.zeros((_features(dataset), 256), dtype=np.int64)
    for piece in _pieces(dataset, indices):
        for counts, values in zip(histogram, piece.T, strict=True):
            counts += np.bincount(values, minlength=256)
    values, count = np.arange(256.0), np.maximum(histogram.sum(1), 1)
    mean = histogram @ values / count
    return mean, np.sqrt((histogram * (values - mean[:, None]) ** 2).sum(1) / count)


def extremes(dataset: Dataset, indices: NDArray[np.int64]) -> "tuple[Floats, Floats]":
    """Smallest and largest value per channel or column; NaN and infinity are left out, and a column without a number has 0, 0."""
    low, high = np.full((2, _features(dataset)), np.nan)
    pieces = _pieces(dataset, indices) if dataset.inputs.dtype == np.uint8 else _finite(dataset, indices)
    for piece in pieces:
        low, high = np.fmin(low, np.fmin.reduce(piece)), np.fmax(high, np.fmax.reduce(piece))
    return np.nan_to_num(low), np.nan_to_num(high)


def _pieces(dataset: Dataset, indices: NDArray[np.int64]) -> "Iterator[NDArray[Any]]":
    """The chosen samples piece by piece as (values, features): a piece of a memory map is all that is in memory."""
    rows = max(1, PIECE_BYTES * len(dataset) // max(1, dataset.inputs.nbytes))
    for start in range(0, len(indices), rows):
        yield dataset.inputs[indices[start : start + rows]].reshape(-1, _features(dataset))


def _finite(dataset: Dataset, indices: NDArray[np.int64]) -> "Iterator[Floats]":
    """The pieces in float64, infinity as NaN."""
    for piece in _pieces(dataset, indices):
        wide = piece.astype(np.float64)
        yield np.where(np.isfinite(wide), wide, np.nan)


def _features(dataset: Dataset) -> int:
    return dataset.input_shape[0]


class Normalizer:
    """Statistics on a device: uint8 or float inputs in, standardized float32 out.

    A missing number (NaN) becomes 0: the mean where standardized. Infinity stays infinity, for it is an error to be seen.
    """

    def __init__(self, statistics: Statistics, *, images: bool, device: "torch.device") -> None:
        import torch

        self.images = images
        self._mean = torch.tensor(statistics.mean, dtype=torch.float64, device=device)
        self._std = torch.tensor(statistics.std, dtype=torch.float64, device=device)
        self._tiles = dict[int, tuple[torch.Tensor, torch.Tensor]]()

    def __call__(self, inputs: "torch.Tensor") -> "torch.Tensor":
        """Images (n, height, width, channels) -> (n, channels, height, width), channels last in memory; rows -> rows."""
        import torch

        if self.images:
            scale, shift = self._tiled(inputs.shape[1] * inputs.shape[2])
            flat = inputs.reshape(len(inputs), -1).to(torch.float32, copy=True).mul_(scale).add_(shift)
            return flat.view(inputs.shape).permute(0, 3, 1, 2)
        wide = inputs.double().sub(self._mean).div_(self._std)
        return wide.float().nan_to_num_(nan=0.0, posinf=float("inf"), neginf=float("-inf"))

    def _tiled(self, places: int) -> "tuple[torch.Tensor, torch.Tensor]":
        """1 / std and -mean / std, once for every place of a picture: seven times faster than broadcasting three channels."""
        if places not in self._tiles:
            scale, shift = (1 / self._std).float(), (-self._mean / self._std).float()
            copies = places if len(scale) > 1 else 1
            self._tiles[places] = scale.repeat(copies), shift.repeat(copies)
        return self._tiles[places]
