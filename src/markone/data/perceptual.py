"""How alike two pictures are, and which pairs are worth a look; on whole arrays, never picture by picture.

A picture is seen twice, in grey: its layout, the means of 16 x 16 blocks, and its detail, what is left of it after the means of
8 x 8 blocks are taken away. Each is centred and scaled to length 1, so that brightness and contrast do not matter, and the
similarity of two pictures is the mean of the two correlations. Two photos of the same scene type share a layout by chance, but
not the detail; a copy that was scaled, compressed or recoloured shares both.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from markone.seeds import numpy_generator

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Pictures = NDArray[np.uint8]

LAYOUT, DETAIL = 16, 8  # blocks per side
SIDE = 64  # pixels per side that are looked at; larger pictures are scaled down
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601, by which Pillow makes pictures grey
LEAST_DETAIL = 0.5  # grey levels (root mean square) of detail under which it is rounding noise
CHUNK = 2048  # pictures at once
PAIRS = 1 << 21  # pairs at once
SAMPLE = 4096  # pictures whose pairs show how alike pictures are by chance
AXES = 32  # principal axes of the layout that the hash looks at
COARSE = 8  # of these, a first look at a pair
WORK = 2e10  # multiplications that comparing all pairs of the sample may take: about half a second on two cores
LEAST_RANK = 64  # pairs of all that the line begins at, at least
FEW = 32  # pictures under which there are too few pairs for a line through them
FLIPS = 5  # bits of the hash, those nearest to their threshold, that are tried both ways
MORE_BITS = 2  # than the data has doublings: more bits are faster and find less


def layouts(pictures: Pictures) -> Floats:
    """Unit vectors (n, blocks) of the layout; zero where a picture is of one shade."""
    out = [_unit(_blocks(_grey(pictures[i : i + CHUNK]), LAYOUT), least=1e-3) for i in range(0, len(pictures), CHUNK)]
    return np.concatenate(out)


def details(pictures: Pictures) -> Floats:
    """Vectors (n, pixels) of the detail, of length 1 where there is any, shorter where it sinks in rounding noise."""
    grey = _grey(pictures)
    down, across = (_keep_means(side, min(DETAIL, max(side // 2, 1))) for side in grey.shape[1:])
    coarse: Floats = (down @ grey @ across.T).astype(np.float32, copy=False)
    return _unit(grey - coarse, least=LEAST_DETAIL)


def similarity(pictures: Pictures, layout: Floats, pairs: Ints) -> Floats:
    """The similarity (m,) of each of the pairs (m, 2): 1 for copies, at most 1/2 where the detail has nothing in common."""
    out = np.empty(len(pairs), dtype=np.float32)
    for start in range(0, len(pairs), CHUNK):
        rows = pairs[start : start + CHUNK]
        items, place = np.unique(rows, return_inverse=True)
        seen, place = details(pictures[items]), place.reshape(rows.shape)
        fine = np.einsum("ij,ij->i", seen[place[:, 0]], seen[place[:, 1]])
        out[start : start + CHUNK] = (fine + np.einsum("ij,ij->i", layout[rows[:, 0]], layout[rows[:, 1]])) / 2
    return out


def chance_similarity(pictures: Pictures, layout: Floats) -> float | None:
    """The similarity that one pair of different pictures of this dataset is expected to reach by chance; None for few pictures.

    The number of pairs within the distance r = sqrt(2 - 2 similarity) grows like r^d, d being the correlation dimension
    (Grassberger, Procaccia 1983). A sample tells how far apart the closest n/8 and the closest n/2 of all pairs of n pictures
    are (the 64th and the 256th closest of few), and the line through both is followed down to one pair. Where every fourth
    picture has a copy, copies are among these, the line is too low, and only the closest copies are found.
    """
    n = len(pictures)
    size = min(SAMPLE, n, int((WORK / (layout.shape[1] + details(pictures[:1]).shape[1])) ** 0.5))
    if size < FEW:
        return None
    rows = np.sort(numpy_generator(0, "chance-similarity").choice(n, size, replace=False))
    seen = np.concatenate([details(pictures[rows[i : i + CHUNK]]) for i in range(0, size, CHUNK)])
    both = np.concatenate([layout[rows], seen], axis=1)
    alike = both @ both.T / 2
    np.fill_diagonal(alike, -1)
    share = (size / n) ** 2  # of all pairs that are in the sample
    near = int(np.clip(max(n / 8, LEAST_RANK) * share, 4, size * size / 32))
    ranks = alike.size - 2 * np.array([near, 4 * near])  # each pair is in the matrix twice
    r_near, r_far = np.sqrt(np.maximum(2 - 2 * np.partition(alike, ranks, axis=None)[ranks].astype(float), 1e-8))
    dimension = np.log(4) / max(np.log(r_far / r_near), 1e-6)
    return float(1 - (r_near * (near / share) ** (-1 / dimension)) ** 2 / 2)


def alike_pairs(layout: Floats, least: float) -> Ints:
    """Pairs (m, 2), each once, i < j, whose layouts correlate by at least ``least``.

    A perceptual hash finds them: one bit per principal axis, whether the layout lies above the median there. Pairs are
    compared where the hashes agree, or do so after any of the bits nearest to their threshold are flipped; then the
    correlation itself decides. A pair may be missed: at the least correlation one in seven is, of copies (above 0.99) none
    in a hundred (measured on CIFAR-10 and MNIST against all pairs).
    """
    n = len(layout)
    if n < 2:
        return np.empty((0, 2), dtype=np.int64)
    place = layout @ _principal_axes(layout)
    # What is left out of a product of unit vectors is at most the product of the lengths that are left out.
    bounds = [_with_rest(layout, place[:, :width]) for width in (COARSE, place.shape[1])]
    found = []
    for i, j in _meetings(place, bits=min(int(np.ceil(np.log2(n))) + MORE_BITS, place.shape[1])):
        for seen in (*bounds, layout):
            close = np.einsum("ij,ij->i", seen.take(i, axis=0), seen.take(j, axis=0)) >= least  # faster than seen[i]
            i, j = i[close], j[close]
        found.append(np.stack([np.minimum(i, j), np.maximum(i, j)], axis=1))
    return np.unique(np.concatenate(found), axis=0) if found else np.empty((0, 2), dtype=np.int64)


def _with_rest(layout: Floats, place: Floats) -> Floats:
    """The places and, in a last column, the length of what of the layout they leave out."""
    left = np.einsum("ij,ij->i", layout, layout) - np.einsum("ij,ij->i", place, place)
    return np.concatenate([place, np.sqrt(np.maximum(left, 0))[:, np.newaxis]], axis=1)


def _principal_axes(layout: Floats) -> Floats:
    """Orthonormal columns (blocks, axes), the directions in which layouts differ most."""
    sample = layout[:: max(len(layout) // SAMPLE, 1)].astype(np.float64)
    _, vectors = np.linalg.eigh(np.cov(sample, rowvar=False))
    return np.ascontiguousarray(vectors[:, ::-1][:, :AXES], dtype=np.float32)


def _meetings(place: Floats, *, bits: int) -> Iterator[tuple[Ints, Ints]]:
    """Pairs whose hashes agree up to flips of the weakest bits; the same pair may come more than once."""
    margin = place[:, :bits] - np.median(place[:, :bits], axis=0)
    weight = 1 << np.arange(bits, dtype=np.int64)
    key = (margin > 0) @ weight
    flips = min(FLIPS, bits)
    weakest = weight[np.argpartition(np.abs(margin), flips - 1, axis=1)[:, :flips]]
    order = np.argsort(key, kind="stable")
    keys, first, count = np.unique(key[order], return_index=True, return_counts=True)
    for pattern in range(1 << flips):
        chosen = np.array([pattern >> b & 1 for b in range(flips)])
        probe = key ^ (weakest @ chosen)
        bucket = np.minimum(np.searchsorted(keys, probe), len(keys) - 1)
        for i, slot in _expand(first[bucket], np.where(keys[bucket] == probe, count[bucket], 0)):
            j = order[slot]
            keep = i < j if pattern == 0 else i != j
            yield i[keep], j[keep]


def _expand(first: Ints, count: Ints) -> Iterator[tuple[Ints, Ints]]:
    """(item, slot) for each slot in first .. first + count of each item, in pieces of about PAIRS."""
    total = np.cumsum(count)
    begin = 0
    while begin < len(count):
        done = total[begin - 1] if begin else 0
        end = max(int(np.searchsorted(total, done + PAIRS, "right")), begin + 1)
        some = count[begin:end]
        item = np.repeat(np.arange(begin, end), some)
        within = np.arange(len(item)) - np.repeat(np.cumsum(some) - some, some)
        yield item, first[item] + within
        begin = end


def _grey(pictures: Pictures) -> Floats:
    """float32 (n, side, side), at most 64 pixels a side."""
    pixels = pictures.astype(np.float32)
    channels = pixels.shape[3]
    grey: Floats = pixels[..., :3] @ LUMA if channels >= 3 else pixels.mean(axis=3) if channels > 1 else pixels[..., 0]
    if max(grey.shape[1:]) <= SIDE:
        return grey
    return _blocks(grey, SIDE)


def _blocks(grey: Floats, blocks: int) -> Floats:
    """Means of blocks x blocks blocks, fewer where the picture has fewer pixels."""
    down, across = (_means(side, min(blocks, side)) for side in grey.shape[1:])
    means: Floats = (down @ grey @ across.T).astype(np.float32, copy=False)
    return means


def _means(side: int, blocks: int) -> Floats:
    """The matrix (blocks, side) that averages equal blocks; a pixel on a border counts for both by its share."""
    edges = np.linspace(0, side, blocks + 1)
    pixel = np.arange(side)
    share = np.minimum(edges[1:, np.newaxis], pixel + 1) - np.maximum(edges[:-1, np.newaxis], pixel)
    means: Floats = (np.maximum(share, 0) * (blocks / side)).astype(np.float32)
    return means


def _keep_means(side: int, blocks: int) -> Floats:
    """The projection (side, side) onto what the block means tell."""
    means = _means(side, blocks).astype(np.float64)
    kept: Floats = (means.T @ np.linalg.inv(means @ means.T) @ means).astype(np.float32)
    return kept


def _unit(pictures: Floats, *, least: float) -> Floats:
    """Rows centred and divided by their length, or by that of a root mean square of ``least`` if it is more."""
    rows = pictures.reshape(len(pictures), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    length = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    unit: Floats = rows / np.maximum(length, np.float32(least * rows.shape[1] ** 0.5))[:, np.newaxis]
    return unit
