"""Segmentation: a class for every pixel."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from markone.data.dataset import Dataset
from markone.errors import DataError, SpecError
from markone.losses import VOID
from markone.tasks.task import Interval, TargetCode, TaskSpec

if TYPE_CHECKING:
    import torch

    from markone.losses import LossSpec

PIECE = 64  # masks counted at once: 4 MiB as int64 at 96 x 96


class Segmentation(TaskSpec):
    """Each pixel belongs to one of K classes, as the dataset's masks say; judged by the mean intersection over union.

    Masks come with the data ``shapes``, and with an NPZ file of pictures that holds an array ``masks`` (n, height, width) of
    whole numbers, and may hold their names, ``mask_classes``. No other source has any.
    """

    kind: Literal["segmentation"] = Field("segmentation", description="a class for every pixel")
    ignore: int | None = Field(
        VOID,
        ge=0,
        le=255,
        description="value of a mask's pixels that are of no class: no loss and no metric counts them",
    )
    metric: ClassVar[str] = "mean_iou"
    higher_is_better: ClassVar[bool] = True
    gives: ClassVar[Literal["scores", "maps"]] = "maps"

    def code(self, dataset: Dataset, training: NDArray[np.int64]) -> TargetCode:
        masks = _masks(dataset)
        found, known = _counts(masks), _counts(masks[training])
        if self.ignore is not None:
            found[self.ignore] = known[self.ignore] = 0
        if not known.any():
            raise DataError(
                "data-masks-void",
                f"every pixel of the masks of {dataset.name}'s training part is void: nothing is to learn.",
            )
        largest, names = int(np.flatnonzero(found)[-1]), dataset.mask_classes
        last = min(VOID, len(names) if names else VOID) - 1
        if largest > last:
            raise DataError(
                "data-mask-class",
                f"the masks of {dataset.name} hold the value {largest}, but their classes end with {last}; correct the masks,"
                f" or call such pixels void with task.ignore={largest}.",
            )
        return TargetCode(classes=names or tuple(f"class {k}" for k in range(largest + 1)))

    def targets(self, dataset: Dataset, code: TargetCode) -> "torch.Tensor":
        import torch

        masks = torch.from_numpy(np.array(_masks(dataset)))
        return masks if self.ignore in (None, VOID) else masks.masked_fill_(masks == self.ignore, VOID)

    def outputs(self, code: TargetCode, loss: "LossSpec") -> int:
        return loss.outputs(len(code.classes or ()))

    def kept(self, scores: "torch.Tensor", targets: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
        """The counts of pixels by class: the maps of all pictures together could exceed any memory."""
        from markone.metrics import pixel_counts

        return pixel_counts(scores, targets)

    def blind_guess(self, targets: "torch.Tensor", code: TargetCode) -> dict[str, float]:
        """One class everywhere: its share s of the pixels is its IoU, and every other class's is 0."""
        counts = targets[targets != VOID].bincount()
        share = float(counts.max() / counts.sum())
        return {"mean_iou": share / int((counts > 0).sum()), "pixel_accuracy": share}

    def metrics(self, scores: "torch.Tensor", targets: "torch.Tensor", code: TargetCode) -> dict[str, float]:
        from markone.metrics import mean_iou, pixel_accuracy

        return {"mean_iou": mean_iou(scores, targets), "pixel_accuracy": pixel_accuracy(scores, targets)}

    def intervals(
        self, scores: "torch.Tensor", targets: "torch.Tensor", code: TargetCode, *, seed: int
    ) -> dict[str, Interval]:
        """Over pictures drawn again: the pixels of one picture are not independent."""
        from markone.metrics import bootstrap, mean_iou, pixel_accuracy
        from markone.seeds import numpy_generator

        found = {}
        for name, metric in (("mean_iou", mean_iou), ("pixel_accuracy", pixel_accuracy)):
            low, high = bootstrap(metric, scores, targets, generator=numpy_generator(seed, "bootstrap"))
            found[name] = Interval(metric(scores, targets), low, high, "bootstrap over pictures")
        return found

    def present(self, scores: "torch.Tensor", code: TargetCode, loss: "LossSpec") -> list[dict[str, Any]]:
        """Of each picture the share of its pixels that each class has: ``{"shares": {"sky": 0.4, "sea": 0.6}}``."""
        from torch.nn.functional import one_hot

        classes = code.classes or ()
        shares = one_hot(self.decide(scores), len(classes)).double().mean(dim=(1, 2))
        return [{"shares": dict(zip(classes, row, strict=True))} for row in shares.tolist()]

    @staticmethod
    def decide(scores: "torch.Tensor") -> "torch.Tensor":
        """Maps (n, classes, height, width) -> class of each pixel (n, height, width)."""
        return scores.argmax(dim=1)


def _masks(dataset: Dataset) -> NDArray[np.uint8]:
    """The masks, uint8 (n, height, width). Raises SpecError where a dataset has none that fit its pictures."""
    masks = dataset.extras.get("mask")
    if masks is None:
        raise SpecError(
            "task-mismatch",
            f"{dataset.name} has no masks, which segmentation learns from; take data that has them, such as shapes"
            f" or an NPZ file with an array masks, or set task.kind={'classification' if dataset.is_classification else 'regression'}.",
        )
    if masks.dtype != np.uint8 or masks.shape != dataset.inputs.shape[:3]:
        raise DataError(
            "data-mask-shape",
            f"the masks of {dataset.name} are {masks.dtype} of shape {masks.shape}; they must be uint8 of shape"
            f" {dataset.inputs.shape[:3]}, as its pictures.",
        )
    return masks  # type: ignore[return-value]


def _counts(masks: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How many pixels have each value, (256,); in pieces, for bincount takes eight bytes a pixel."""
    found = np.zeros(256, np.int64)
    for start in range(0, len(masks), PIECE):
        found += np.bincount(masks[start : start + PIECE].ravel(), minlength=256)
    return found
