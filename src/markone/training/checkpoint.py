"""Checkpoints: taken without stalling the loop, written by one thread, whole or not there at all.

A checkpoint is ``checkpoint/STEP/`` with safetensors for weights, optimizer and average, and JSON for the numbers. It is written as
``.STEP.partial`` and renamed; then older ones go. Nothing is ever pickled.
"""

import json
import os
import shutil
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markone.errors import TrainingError

if TYPE_CHECKING:
    import torch

Tensors = dict[str, "torch.Tensor"]

# Epochs of a few milliseconds must not make writing the main work: after a write of t seconds it rests for 10 t.
REST = 10


@dataclass(frozen=True)
class Snapshot:
    """Copies of everything that a training needs to go on: tensors by file, numbers, and the best weights if they are new."""

    step: int
    tensors: Mapping[str, Tensors]
    numbers: dict[str, Any]
    best: Tensors | None = None


def take(state: Mapping[str, Any], numbers: dict[str, Any], *, step: int, best: Tensors | None = None) -> Snapshot:
    """A snapshot of nested state dicts (``net``, ``optimizer``, ``average``): tensors are copied, so the loop may go on."""
    tensors, plain = {}, {}
    for file, nested in state.items():
        found: Tensors = {}
        plain[file] = _plain(nested, file, found)
        tensors[file] = found
    return Snapshot(step, tensors, {**numbers, "step": step, "state": plain}, best)


def copy_tensors(state: Mapping[str, Any]) -> Tensors:
    """Contiguous copies on the host, as safetensors wants them."""
    return {name: _copy(value) for name, value in state.items()}


class CheckpointWriter:
    """Writes snapshots in a thread; while it writes, only the newest waiting snapshot is kept, and a best is never lost."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._waiting: Snapshot | None = None
        self._closing = self._writing = False
        self._rested_at = 0.0
        self._failure: BaseException | None = None
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None

    @property
    def ready(self) -> bool:
        """Whether it has nothing to do and has rested: then a snapshot is worth its copies."""
        return self._waiting is None and not self._writing and time.monotonic() >= self._rested_at

    def submit(self, snapshot: Snapshot) -> None:
        """Hands a snapshot over and returns at once. Raises what an earlier write failed with (a full disk, say)."""
        self._raise_failure()
        with self._wake:
            if snapshot.best is None and self._waiting is not None:
                snapshot = Snapshot(snapshot.step, snapshot.tensors, snapshot.numbers, self._waiting.best)
            self._waiting = snapshot
            self._wake.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="markone-checkpoint", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Waits until the newest snapshot is on disk."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise TrainingError(
                "checkpoint-failed", f"cannot write a checkpoint into {self.folder}: {failure}."
            ) from failure

    def _work(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._waiting is not None or self._closing)
                snapshot, self._waiting, self._writing = self._waiting, None, True
            if snapshot is None:
                return
            began = time.monotonic()
            try:
                write(self.folder, snapshot)
            except BaseException as error:
                self._failure = error
            self._rested_at = began + (1 + REST) * (time.monotonic() - began)
            self._writing = False


def write(folder: Path, snapshot: Snapshot) -> None:
    """Writes the best weights, then the checkpoint that speaks of them, then removes older checkpoints."""
    if snapshot.best is not None:
        write_tensors(folder / "net.safetensors", snapshot.best)
    root = folder / "checkpoint"
    final, aside = root / f"{snapshot.step:09d}", root / f".{snapshot.step:09d}.partial"
    if final.exists():
        return
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    for name, tensors in snapshot.tensors.items():
        write_tensors(aside / f"{name}.safetensors", tensors)
    with (aside / "state.json").open("w", encoding="utf-8") as file:
        json.dump(snapshot.numbers, file)
        file.flush()
        os.fsync(file.fileno())
    aside.rename(final)
    for old in root.iterdir():
        if old != final:
            shutil.rmtree(old, ignore_errors=True)


def write_tensors(path: Path, tensors: Tensors) -> None:
    """A safetensors file, written aside, flushed to disk and renamed."""
    from safetensors.torch import save

    aside = path.with_name(f".{path.name}.partial")
    with aside.open("wb") as file:
        file.write(save(tensors))
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def read_latest(folder: Path) -> dict[str, Any] | None:
    """The newest whole checkpoint as ``{"net": {...}, "optimizer": {...}, "step": ..., ...}``; None if there is none yet."""
    from safetensors.torch import load_file

    root = folder / "checkpoint"
    whole = sorted(path for path in root.glob("[0-9]*") if (path / "state.json").is_file()) if root.is_dir() else []
    if not whole:
        return None
    numbers: dict[str, Any] = json.loads((whole[-1] / "state.json").read_text(encoding="utf-8"))
    plain = numbers.pop("state")
    for file, nested in plain.items():
        numbers[file] = _nested(nested, load_file(whole[-1] / f"{file}.safetensors"))
    return numbers


# A nested state dict becomes JSON in which {"tensor": name} stands for a tensor; JSON keys are text, so the keys of a dict that has
# others (optimizers number their parameters) are kept as pairs.


def _plain(value: Any, path: str, found: Tensors) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        found[path] = _copy(value)
        return {"tensor": path}
    if isinstance(value, Mapping):
        return {"pairs": [[key, _plain(inner, f"{path}.{key}", found)] for key, inner in value.items()]}
    if isinstance(value, list | tuple):
        return {"list": [_plain(inner, f"{path}.{index}", found) for index, inner in enumerate(value)]}
    return {"value": value}


def _nested(value: Any, found: Tensors) -> Any:
    ((form, content),) = value.items()
    if form == "tensor":
        return found[content]
    if form == "pairs":
        return {key: _nested(inner, found) for key, inner in content}
    if form == "list":
        return [_nested(inner, found) for inner in content]
    return content


def _copy(value: "torch.Tensor") -> "torch.Tensor":
    import torch

    host = value.detach().to("cpu", copy=True)
    return host.contiguous(memory_format=torch.contiguous_format)
