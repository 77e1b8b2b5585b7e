"""Batches: from a Dataset to tensors on the device; a batch is one gather, never a loop over samples.

What fits lives on the device as uint8. What does not is read from the memory map by one thread, a batch ahead. The order is a
function of (seed, epoch, place), so a training resumed in the middle of an epoch sees exactly the batches it would have seen.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from markone.data.augment import Augmentation, Mix, gather, mix, vary
from markone.data.dataset import Dataset
from markone.data.normalize import Normalizer, Statistics
from markone.device import memory_bytes
from markone.seeds import torch_generator

if TYPE_CHECKING:
    import torch

RESIDENT_SHARE = 0.4  # of the device's memory: the rest is for weights, activations and everybody else


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
        self.resident = dataset.inputs.nbytes <= RESIDENT_SHARE * _device_memory(device)
        inputs = np.array(dataset.inputs) if self.resident else dataset.inputs
        self.inputs = torch.from_numpy(inputs)
        if self.resident:
            self.inputs = self.inputs.to(device)
            if not self.images:  # a table is standardized once: its batches are gathers and nothing else
                self.inputs = self.normalizer(self.inputs)
        self.targets = targets.to(device)

    def take(self, rows: "torch.Tensor") -> "torch.Tensor":
        """Rows as stored (bytes of images, numbers of tables), on the device."""
        if self.resident:
            return self.inputs.index_select(0, rows)
        return self.inputs[rows.cpu()].to(self.device, non_blocking=True)

    def standardized(self, rows: "torch.Tensor") -> "torch.Tensor":
        return self.prepared(self.take(rows))

    def prepared(self, raw: "torch.Tensor") -> "torch.Tensor":
        """Standardized float32 from what ``take`` or an augmented gather gave."""
        done = self.resident and not self.images
        return raw if done else self.normalizer(raw)


class Batches:
    """The training part, epoch after epoch; the last incomplete batch of an epoch is left to the next epochs' orders."""

    def __init__(
        self, store: Store, rows: NDArray[np.int64], *, batch_size: int, augmentation: Augmentation, seed: int
    ) -> None:
        import torch

        self.store = store
        self.rows = torch.from_numpy(rows.astype(np.int64)).to(store.device)
        self.batch_size = min(batch_size, len(rows))
        self.augmentation = augmentation
        self.seed = seed
        self._moves = augmentation.moves_pixels and store.images
        self._varies = any((augmentation.brightness, augmentation.contrast, augmentation.colour, augmentation.cutout))
        self._random = self._moves or self._varies or augmentation.mixup is not None

    def __len__(self) -> int:
        """Batches in one epoch."""
        return len(self.rows) // self.batch_size

    def epoch(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, from place ``start`` on."""
        import torch

        order = torch.randperm(len(self.rows), generator=torch_generator(self.seed, "order", epoch))
        rows = self.rows[order.to(self.store.device)]
        places = range(start, len(self))
        if self.store.resident:
            for place in places:
                yield self._batch(rows, epoch, place)
        else:
            yield from self._prefetched(rows, epoch, places)

    def _prefetched(self, rows: "torch.Tensor", epoch: int, places: range) -> Iterator[Batch]:
        with ThreadPoolExecutor(1) as thread:
            ahead = [thread.submit(self._batch, rows, epoch, place) for place in places[:2]]
            for place in places:
                batch = ahead.pop(0).result()
                if place + 2 in places:
                    ahead.append(thread.submit(self._batch, rows, epoch, place + 2))
                yield batch

    def _batch(self, rows: "torch.Tensor", epoch: int, place: int) -> Batch:
        chosen = rows[place * self.batch_size : (place + 1) * self.batch_size]
        store, spec = self.store, self.augmentation
        targets = store.targets.index_select(0, chosen)
        if not self._random:
            return Batch(store.standardized(chosen), targets)
        generator = torch_generator(self.seed, "augment", epoch, place, device=store.device.type)
        raw = self._moved(chosen, generator) if self._moves else store.take(chosen)
        inputs = store.prepared(raw)
        if self._varies and store.images:
            inputs = vary(inputs, spec, generator)
        if spec.mixup is None:
            return Batch(inputs, targets)
        pairing = mix(len(chosen), spec.mixup, generator)
        inputs = inputs * pairing.share + inputs[pairing.partner] * (1 - pairing.share)
        return Batch(inputs, targets, pairing)

    def _moved(self, chosen: "torch.Tensor", generator: "torch.Generator") -> "torch.Tensor":
        store = self.store
        if store.resident:
            return gather(store.inputs, chosen, self.augmentation, generator)
        import torch

        local = store.take(chosen)
        return gather(local, torch.arange(len(chosen), device=local.device), self.augmentation, generator)


def in_order(store: Store, rows: NDArray[np.int64], *, batch_size: int) -> Iterator[Batch]:
    """Every row once, in the given order, unaugmented: for evaluation."""
    import torch

    chosen = torch.from_numpy(rows.astype(np.int64)).to(store.device)
    for piece in chosen.split(batch_size):
        yield Batch(store.standardized(piece), store.targets.index_select(0, piece))


def _device_memory(device: "torch.device") -> int:
    import torch

    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return memory_bytes()
