"""Assign samples to parts: stratified by class, whole units only. Pure functions of arrays and a generator."""

import numpy as np
from numpy.typing import NDArray

from markone.data.dataset import Part

Ints = NDArray[np.int64]
PARTS = (Part.TRAINING, Part.VALIDATION, Part.TEST)


def assign(units: Ints, classes: Ints, *, fractions: tuple[float, float], generator: np.random.Generator) -> Ints:
    """The part of every sample, given (validation, test) fractions.

    units, classes: labels from 0 on, (n,). Samples of one unit get one part. Of a class with n_c samples every part
    gets fraction n_c, rounded so that the totals are right: exactly where units are single samples, near it where they
    are larger; at least one unit where the class has one for every part. Larger units go first, each to the part where
    it lowers sum_pc (have_pc - quota_pc)^2 / quota_pc most (Pearson's chi-squared); single samples fill the rest.
    """
    units = np.unique(units, return_inverse=True)[1]
    sizes = np.bincount(units)
    quota = _quotas(units, classes, fractions)
    part_of_unit = np.full(len(sizes), -1, dtype=np.int64)
    single = sizes[units] == 1
    _assign_larger(part_of_unit, units[~single], classes[~single], quota, generator)
    have = _table(part_of_unit[units[~single]], classes[~single], quota.shape[1])
    _assign_single(part_of_unit, units[single], classes[single], quota - have, have, generator)
    _represent_all(part_of_unit, units, classes, quota)
    return part_of_unit[units]


def components(*labels: Ints | None) -> Ints:
    """Labels (n,) of what hangs together when samples that share any of the given labels do."""
    given = [label for label in labels if label is not None]
    first = np.unique(given[0], return_inverse=True)[1]
    for other in given[1:]:
        first = _join(first, np.unique(other, return_inverse=True)[1])
    return first


def _join(a: Ints, b: Ints) -> Ints:
    """Components of the graph whose nodes are the labels of a and of b, and whose edges are the samples."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    nodes = int(a.max(initial=-1) + b.max(initial=-1) + 2)
    edges = coo_array((np.ones(len(a), dtype=np.int8), (a, b + a.max(initial=-1) + 1)), shape=(nodes, nodes))
    component: Ints = connected_components(edges, directed=False)[1].astype(np.int64)
    return np.unique(component[a], return_inverse=True)[1]


def units_per_class(units: Ints, classes: Ints) -> Ints:
    """How many units hold at least one sample of each class."""
    pairs = np.unique(np.stack([classes, units]), axis=1)
    return np.bincount(pairs[0], minlength=int(classes.max(initial=-1)) + 1)


def _quotas(units: Ints, classes: Ints, fractions: tuple[float, float]) -> NDArray[np.float64]:
    """How many samples each part should have of each class, (3, classes)."""
    count = np.bincount(classes)
    held = units_per_class(units, classes)
    # With two units and three parts, training and validation come first: the test part only estimates.
    has_validation = (held >= 2) & (fractions[0] > 0)
    has_test = (held >= 2 + (fractions[0] > 0)) & (fractions[1] > 0)
    validation = np.where(has_validation, np.maximum(_shares(count, fractions[0]), 1), 0)
    test = np.where(has_test, np.maximum(_shares(count, fractions[1]), 1), 0)
    over = np.maximum(validation + test - (count - 1), 0)  # training keeps one
    from_test = np.minimum((over + 1) // 2, np.maximum(test - 1, 0))
    test, validation = test - from_test, np.maximum(validation - (over - from_test), 0)
    return np.stack([count - validation - test, validation, test]).astype(np.float64)


def _shares(count: Ints, fraction: float) -> Ints:
    """Whole numbers next to fraction * count that add up to fraction * sum(count), by the largest remainders."""
    exact = fraction * count
    share: Ints = np.floor(exact).astype(np.int64)
    more = int(np.rint(exact.sum())) - int(share.sum())
    share[np.argsort(share - exact, kind="stable")[:more]] += 1
    return share


def _table(parts: Ints, classes: Ints, width: int) -> NDArray[np.float64]:
    """How many samples each part has of each class, (3, classes)."""
    return np.bincount(parts * width + classes, minlength=3 * width).reshape(3, width).astype(np.float64)


def _assign_larger(
    part_of_unit: Ints, units: Ints, classes: Ints, quota: NDArray[np.float64], generator: np.random.Generator
) -> None:
    """Plain numbers on purpose: a unit holds few classes, and a NumPy call costs more than they do."""
    width = quota.shape[1]
    codes, counts = np.unique(units * width + classes, return_counts=True)
    names, start = np.unique(codes // width, return_index=True)
    if not len(names):
        return
    size = np.add.reduceat(counts, start)
    stop = [*start[1:].tolist(), len(codes)]
    held, many = (codes % width).tolist(), counts.tolist()
    remaining = quota.tolist()
    weight = (1 / np.maximum(quota, 1e-3)).tolist()  # a part that should have none is as good as closed
    chosen = np.zeros(len(names), dtype=np.int64)
    for i in np.lexsort((generator.permutation(len(names)), -size)).tolist():
        entries = range(start[i], stop[i])
        best = min(
            PARTS,
            key=lambda part: sum(
                (many[e] - 2 * remaining[part][held[e]]) * many[e] * weight[part][held[e]] for e in entries
            ),
        )
        chosen[i] = best
        for e in entries:
            remaining[best][held[e]] -= many[e]
    part_of_unit[names] = chosen


def _assign_single(
    part_of_unit: Ints,
    units: Ints,
    classes: Ints,
    missing: NDArray[np.float64],
    have: NDArray[np.float64],
    generator: np.random.Generator,
) -> None:
    width = missing.shape[1]
    order = np.lexsort((generator.permutation(len(units)), classes))
    units, classes = units[order], classes[order]
    count = np.bincount(classes, minlength=width)
    rank = np.arange(len(units)) - (np.cumsum(count) - count)[classes]
    free = np.maximum(count - (have[Part.TRAINING] == 0), 0)  # training keeps one sample of every class
    test = np.minimum(np.maximum(missing[Part.TEST], 0), free)
    validation = np.minimum(np.maximum(missing[Part.VALIDATION], 0), free - test)
    tested, validated = rank < test[classes], rank < (test + validation)[classes]
    part_of_unit[units] = np.where(tested, Part.TEST, np.where(validated, Part.VALIDATION, Part.TRAINING))


def _represent_all(part_of_unit: Ints, units: Ints, classes: Ints, quota: NDArray[np.float64]) -> None:
    """Move one unit of a class to a part that should have the class and has none, from a part that keeps one."""
    width = quota.shape[1]
    lacking = np.argwhere((_table(part_of_unit[units], classes, width) == 0) & (quota > 0))
    for part, label in lacking:
        candidates = np.unique(units[classes == label])
        from_part = part_of_unit[candidates]
        spare = candidates[np.bincount(from_part, minlength=3)[from_part] > 1]
        for unit in spare[np.argsort(np.bincount(units)[spare], kind="stable")]:
            if _removable(part_of_unit, units, classes, unit):
                part_of_unit[unit] = part
                break


def _removable(part_of_unit: Ints, units: Ints, classes: Ints, unit: int) -> bool:
    """Whether the unit's part keeps a sample of every class that the unit holds."""
    beside = (part_of_unit[units] == part_of_unit[unit]) & (units != unit)
    return bool(np.isin(classes[units == unit], classes[beside]).all())
