"""Specimens: copies of some of the rows that a watched net is fed, in training and in evaluation, for the datasheet."""

import contextlib
import math
from typing import Any

import torch

from markone.training.datasheet import MOST_BYTES, MOST_TRAINING, MOST_VALIDATION, Shown, datasheet

LEAST_ROWS = 128  # before the sheet is drawn up in the midst of a training
QUICK = 2**19  # numbers of all rows, up to which a sheet takes a few hundredths of a second
MOST_OUTPUTS = 16  # numbers of a target that are kept by row
MEASURED = ("mse", "smooth-l1")
SAID = ("bce", "bce-with-logits")


class Specimens:
    """``shown`` before a pass in training, ``taught`` when its loss is known, ``judged`` before a pass in evaluation."""

    def __init__(self) -> None:
        self._net: str | None = None
        self._shape: tuple[int, ...] = ()
        self._dtype = "float32"
        self._pending: torch.Tensor | None = None
        self._training: list[Shown] = []
        self._validation: list[torch.Tensor] = []
        self._rows = self._judged = self._drawn = 0
        self._sizes: dict[str, float] | None = None

    def shown(self, net: str, batch: "torch.Tensor") -> None:
        """Copies what there is room for; a net may change its input in place."""
        self._pending = None
        if self._net not in (None, net) or not _is_rows(batch) or not self._room(MOST_TRAINING, self._rows, batch):
            return
        self._pending = batch.detach()[: self._room(MOST_TRAINING, self._rows, batch)].to("cpu", copy=True)
        if self._net is None:
            self._dtype = str(batch.dtype).removeprefix("torch.")

    def taught(self, net: str, kind: str, prediction: "torch.Tensor | None", target: "torch.Tensor | None") -> None:
        """The loss of the pass is known: rows and targets are kept together if there is one target for each row."""
        batch, self._pending = self._pending, None
        if batch is None or (self._net is not None and tuple(batch.shape[1:]) != self._shape):
            return
        self._net, self._shape = net, tuple(batch.shape[1:])
        if kind in MEASURED and prediction is not None and target is not None and self._sizes is None:
            self._sizes = {"target": _size(target), "deviation": _deviation(target), "output": _size(prediction)}
        self._training.append(Shown(batch, _kept(kind, target, len(batch))))
        self._rows += len(batch)

    def judged(self, net: str, batch: "torch.Tensor") -> None:
        if net == self._net and _is_rows(batch) and tuple(batch.shape[1:]) == self._shape:
            room = self._room(MOST_VALIDATION, self._judged, batch)
            if room:
                self._validation.append(batch.detach()[:room].to("cpu", copy=True))
                self._judged += room

    def _room(self, most: int, used: int, batch: "torch.Tensor") -> int:
        width = 4 * max(1, batch[0].numel())
        return max(0, min(len(batch), most - used, MOST_BYTES // width - used))

    def fact(self, *, last: bool) -> dict[str, Any] | None:
        """The datasheet; in the midst of a training only where it is quick, and twice as many rows are there as the last time."""
        seen = self._rows + self._judged
        quick = self._rows >= LEAST_ROWS and seen >= 2 * self._drawn and seen * math.prod(self._shape) <= QUICK
        if not self._training or not (last or quick):
            return None
        self._drawn = seen
        with contextlib.suppress(Exception):  # foreign data: what cannot be looked at is not judged
            return self._sheet()
        return None

    def _sheet(self) -> dict[str, Any]:
        taught = [one for one in self._training if one.targets is not None]
        kinds = {(one.targets.dtype, one.targets.shape[1:]) for one in taught if one.targets is not None}
        paired = len(taught) == len(self._training) and len(kinds) == 1
        inputs = torch.cat([one.inputs for one in self._training])
        targets = torch.cat([one.targets for one in taught if one.targets is not None]) if paired else None
        validation = Shown(torch.cat(self._validation)) if self._validation else None
        found = datasheet(Shown(inputs, targets), validation, dtype=self._dtype)
        return {**found, "first_sizes": self._sizes}


def _is_rows(batch: "torch.Tensor") -> bool:
    return batch.is_floating_point() and batch.ndim >= 2 and batch.numel() > 0 and batch.layout is torch.strided


def _kept(kind: str, target: "torch.Tensor | None", rows: int) -> "torch.Tensor | None":
    """Classes (n,), numbers (n, outputs), or None for maps, sequences, masks and several labels at once."""
    if target is None or not target.ndim or len(target) < rows:
        return None
    target = target.detach()[:rows]
    outputs = target[0].numel()
    if kind == "nll" and target.ndim == 1 and not target.is_floating_point():
        return target.to("cpu", torch.int64, copy=True)
    if kind in SAID and outputs == 1:
        flat = target.reshape(rows).to("cpu", torch.float64)
        return flat.long() if bool(((flat == 0) | (flat == 1)).all()) else None
    if kind in MEASURED and outputs <= MOST_OUTPUTS:
        return target.reshape(rows, outputs).to("cpu", torch.float32, copy=True)
    return None


def _size(values: "torch.Tensor") -> float:
    size = float(values.detach().double().square().mean().sqrt())
    return size if math.isfinite(size) else 0.0


def _deviation(values: "torch.Tensor") -> float:
    spread = float(values.detach().double().std(correction=0))
    return spread if math.isfinite(spread) else 0.0
