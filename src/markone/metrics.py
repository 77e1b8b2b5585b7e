"""Metrics: how good predictions are, as pure functions of tensors; and how sure one can be of it.

Scores are (n, classes), or (n, 1) for two classes, where a positive score says class 1. Numbers of regression are
(n, outputs). Every metric is one number on the host.
"""

from collections.abc import Callable
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


def predicted(scores: "Tensor") -> "Tensor":
    """The class of the highest score, int64 (n,); the lowest such class at a tie."""
    return (scores[:, 0] > 0).long() if scores.shape[1] == 1 else scores.argmax(dim=1)


def accuracy(scores: "Tensor", targets: "Tensor") -> float:
    """Share of samples whose class is predicted."""
    return float((predicted(scores) == targets).double().mean())


def top_k(scores: "Tensor", targets: "Tensor", *, k: int = 5) -> float:
    """Share of samples whose class is among the k highest scores; 1 where there are no more than k classes."""
    if k == 1:
        return accuracy(scores, targets)
    if k >= max(scores.shape[1], 2):
        return 1.0
    best = scores.topk(k, dim=1).indices
    return float((best == targets.unsqueeze(1)).any(dim=1).double().mean())


def confusion(predictions: "Tensor", targets: "Tensor", *, classes: int) -> "Tensor":
    """How many samples of class i were predicted as class j: int64 (classes, classes)."""
    return (targets * classes + predictions).bincount(minlength=classes * classes).view(classes, classes)


def pixel_counts(scores: "Tensor", masks: "Tensor") -> "tuple[Tensor, Tensor]":
    """Of maps (n, classes, height, width) and masks (n, height, width): how many pixels of each class, picture by picture.

    The first, int64 (n, 2, classes), counts those predicted rightly and all predicted; the second, (n, classes), those that
    there are: diagonal, columns and rows of each picture's confusion matrix. Void pixels do not count. Nothing waits for
    the device.
    """
    import torch

    from markone.losses import VOID

    count, classes = scores.shape[:2]
    counted = (masks != VOID).flatten(1)
    guess, truth = scores.argmax(dim=1).flatten(1), (masks.flatten(1).long() * counted)
    zeros = torch.zeros(count, classes, dtype=torch.int64, device=scores.device)
    right, guessed, there = (
        zeros.scatter_add(1, index, chosen.long())
        for index, chosen in ((truth, counted & (guess == truth)), (guess, counted), (truth, counted))
    )
    return torch.stack((right, guessed), dim=1), there


def pixel_accuracy(counts: "Tensor", there: "Tensor") -> float:
    """Share of the pixels whose class is predicted, from ``pixel_counts``; 0 where every pixel is void: nothing was got right."""
    return float(counts[:, 0].sum().double() / there.sum().clamp(min=1))


def mean_iou(counts: "Tensor", there: "Tensor") -> float:
    """Mean over classes of |predicted and there| / |predicted or there|, from ``pixel_counts``; Jaccard 1901.

    Pixels are counted over all pictures together, as in PASCAL VOC. A class that is neither there nor predicted has no
    share in the mean; where every pixel is void it is 0, as pixel accuracy is.
    """
    (right, guessed), actual = counts.sum(dim=0).double(), there.sum(dim=0)
    either = guessed + actual - right
    return float((right / either.clamp(min=1)).sum() / (either > 0).sum().clamp(min=1))


def rmse(values: "Tensor", targets: "Tensor") -> float:
    """sqrt(mean (v - t)^2) over samples and outputs."""
    return float((values.double() - targets.double()).square().mean().sqrt())


def mae(values: "Tensor", targets: "Tensor") -> float:
    """mean |v - t| over samples and outputs."""
    return float((values.double() - targets.double()).abs().mean())


def r2(values: "Tensor", targets: "Tensor") -> float:
    """1 - sum (v - t)^2 / sum (t - mean t)^2, averaged over outputs.

    A constant target has no variance to explain: it counts 1 if it is met exactly, else 0, as in scikit-learn.
    """
    exact = targets.double()
    missed = (values.double() - exact).square().sum(dim=0)
    spread = (exact - exact.mean(dim=0)).square().sum(dim=0)
    return float((1 - missed / spread).where(spread > 0, (missed == 0).double()).mean())


def wilson_interval(right: int, samples: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of a share: (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n). Wilson 1927.

    Without samples nothing is known: (0, 1).
    """
    if samples == 0:
        return 0.0, 1.0
    z, p = NormalDist().inv_cdf((1 + confidence) / 2), right / samples
    middle = p + z * z / (2 * samples)
    reach = z * (p * (1 - p) / samples + z * z / (4 * samples * samples)) ** 0.5
    low, high = ((middle + side * reach) / (1 + z * z / samples) for side in (-1, 1))
    return 0.0 if right == 0 else low, 1.0 if right == samples else high


def bootstrap(
    metric: "Callable[[Tensor, Tensor], float]",
    values: "Tensor",
    targets: "Tensor",
    *,
    generator: "np.random.Generator",
    confidence: float = 0.95,
    draws: int = 1000,
) -> tuple[float, float]:
    """The percentile interval of any metric of (values, targets), by drawing samples again with replacement. Efron 1979."""
    import numpy as np
    import torch

    found = []
    for _ in range(draws):
        rows = torch.from_numpy(generator.integers(0, len(targets), len(targets))).to(targets.device)
        found.append(metric(values[rows], targets[rows]))
    low, high = np.quantile(found, ((1 - confidence) / 2, (1 + confidence) / 2))
    return float(low), float(high)
