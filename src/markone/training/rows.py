"""Rows: which samples a watched net was shown, by a hash of a few of their values; and whether they always came in the same order."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

PLACES = 64  # values of a row that are hashed: two different photos that agree in all of them are not met
MOST_ROWS = 200_000  # remembered of each kind: 8 bytes each
FEW_PASSES = 4  # so many evaluations may follow each other step by step
MOST_BATCHES = 4096  # of one epoch, whose order is compared


def first_tensor(arguments: tuple[Any, ...], options: dict[str, Any] | None = None) -> "torch.Tensor | None":
    """The first array that a net was called with: in a list, tuple or dictionary, too."""
    if arguments and type(arguments[0]) is torch.Tensor:
        return arguments[0]
    for value in (*arguments, *(options or {}).values()):
        if isinstance(value, torch.Tensor):
            return value
        if isinstance(value, list | tuple | dict) or hasattr(value, "items"):
            inner = tuple(value.values()) if hasattr(value, "values") else tuple(value)
            found = first_tensor(inner)
            if found is not None:
                return found
    return None


class Rows:
    """Hashes of the rows of batches (n, ...)."""

    def __init__(self) -> None:
        self._keys: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def hashes(self, batch: "torch.Tensor") -> list[int]:
        """One 64-bit number for every row; none for an array without rows."""
        if batch.ndim == 0 or batch.numel() == 0 or batch.is_sparse or batch.is_complex():
            return []
        rows = batch.detach().reshape(len(batch), -1)
        places, factors = self._key(rows)
        values = rows[:, places] if rows.shape[1] > PLACES else rows
        return (_bits(values) * factors[: values.shape[1]]).sum(1).tolist()

    def _key(self, rows: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
        width = rows.shape[1]
        if width not in self._keys:
            draw = np.random.default_rng(width)
            places = np.sort(draw.choice(width, min(PLACES, width), replace=False))
            factors = draw.integers(-(2**62), 2**62, len(places), dtype=np.int64) | 1
            self._keys[width] = (torch.from_numpy(places).to(rows.device), torch.from_numpy(factors).to(rows.device))
        return self._keys[width]


def _bits(values: "torch.Tensor") -> "torch.Tensor":
    """Numbers as 64-bit integers: a number, whatever type held it, always gives the same one.

    The low bits of small whole numbers are all zero, and a product would keep them so: the high ones are folded into them.
    """
    bits = values.double().view(torch.int64)
    return bits ^ (bits >> 32) ^ (bits >> 47)


@dataclass
class Evaluated:
    """The rows that one line evaluates on. unlike: of all rows shown, without those that equal an earlier one of their batch."""

    rows: set[int] = field(default_factory=set)
    shown: int = 0
    unlike: int = 0
    first_step: int = 0
    last_step: int = -1
    passes: int = 0  # steps after which there was one
    judging: int = 0  # of these, in evaluation mode and with the net trained since the one before
    _taught: int = 0

    def passed(self, step: int, *, training: bool, taught: int) -> None:
        """A pass after ``step`` steps of all optimizers and ``taught`` of the net's own."""
        if step == self.last_step:
            return
        self.first_step = step if self.last_step < 0 else self.first_step
        self.judging += not training and taught > self._taught
        self.passes, self.last_step, self._taught = self.passes + 1, step, taught

    @property
    def is_part_of_steps(self) -> bool:
        """Whether it belongs to the steps themselves, as a teacher's or an actor's pass does: at many of them, and no judgement."""
        elapsed = self.last_step - self.first_step + 1
        return self.passes >= FEW_PASSES and 4 * self.passes > elapsed and 2 * self.judging < self.passes

    def add(self, hashes: list[int]) -> None:
        distinct = set(hashes)
        self.rows |= distinct
        self.shown += len(hashes)
        self.unlike += len(distinct)

    @property
    def is_diverse(self) -> bool:
        """Whether rows are seldom alike, so that one that was trained on as well is the same sample."""
        return 2 * self.unlike > self.shown


class Order:
    """Whether batches repeat: ``period`` is the number of batches after which a whole epoch came again in the same order."""

    def __init__(self) -> None:
        self._prints: list[int] = []
        self._last: int | None = None
        self._again = 0
        self.period: int | None = None
        self.over = False

    def look(self, batch: "torch.Tensor") -> None:
        """Takes the next batch of the training."""
        number = _print(batch)
        if number != self._last:  # a closure, or several losses of one batch, show it again
            self._last = number
            self._next(number)

    def _next(self, number: int) -> None:
        known = self._prints
        if self._again and self.period is not None:
            if number != known[self._again % self.period]:
                self.over, self.period = True, None
                return
            self._again += 1
            self.over = self._again >= 2 * self.period
            return
        if known and number == known[0]:
            self.period, self._again = len(known), len(known) + 1
            return
        known.append(number)
        self.over = len(known) >= MOST_BATCHES

    @property
    def repeats(self) -> bool:
        """Whether a second epoch was the first one again, batch by batch."""
        return self.period is not None and self.period > 1 and self._again >= 2 * self.period


def _print(batch: "torch.Tensor") -> int:
    """A few numbers of a batch, from other rows and other places of a row each: corners of photos are all alike."""
    count = batch.numel()
    stride = max(1, count // 17) | 1
    first = stride // 2
    if first + 15 * stride < count and not batch.requires_grad and batch.is_contiguous():
        return hash(tuple(batch.as_strided((16,), (stride,), batch.storage_offset() + first).tolist()))
    return hash(tuple(batch.detach().reshape(-1)[first::stride][:16].tolist()))
