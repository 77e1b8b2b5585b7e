"""Duplicates: samples that are the same, or pictures that are copies of each other but for compression, size or colour.

Exact: equal pixels; equal rows of a table, target included. Near: similarity (see ``perceptual``) of at least 0.9, layouts that
correlate by at least 0.95, and both more than one chance pair in the whole dataset would reach. So photos count as copies at 0.9,
while digits and clothes, which look alike by nature, count only from about 0.995.
"""

import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from markone.data.dataset import Dataset
from markone.data.perceptual import alike_pairs, chance_similarity, layouts, similarity
from markone.data.progress import Progress
from markone.data.store import cache_folder

Ints = NDArray[np.int64]

LEAST_SIMILARITY = 0.9  # found by looking: flowers at 0.875 and above are copies, at 0.83 and below other pictures
LEAST_LAYOUT = 0.95
MOST_CHANCE = 0.9995  # closer than this is a copy whatever chance says: the distance of the best JPEG from its original
VERSION = 1  # of what is kept in the cache
KEPT_FROM = 2000  # samples from which the result is worth keeping
CHUNK = 4096  # rows at once


@dataclass(frozen=True, eq=False)
class Duplicates:
    """clusters: labels (n,), equal for samples that hang together; exact, near: pairs (m, 2) of samples that show it.

    A group of k equal samples gives k - 1 exact pairs, each with the group's first.
    """

    clusters: Ints
    exact: Ints
    near: Ints
    threshold: float | None = None

    @property
    def count(self) -> int:
        """How many samples have a duplicate."""
        sizes = np.bincount(self.clusters)
        return int(sizes[sizes > 1].sum())


def find_duplicates(dataset: Dataset, *, progress: Progress | None = None) -> Duplicates:
    """All exact and near duplicates; from the cache where they were looked for before."""
    kept = None
    if dataset.digest and len(dataset) >= KEPT_FROM:
        kept = cache_folder() / "duplicates" / f"{dataset.digest}-{len(dataset)}-{VERSION}.npz"
        if (found := _load(kept, len(dataset))) is not None:
            return found
    found = _search(dataset, progress)
    if kept:
        _save(kept, found)
    return found


def equal_rows(rows: NDArray[np.generic]) -> Ints:
    """For each row (n, ...) the index of the first row with the same bytes."""
    first = np.arange(len(rows), dtype=np.int64)
    key = _hash_rows(rows)
    order = np.argsort(key, kind="stable")
    starts = np.flatnonzero(np.r_[True, key[order][1:] != key[order][:-1]])
    leader = order[np.repeat(starts, np.diff(np.r_[starts, len(order)]))]
    same = np.flatnonzero(leader != order)
    later, earlier = order[same], leader[same]
    for i in range(0, len(later), CHUNK):
        a, b = later[i : i + CHUNK], earlier[i : i + CHUNK]
        alike = (_bytes(rows[a]) == _bytes(rows[b])).all(axis=1)  # equal hashes are a hint, equal bytes the proof
        first[a[alike]] = b[alike]
    return first


def _search(dataset: Dataset, progress: Progress | None) -> Duplicates:
    n = len(dataset)
    first = equal_rows(dataset.inputs if dataset.is_images else _with_target(dataset))
    later = np.flatnonzero(first != np.arange(n))
    exact = np.stack([first[later], later], axis=1)
    near, threshold = np.empty((0, 2), dtype=np.int64), None
    if dataset.inputs.dtype == np.uint8 and n > 1:
        pictures = dataset.inputs.astype(np.uint8, copy=False)
        near, threshold = _near_pairs(pictures, np.flatnonzero(first == np.arange(n)), progress)
    return Duplicates(_clusters(n, exact, near), exact, near, threshold)


def _near_pairs(pictures: NDArray[np.uint8], rows: Ints, progress: Progress | None) -> tuple[Ints, float]:
    """Pairs of the given rows, none of which are equal."""
    different = pictures if len(rows) == len(pictures) else pictures[rows]
    layout = layouts(different)
    _tell(progress, 1)
    chance = chance_similarity(different, layout)
    threshold = max(LEAST_SIMILARITY, min(chance or 0.0, MOST_CHANCE))
    _tell(progress, 2)
    # The similarity is the mean of two correlations and the other is 1 at most, which bounds the layouts' from below.
    pairs = alike_pairs(layout, max(LEAST_LAYOUT, 2 * threshold - 1))
    found = pairs[similarity(different, layout, pairs) >= threshold]
    _tell(progress, 3)
    return rows[found], threshold


def _tell(progress: Progress | None, done: int) -> None:
    if progress:
        progress(done, 3, "looking for duplicates")


def _clusters(n: int, exact: Ints, near: Ints) -> Ints:
    """Connected components of the pairs, numbered from 0 by their first sample."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = np.concatenate([exact, near])
    if not len(pairs):
        return np.arange(n, dtype=np.int64)
    graph = coo_array((np.ones(len(pairs), dtype=np.int8), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    label: Ints = connected_components(graph, directed=False)[1].astype(np.int64)
    return label


def _with_target(dataset: Dataset) -> NDArray[np.float64]:
    """Inputs beside targets, (n, columns + outputs); whole class numbers and float32 are exact in float64."""
    targets = dataset.targets.reshape(len(dataset), -1)
    return np.concatenate([dataset.inputs.astype(np.float64), targets.astype(np.float64)], axis=1) + 0.0  # -0 is 0


def _bytes(rows: NDArray[np.generic]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(rows).reshape(len(rows), -1).view(np.uint8)


def _hash_rows(rows: NDArray[np.generic]) -> NDArray[np.uint64]:
    """One number per row: the sum over its 8-byte words of a mix of word and place (the finalizer of MurmurHash3)."""
    out = np.empty(len(rows), dtype=np.uint64)
    for start in range(0, len(rows), CHUNK):
        data = _bytes(rows[start : start + CHUNK])
        data = np.pad(data, ((0, 0), (0, -data.shape[1] % 8)))
        word = data.view(np.uint64)
        place = np.random.default_rng(0).integers(0, 2**64, word.shape[1], dtype=np.uint64)
        word = word ^ place
        for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
            word ^= word >> np.uint64(33)
            word *= np.uint64(factor)
        word ^= word >> np.uint64(33)
        out[start : start + CHUNK] = word.sum(axis=1, dtype=np.uint64)
    return out


def _load(path: Path, n: int) -> Duplicates | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            threshold = float(kept["threshold"])
            found = Duplicates(
                kept["clusters"], kept["exact"], kept["near"], None if np.isnan(threshold) else threshold
            )
    except Exception:  # absent or damaged: look again
        return None
    return found if found.clusters.shape == (n,) else None


def _save(path: Path, found: Duplicates) -> None:
    aside = path.with_name(f".{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            threshold = np.nan if found.threshold is None else found.threshold
            np.savez_compressed(file, clusters=found.clusters, exact=found.exact, near=found.near, threshold=threshold)
        aside.replace(path)
    except OSError:  # no room or no right to write: it is looked for again next time
        aside.unlink(missing_ok=True)
