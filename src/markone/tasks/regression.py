"""Regression: one number or several."""

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


class Regression(TaskSpec):
    """Each sample has one number or several; the net sees them standardized, scores are reported in original units."""

    kind: Literal["regression"] = Field("regression", description="one number or several")
    metric: ClassVar[str] = "rmse"
    higher_is_better: ClassVar[bool] = False

    def code(self, dataset: Dataset, training: NDArray[np.int64]) -> TargetCode:
        if dataset.classes is not None:
            raise SpecError(
                "task-mismatch", f"{dataset.name} has classes as targets, not numbers; set task.kind=classification."
            )
        part = np.asarray(dataset.targets[training], dtype=np.float64)
        varies = part.max(0) > part.min(0)  # the deviation of a constant is rounding, not always 0
        return TargetCode(
            names=dataset.target_names,
            mean=tuple(part.mean(0).tolist()),
            std=tuple(np.where(varies, part.std(0), 1.0).tolist()),
        )

    def targets(self, dataset: Dataset, code: TargetCode) -> "torch.Tensor":
        import torch

        scaled = (np.asarray(dataset.targets, dtype=np.float64) - np.array(code.mean)) / np.array(code.std)
        return torch.from_numpy(scaled.astype(np.float32))

    def outputs(self, code: TargetCode, loss: "LossSpec") -> int:
        return len(code.mean)

    def blind_guess(self, targets: "torch.Tensor", code: TargetCode) -> dict[str, float]:
        return {"rmse": float(np.sqrt(np.mean(np.square(code.std))))}

    def metrics(self, scores: "torch.Tensor", targets: "torch.Tensor", code: TargetCode) -> dict[str, float]:
        from markone.metrics import mae, r2, rmse

        guess, truth = self.original(scores, code), self.original(targets, code)
        return {"rmse": rmse(guess, truth), "mae": mae(guess, truth), "r2": r2(guess, truth)}

    def intervals(
        self, scores: "torch.Tensor", targets: "torch.Tensor", code: TargetCode, *, seed: int
    ) -> dict[str, Interval]:
        from markone.metrics import bootstrap, mae, r2, rmse
        from markone.seeds import numpy_generator

        guess, truth = self.original(scores, code), self.original(targets, code)
        found = {}
        for name, metric in (("rmse", rmse), ("mae", mae), ("r2", r2)):
            low, high = bootstrap(metric, guess, truth, generator=numpy_generator(seed, "bootstrap"))
            found[name] = Interval(metric(guess, truth), low, high, "bootstrap")
        return found

    def present(self, scores: "torch.Tensor", code: TargetCode, loss: "LossSpec") -> list[dict[str, Any]]:
        return [dict(zip(code.names, row, strict=True)) for row in self.original(scores, code).tolist()]

    @staticmethod
    def original(scaled: "torch.Tensor", code: TargetCode) -> "torch.Tensor":
        """Standardized -> original units, in float64."""
        import torch

        mean = torch.tensor(code.mean, dtype=torch.float64, device=scaled.device)
        std = torch.tensor(code.std, dtype=torch.float64, device=scaled.device)
        return scaled.double() * std + mean
