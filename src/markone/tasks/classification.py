"""Classification: one class of several."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from markone.data.dataset import Dataset
from markone.errors import SpecError
from markone.tasks.task import Interval, TargetCode, TaskSpec

if TYPE_CHECKING:
    import torch

    from markone.losses import LossSpec


class Classification(TaskSpec):
    """Each sample belongs to one of K classes; judged by accuracy."""

    kind: Literal["classification"] = Field("classification", description="one class of several")
    metric: ClassVar[str] = "accuracy"
    higher_is_better: ClassVar[bool] = True

    def code(self, dataset: Dataset, training: NDArray[np.int64]) -> TargetCode:
        if dataset.classes is None:
            raise SpecError(
                "task-mismatch", f"{dataset.name} has numbers as targets, not classes; set task.kind=regression."
            )
        return TargetCode(classes=dataset.classes)

    def targets(self, dataset: Dataset, code: TargetCode) -> "torch.Tensor":
        import torch

        return torch.from_numpy(np.asarray(dataset.targets, dtype=np.int64))

    def outputs(self, code: TargetCode, loss: "LossSpec") -> int:
        return loss.outputs(len(code.classes or ()))

    def blind_guess(self, targets: "torch.Tensor", code: TargetCode) -> dict[str, float]:
        counts = np.bincount(targets.numpy(), minlength=len(code.classes or ()))
        return {"accuracy": float(counts.max() / counts.sum())}

    def metrics(self, scores: "torch.Tensor", targets: "torch.Tensor", code: TargetCode) -> dict[str, float]:
        from markone.metrics import accuracy

        return {"accuracy": accuracy(scores, targets)}

    def intervals(
        self, scores: "torch.Tensor", targets: "torch.Tensor", code: TargetCode, *, seed: int
    ) -> dict[str, Interval]:
        from markone.metrics import wilson_interval

        right = int((self.decide(scores) == targets).sum())
        low, high = wilson_interval(right, len(targets))
        return {"accuracy": Interval(right / len(targets), low, high, "Wilson")}

    def present(self, scores: "torch.Tensor", code: TargetCode, loss: "LossSpec") -> list[dict[str, Any]]:
        classes = code.classes or ()
        probabilities = loss.probabilities(scores.float())
        decided = self.decide(scores).tolist()
        return [
            {"class": classes[index], "probability": row[index], "probabilities": dict(zip(classes, row, strict=True))}
            for index, row in zip(decided, probabilities.tolist(), strict=True)
        ]

    @staticmethod
    def decide(scores: "torch.Tensor") -> "torch.Tensor":
        """Scores (n, outputs) -> class (n,): the largest score, or the sign of a single one."""
        from markone.metrics import predicted

        return predicted(scores)
