"""A curve in one line of text."""

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BARS = "▁▂▃▄▅▆▇█"
DECADES_FOR_LOG = 2  # a range of more than two decades is drawn on a logarithmic scale (lab.md, section 5)


def sparkline(
    values: Sequence[float] | NDArray[np.float64],
    *,
    width: int = 40,
    lowest: float | None = None,
    highest: float | None = None,
) -> str:
    """Eight heights, at most ``width`` places, each the mean of its stretch; ``×`` where a value is not finite.

    ``lowest`` and ``highest`` fix the scale, so that two lines can be compared.

    >>> sparkline([1, 2, 3, 4])
    '▁▃▆█'
    """
    data = np.asarray(values, dtype=np.float64)
    if data.size == 0:
        return ""
    data = _shorten(data, width)
    finite = data[np.isfinite(data)]
    if finite.size == 0:
        return "×" * len(data)
    low = float(finite.min()) if lowest is None else lowest
    high = float(finite.max()) if highest is None else highest
    if low > 0 and high / low > 10**DECADES_FOR_LOG:
        with np.errstate(invalid="ignore"):
            data, low, high = np.log(data), float(np.log(low)), float(np.log(high))
    return "".join(_bar(value, low, high) for value in data)


def _shorten(data: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    if len(data) <= width:
        return data
    edges = np.linspace(0, len(data), width + 1).astype(int)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.array([data[start:end].mean() for start, end in itertools.pairwise(edges)])


def _bar(value: float, low: float, high: float) -> str:
    if not np.isfinite(value):
        return "×"
    span = high / 2 - low / 2  # halves, for the range may be past the largest float
    place = (value / 2 - low / 2) / span if span > 0 else 0.0
    return BARS[int(np.clip(round(place * (len(BARS) - 1)), 0, len(BARS) - 1))]
