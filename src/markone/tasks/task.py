"""The contract of a Task: targets into tensors, scores into metrics and predictions."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from markone.data.dataset import Dataset
from markone.errors import SpecError
from markone.spec import Spec

if TYPE_CHECKING:
    import torch

    from markone.losses import LossSpec
    from markone.nets import NetSpec


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float
    method: str

    def to_dict(self) -> dict[str, Any]:
        return {"value": self.value, "low": self.low, "high": self.high, "level": 0.95, "method": self.method}


@dataclass(frozen=True)
class TargetCode:
    """How targets are written for the net, and read back: class names, or the scale of each regression output."""

    classes: tuple[str, ...] | None = None
    names: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {
            "classes": list(self.classes) if self.classes else None,
            "names": list(self.names),
            "mean": list(self.mean),
            "std": list(self.std),
        }

    @staticmethod
    def from_dict(data: dict[str, Any]) -> "TargetCode":
        return TargetCode(
            classes=tuple(data["classes"]) if data["classes"] else None,
            names=tuple(data["names"]),
            mean=tuple(data["mean"]),
            std=tuple(data["std"]),
        )


class TaskSpec(Spec):
    """What a training is for. A member states its main metric and whether more of it is better."""

    kind: str
    metric: ClassVar[str]
    higher_is_better: ClassVar[bool]
    gives: ClassVar[Literal["scores", "maps"]] = "scores"
    """What a net must give: scores of the whole sample, or maps with scores for each of its pixels."""

    @abstractmethod
    def code(self, dataset: Dataset, training: NDArray[np.int64]) -> TargetCode:
        """The code, from the training part alone. Raises SpecError if the dataset is for another task."""

    @abstractmethod
    def targets(self, dataset: Dataset, code: TargetCode) -> "torch.Tensor":
        """All targets as one tensor of n rows."""

    @abstractmethod
    def outputs(self, code: TargetCode, loss: "LossSpec") -> int:
        """How many scores the net gives a sample."""

    def kept(self, scores: "torch.Tensor", targets: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
        """What metrics need of one batch, a row a sample: scores and targets as they are, unless they are maps."""
        return scores, targets

    @abstractmethod
    def blind_guess(self, targets: "torch.Tensor", code: TargetCode) -> dict[str, float]:
        """The best value of metrics that a constant output reaches on these targets."""

    @abstractmethod
    def metrics(self, scores: "torch.Tensor", targets: "torch.Tensor", code: TargetCode) -> dict[str, float]:
        """The metrics of what was ``kept``, in original units."""

    @abstractmethod
    def intervals(
        self, scores: "torch.Tensor", targets: "torch.Tensor", code: TargetCode, *, seed: int
    ) -> dict[str, Interval]:
        """The metrics with 95 % intervals, for the sealed test."""

    @abstractmethod
    def present(self, scores: "torch.Tensor", code: TargetCode, loss: "LossSpec") -> list[dict[str, Any]]:
        """One plain dictionary a sample, as ``markone predict`` prints it."""

    def require_net(self, net: "NetSpec") -> None:
        """Raises SpecError if the net gives scores where maps are needed, or maps where scores are."""
        if net.gives == self.gives:
            return
        if self.gives == "maps":
            raise SpecError(
                "task-net",
                f"task {self.kind} needs scores for every pixel, and net {net.kind} gives them for the whole picture; set"
                " net.kind to one that gives maps, such as unet, fcn-8 or encoder-decoder.",
            )
        raise SpecError(
            "task-net",
            f"net {net.kind} gives scores for every pixel, and task {self.kind} needs them for the whole sample; set"
            " task.kind=segmentation, or net.kind to one such as convnet or resnet-18.",
        )

    def better(self, new: dict[str, float], old: dict[str, float] | None) -> bool:
        """Whether ``new`` is better by the main metric, ties decided by the loss; NaN is worse than any number."""
        return old is None or self._rank(new) > self._rank(old)

    def _rank(self, metrics: dict[str, float]) -> tuple[float, ...]:
        sign = 1 if self.higher_is_better else -1
        rank = (sign * metrics[self.metric], -metrics["loss"])
        return tuple(-math.inf if math.isnan(value) else value for value in rank)

    def less(self, value: float, amount: float) -> float:
        """A value of the main metric made worse by ``amount``."""
        return value - amount if self.higher_is_better else value + amount
