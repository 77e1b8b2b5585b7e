"""Datasheet: what the rows say that a net is fed: their scale, holes, labels, parts and pixels, each beside a reference of its own.

Everything is taken of up to MOST_TRAINING rows as they reach the net. A reference is the same measure on the same rows with what is
judged destroyed: labels shuffled, columns or pixels permuted.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markone.data.duplicates import equal_rows
from markone.training.label_probes import best_feature, label_probes, quarters
from markone.training.picture_probes import augmentation_fact, layout_fact

if TYPE_CHECKING:
    import torch

MOST_TRAINING, MOST_VALIDATION = 2048, 1024
MOST_BYTES = 2**26  # of the rows in float32
NAMED = 20  # constant columns that are named
LEAST_ROWS = 32  # for a standard deviation within an eighth of itself
MOST_CLASSES = 256
SEED = 0


@dataclass(frozen=True, eq=False)
class Shown:
    """Rows as a net is fed them, (n, ...), and what belongs to them: classes (n,) int64, numbers (n, outputs), or nothing known."""

    inputs: "torch.Tensor"
    targets: "torch.Tensor | None" = None

    def __len__(self) -> int:
        return len(self.inputs)

    def distinct(self) -> "Shown":
        """Each different row once: copies of a row would agree with themselves."""
        import torch

        first = torch.from_numpy(equal_rows(self.inputs.numpy()))
        return self.where((first == torch.arange(len(self))).nonzero()[:, 0])

    def where(self, rows: "torch.Tensor") -> "Shown":
        return Shown(self.inputs[rows], None if self.targets is None else self.targets[rows])


def rows_for(count: int, width: int, most: int) -> int:
    """How many rows of so many numbers are looked at."""
    return max(1, min(count, most, MOST_BYTES // (4 * max(1, width))))


def datasheet(
    training: Shown,
    validation: "Shown | None" = None,
    *,
    names: tuple[str, ...] = (),
    dtype: str = "float32",
    classes: dict[str, int] | None = None,
    augmented: "torch.Tensor | None" = None,
) -> dict[str, Any]:
    """The fact ``datasheet``.

    names: of the columns of a table. dtype: in which the net is given the rows. classes: counts in the whole training part, by name;
    the rows' own where unknown. augmented: the same training rows as the net sees them in training.
    """
    inputs = training.inputs.float()
    finite = inputs.isfinite()
    whole = finite.reshape(len(inputs), -1).all(1)
    clean = Shown(inputs, training.targets).where(whole)
    checked = None if validation is None else validation.inputs.float().isfinite().reshape(len(validation), -1).all(1)
    found: dict[str, Any] = {
        "rows": len(inputs),
        "validation_rows": 0 if validation is None else len(validation),
        "shape": list(inputs.shape[1:]),
        "dtype": dtype,
        "not_finite": 1 - float(finite.double().mean()),
        "rows_not_finite": int((~whole).sum()),
        "validation_rows_not_finite": 0 if checked is None else int((~checked).sum()),
        "targets": _targets(training.targets, classes),
    }
    if len(clean) < 2:
        return found
    found["values"] = _values(clean.inputs, names)
    if validation is not None and checked is not None and len(clean) >= LEAST_ROWS <= int(checked.sum()):
        found["shift"] = _shift(clean.inputs, validation.inputs[checked].float(), names)
    distinct = clean.distinct()
    found["distinct"] = len(distinct)
    if (ranked := label_probes(distinct.inputs, quarters(distinct.targets))) is not None:
        found["quarters"] = ranked
    if (probed := label_probes(distinct.inputs, distinct.targets)) is not None:
        found["labels"] = probed
        if clean.inputs.ndim == 2:
            found["best_feature"] = best_feature(distinct.inputs, distinct.targets, names)
    if (layout := layout_fact(distinct.inputs)) is not None:
        found["layout"] = layout
    if augmented is not None and whole.all():
        found["augmentation"] = augmentation_fact(inputs, augmented.float(), training.targets)
    return found


def _features(inputs: "torch.Tensor") -> "torch.Tensor":
    """(features, values): the columns of a table, else the channels."""
    return inputs.transpose(0, 1).flatten(1)


def _values(inputs: "torch.Tensor", names: tuple[str, ...]) -> dict[str, Any]:
    """Scale of all values and of each feature; the columns that never change."""
    import torch

    stds, means = torch.std_mean(_features(inputs), 1, correction=0)
    whole_std, whole_mean = torch.std_mean(inputs, correction=0)
    columns = inputs.reshape(len(inputs), -1)
    still = (columns.amax(0) == columns.amin(0)).nonzero()[:, 0].tolist()
    return {
        "mean": float(whole_mean),
        "std": float(whole_std),
        "largest_std": float(stds.max()),
        "median_std": float(stds.median()),
        "largest_mean": float(means.abs().max()),
        "columns": columns.shape[1],
        "constant": len(still),
        "constant_names": [_name(names, place, inputs.ndim) for place in still[:NAMED]],
    }


def _name(names: tuple[str, ...], place: int, axes: int) -> str:
    if place < len(names) and axes == 2:
        return names[place]
    return f"column {place}" if axes == 2 else f"place {place}"


def _targets(targets: "torch.Tensor | None", classes: dict[str, int] | None) -> dict[str, Any] | None:
    if targets is None:
        return None
    if not targets.is_floating_point():
        if targets.ndim != 1:
            return None
        labels, counts = targets.unique(return_counts=True)
        if len(labels) > MOST_CLASSES and classes is None:
            return None
        own = {str(label): count for label, count in zip(labels.tolist(), counts.tolist(), strict=True)}
        return {"kind": "classes", "counts": classes or own, "whole": classes is not None}
    numbers = targets.double().reshape(len(targets), -1)
    numbers = numbers[numbers.isfinite().all(1)]
    if not len(numbers):
        return None
    return {
        "kind": "numbers",
        "outputs": numbers.shape[1],
        "mean": float(numbers.mean()),
        "std": float(numbers.std(0, correction=0).mean()),
        "size": math.sqrt(float(numbers.square().mean())),
    }


def _shift(training: "torch.Tensor", validation: "torch.Tensor", names: tuple[str, ...]) -> dict[str, Any] | None:
    """How far the means lie apart, in standard deviations and in standard errors, and the ratio of the standard deviations.

    A picture counts as one observation of each of its channels, since its pixels hang together.
    """
    if training.shape[1:] != validation.shape[1:]:
        return None
    moments = []
    for inputs in (training, validation):
        own = inputs.reshape(len(inputs), inputs.shape[1], -1).mean(2).double()
        spread = _features(inputs).std(1, correction=0).double()
        moments.append((own.mean(0), spread, own.var(0), len(inputs)))
    (mean, std, var, n), (other_mean, other_std, other_var, m) = moments
    error = (var / n + other_var / m).sqrt()
    varies = (std > 1e-6 * mean.abs()) & (std > 0)
    if not bool(varies.any()):
        return None
    deviations = ((other_mean - mean).abs() / std)[varies]
    errors = ((other_mean - mean).abs() / error.clamp_min(1e-30))[varies]
    ratios = (other_std / std)[varies]
    worst = int(varies.nonzero()[:, 0][deviations.argmax()])
    return {
        "deviations": float(deviations.median()),
        "errors": min(float(errors.median()), 1e9),
        "ratio": float(ratios.median()),
        "worst": {
            "name": _name(names, worst, training.ndim) if training.ndim == 2 else f"channel {worst}",
            "deviations": float(deviations.max()),
        },
        "means": [float(mean.mean()), float(other_mean.mean())],
        "stds": [float(std.median()), float(other_std[varies].median())],
    }
