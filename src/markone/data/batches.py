"""Batches: from a Dataset to tensors on the device; a batch is one gather, never a loop over samples.

What fits lives on the device as uint8. What does not is read from the memory map by one thread, a batch ahead. The order is a
function of (seed, epoch, place), so a training resumed in the middle of an epoch sees exactly the batches it would have seen.
"""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from markone.data.augment import Augmentation, Mix, mix, move_both, vary
from markone.data.dataset import Dataset
from markone.data.normalize import Normalizer, Statistics
from markone.device import memory_bytes
from markone.seeds import torch_generator

if TYPE_CHECKING:
    import torch

RESIDENT_SHARE = 0.4  # of the device's memory: the rest is for weights, activations and everybody else
PIECE_ROWS = 2**16  # of a table that are standardized at a time: the float64 in between stays small
AHEAD = 2  # batches that are being read while one is used: one would leave the reader idle while it is handed over


@dataclass(frozen=True)
class Batch:
    """Standardized inputs (n, channels, height, width) or (n, columns), targets (n, ...), and the mix if mixup is on."""

    inputs: "torch.Tensor"
    targets: "torch.Tensor"
    mix: Mix | None = None

    def __len__(self) -> int:
        return len(self.targets)


class Store:
    """All inputs and targets of a dataset as tensors, on the device where they fit."""

    def __init__(
        self, dataset: Dataset, targets: "torch.Tensor", statistics: Statistics, *, device: "torch.device"
    ) -> None:
        import torch

        self.device = device
        self.images = dataset.is_images
        self.normalizer = Normalizer(statistics, images=self.images, device=device)
        self.targets = targets.to(device)
        self.resident = dataset.inputs.nbytes <= RESIDENT_SHARE * _device_memory(device)
        self.home = device if self.resident else torch.device("cpu")
        if not self.resident:
            self._mapped = dataset.inputs
            return
        self.inputs = torch.from_numpy(np.array(dataset.inputs)).to(device)
        if not self.images:  # a table is standardized once: its batches are gathers and nothing else
            for piece in self.inputs.split(PIECE_ROWS):
                piece.copy_(self.normalizer(piece))

    def rows(self, indices: NDArray[np.int64]) -> "torch.Tensor":
        """Indices of samples as a tensor where ``take`` wants them: beside the inputs."""
        import torch

        return torch.from_numpy(indices.astype(np.int64)).to(self.home)

    def take(self, rows: "torch.Tensor") -> "torch.Tensor":
        """Rows as stored (bytes of images, numbers of tables), on the device."""
        import torch

        if self.resident:
            return self.inputs.index_select(0, rows)
        return torch.from_numpy(self._mapped[rows.numpy()]).to(self.device)

    def targets_of(self, rows: "torch.Tensor") -> "torch.Tensor":
        """The targets of the same rows, on the device."""
        return self.targets.index_select(0, rows.to(self.device))

    def standardized(self, rows: "torch.Tensor") -> "torch.Tensor":
        """Rows as float32 that the net takes."""
        return self.prepared(self.take(rows))

    def prepared(self, raw: "torch.Tensor") -> "torch.Tensor":
        """Standardized float32 from what ``take`` gave."""
        done = self.resident and not self.images
        return raw if done else self.normalizer(raw)


class Batches:
    """The training part, epoch after epoch; the last incomplete batch of an epoch is left to the next epochs' orders."""

    def __init__(
        self, store: Store, rows: NDArray[np.int64], *, batch_size: int, augmentation: Augmentation, seed: int
    ) -> None:
        self.store = store
        self.rows = store.rows(rows)
        self.batch_size = min(batch_size, len(rows))
        self.augmentation = augmentation
        self.seed = seed
        self._moves = store.images and augmentation.moves_pixels
        self._varies = store.images and augmentation.varies_values
        self._random = self._moves or self._varies or augmentation.mixup is not None

    def __len__(self) -> int:
        """Batches in one epoch."""
        return len(self.rows) // self.batch_size

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, from place ``start`` on."""
        import torch

        order = torch.randperm(len(self.rows), generator=torch_generator(self.seed, "order", epoch))
        rows = self.rows[order.to(self.rows.device)]
        places = range(start, len(self))
        if self.store.resident:
            for place in places:
                yield self._batch(rows, epoch, place)
        else:
            yield from self._prefetched(rows, epoch, places)

    def _prefetched(self, rows: "torch.Tensor", epoch: int, places: range) -> Iterator[Batch]:
        """The same batches, made by a thread two ahead; it ends with the epoch, also where the reader leaves early."""
        with ThreadPoolExecutor(1) as thread:
            ahead = deque(thread.submit(self._batch, rows, epoch, place) for place in places[:AHEAD])
            for place in places:
                batch = ahead.popleft().result()
                if place + AHEAD in places:
                    ahead.append(thread.submit(self._batch, rows, epoch, place + AHEAD))
                yield batch

    def _batch(self, rows: "torch.Tensor", epoch: int, place: int) -> Batch:
        chosen = rows[place * self.batch_size : (place + 1) * self.batch_size]
        store, spec = self.store, self.augmentation
        raw, targets = store.take(chosen), store.targets_of(chosen)
        if not self._random:
            return Batch(store.prepared(raw), targets)
        generator = torch_generator(self.seed, "augment", epoch, place, device=str(store.device))
        if self._moves:
            raw, targets = move_both(raw, targets, spec, generator)
        inputs = store.prepared(raw)
        if self._varies:
            inputs = vary(inputs, spec, generator)
        if spec.mixup is None:
            return Batch(inputs, targets)
        pairing = mix(len(chosen), spec.mixup, generator)
        return Batch(pairing.blend(inputs), targets, pairing)


def in_order(store: Store, rows: NDArray[np.int64], *, batch_size: int) -> Iterator[Batch]:
    """Every row once, in the given order, unaugmented: for evaluation."""
    for chosen in store.rows(rows).split(batch_size):
        yield Batch(store.standardized(chosen), store.targets_of(chosen))


def _device_memory(device: "torch.device") -> int:
    import torch

    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return memory_bytes()
