"""Resumption: what a script reads back from a checkpoint, and what of it goes on from where it was."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import ref

from markone.training import copies
from markone.training.places import users_line

if TYPE_CHECKING:
    import torch
    from torch import nn

    from markone.training.windows import Descent

MOST_CHECKPOINTS = 8


@dataclass(eq=False)
class Checkpoint:
    """A file that held an optimizer's state beside a net's. The file's tensors are not kept alive."""

    path: str
    place: str | None
    keys: frozenset[str]
    tensors: "list[ref[torch.Tensor]]"
    shapes: list[tuple[int, ...] | None]  # of the running means, by parameter
    steps: float | None
    epoch: int | None  # of the schedule
    net: "ref[nn.Module] | None" = None
    written_again: bool = False

    def fits(self, descent: "Descent") -> bool:
        """Whether an optimizer could have taken the state: it holds parameters of the same shapes in the same order."""
        parameters = descent.parameters
        return len(parameters) == len(self.shapes) and all(
            shape is None or shape == tuple(one.shape) for shape, one in zip(self.shapes, parameters, strict=True)
        )

    def feeds(self, descent: "Descent") -> bool:
        """Whether the net that it was read into is what an optimizer trains."""
        net = self.net() if self.net is not None else None
        held = {id(one) for one in descent.parameters}
        return net is not None and any(id(one) in held for one in net.parameters())


class Resumption:
    """All checkpoints that were read, and whether optimizers and schedules took anything of them."""

    def __init__(self) -> None:
        self.checkpoints: list[Checkpoint] = []
        self.optimizer_taken = self.schedule_taken = False

    def loaded(self, file: Any, content: Any) -> None:
        """torch.load has given back ``content``."""
        if not isinstance(content, dict) or len(self.checkpoints) >= MOST_CHECKPOINTS:
            return
        states = [one for one in content.values() if _is_optimizer(one)]
        if len(states) != 1 or not states[0]["state"]:
            return
        nets = [one for one in content.values() if isinstance(one, dict) and not _is_optimizer(one)]
        tensors = [ref(value) for net in nets for value in net.values() if _is_tensor(value)]
        if not tensors:
            return
        schedules = [
            one for one in content.values() if isinstance(one, dict) and {"last_epoch", "_step_count"} <= one.keys()
        ]
        epoch = int(schedules[0]["last_epoch"]) if len(schedules) == 1 else None
        keys = frozenset(str(key) for key in content)
        shapes, steps = _shapes(states[0]), _steps(states[0])
        self.checkpoints.append(Checkpoint(_path(file), users_line(), keys, tensors, shapes, steps, epoch))

    def into_net(self, net: "nn.Module", state: Any) -> None:
        """A net takes a state dict: whose tensors are those of a file, if it was read from one."""
        if not self.checkpoints or not hasattr(state, "values"):
            return
        given = {id(one) for one in state.values() if _is_tensor(one)}
        for checkpoint in self.checkpoints:
            if any(id(alive) in given for one in checkpoint.tensors if (alive := one()) is not None):
                checkpoint.net = ref(net)

    def took(self, taker: Any) -> None:
        """An optimizer or a schedule takes a state dict."""
        if not self.checkpoints:
            return
        if hasattr(taker, "param_groups"):
            self.optimizer_taken = True
        else:
            self.schedule_taken = True

    def saved(self, content: Any, file: Any) -> None:
        """torch.save is called: over the very file that was read, with the same parts, is going on with it."""
        if isinstance(content, dict):
            keys, path = frozenset(str(key) for key in content), _path(file)
            for checkpoint in self.checkpoints:
                checkpoint.written_again |= bool(path) and path == checkpoint.path and keys == checkpoint.keys

    def lost(self, descent: "Descent", fresh_schedule: bool) -> dict[str, Any] | None:
        """What an optimizer's training began without, though its net went on; None where nothing is lost."""
        for checkpoint in self.checkpoints:
            parts = []
            if not self.optimizer_taken and checkpoint.fits(descent):
                parts.append("optimizer")
            if not self.schedule_taken and fresh_schedule and checkpoint.epoch:
                parts.append("schedule")
            if parts and checkpoint.feeds(descent):
                return {"parts": parts, "file": checkpoint.path, "steps_before": checkpoint.steps, "at": checkpoint.place,
                        "epoch": checkpoint.epoch, "same_file": checkpoint.written_again}  # fmt: skip
        return None


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "data_ptr")


def _is_optimizer(value: Any) -> bool:
    return isinstance(value, dict) and {"state", "param_groups"} <= value.keys() and isinstance(value["state"], dict)


def _shapes(state: dict[str, Any]) -> list[tuple[int, ...] | None]:
    """By parameter, the shape of what the optimizer keeps of it; None where it keeps nothing of that shape."""
    found: list[tuple[int, ...] | None] = []
    for key in (one for group in state["param_groups"] for one in group["params"]):
        tensors = [one for one in copies.tensors_in(list(state["state"].get(key, {}).values())) if one.ndim]
        found.append(tuple(tensors[0].shape) if tensors else None)
    return found


def _steps(state: dict[str, Any]) -> float | None:
    first: Any = next(iter(state["state"].values()), {})
    return float(first["step"]) if isinstance(first, dict) and "step" in first else None


def _path(file: Any) -> str:
    import os

    return os.path.realpath(os.fspath(file)) if isinstance(file, str | os.PathLike) else ""
