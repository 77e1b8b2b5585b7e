"""Dataset: what every reader gives and everything else takes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray


class Part(IntEnum):
    """The three parts of a dataset, and what is left out of all of them."""

    LEFT_OUT = -1
    TRAINING = 0
    VALIDATION = 1
    TEST = 2

    @property
    def label(self) -> str:
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True)
class SetAside:
    """A file or row that is not used, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Column:
    """One input column of a table as the net sees it.

    ``source`` is the column of the file; ``role`` says what was made of it: its number, whether it was missing, or whether
    it equals ``category``.
    """

    source: str
    role: Literal["number", "missing", "category"]
    category: str | None = None

    @property
    def name(self) -> str:
        return {"number": self.source, "missing": f"{self.source} is missing"}.get(
            self.role, f"{self.source} = {self.category}"
        )


@dataclass(frozen=True, eq=False)
class Dataset:
    """All samples of one source, read-only.

    inputs: images as uint8 (n, height, width, channels), often memory-mapped; tables as float32 (n, columns), NaN where a
        number is missing.
    targets: classification int64 (n,); regression float32 (n, outputs).
    classes: class names in index order; None for regression.
    target_names: names of the regression outputs.
    parts: int8 (n,) of Part where the source itself gives parts, UNASSIGNED elsewhere; None when it gives none.
    groups: int64 (n,), samples of one group never sit on two sides; None without groups.
    names: what a sample is called in messages (a path, a row number); None means its index.
    set_aside: files and rows that are not used; odd: files that are used in spite of something.
    mask_classes: what the values of masks are called, from 0 on; None where there are no masks, or only numbers.
    extras: further arrays of n rows, such as ``mask`` uint8 (n, height, width) and ``caption`` str (n,).
    mirrored: whether a left-right mirror keeps the label (photos yes, digits no).
    """

    name: str
    inputs: NDArray[np.uint8] | NDArray[np.float32]
    targets: NDArray[np.int64] | NDArray[np.float32]
    classes: tuple[str, ...] | None = None
    target_names: tuple[str, ...] = ("target",)
    columns: tuple[Column, ...] = ()
    parts: NDArray[np.int8] | None = None
    groups: NDArray[np.int64] | None = None
    names: tuple[str, ...] | None = None
    set_aside: tuple[SetAside, ...] = ()
    odd: tuple[SetAside, ...] = ()
    notes: tuple[str, ...] = ()
    mask_classes: tuple[str, ...] | None = None
    extras: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    mirrored: bool = False
    digest: str = ""

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def is_images(self) -> bool:
        return self.inputs.ndim == 4

    @property
    def is_classification(self) -> bool:
        return self.classes is not None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(channels, height, width) of an image, (columns,) of a table row."""
        if self.is_images:
            _, height, width, channels = self.inputs.shape
            return (channels, height, width)
        return self.inputs.shape[1:]

    def sample_name(self, index: int) -> str:
        return self.names[index] if self.names else f"#{index}"


UNASSIGNED = np.int8(-2)
