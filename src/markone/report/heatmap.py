"""Heat maps as inline SVG: layers from top to bottom, steps from left to right, darker where the value is larger."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from markone.report.words import number
from markone.training.run import Series

Floats = NDArray[np.float64]

WIDTH, LEFT, ROW, TOP, BOTTOM = 480, 150, 14, 4, 40
MOST_ROWS, COLUMNS, TONES = 32, 48, 8
LETTERS = 22  # of a layer's name
DECADES_FOR_LOG = 2


def heatmap(title: str, layers: Mapping[str, Series], *, end: int, marked: str | None = None) -> str:
    """One row a layer, in the given order, over the steps 0 to ``end``; an empty string where nothing finite is to be drawn.

    marked: the layer whose name is set off. Of more than MOST_ROWS layers some are left out, never the marked one.
    """
    rows = {name: _columns(series, end) for name, series in layers.items() if len(series)}
    rows = {name: rows[name] for name in _kept(list(rows), marked)}
    values = np.array(list(rows.values()))
    known = values[np.isfinite(values)]
    if not known.size:
        return ""
    low, high = float(known.min()), float(known.max())
    least = float(known[known > 0].min()) if (known > 0).any() else 0.0
    log = low >= 0 and least > 0 and high / least > 10**DECADES_FOR_LOG
    tones = _tones(values, least if log else low, high, log=log)
    height = TOP + ROW * len(rows) + BOTTOM
    drawn = [
        _row(name, row, TOP + ROW * place, marked=name == marked)
        for place, (name, row) in enumerate(zip(rows, tones, strict=True))
    ]
    scale = "logarithmic" if log else "linear"
    legend = f"light {number(least if log else low)}, dark {number(high)} ({scale}); outlined: not a number"
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(f"{title}: {legend}")}">{"".join(drawn)}'
        f'<text class="tick" x="{LEFT}" y="{height - 24}">0</text>'
        f'<text class="tick" x="{WIDTH}" y="{height - 24}" text-anchor="end">step {number(end)}</text>'
        f'<text class="tick" x="{WIDTH}" y="{height - 8}" text-anchor="end">{escape(legend)}</text></svg></figure>'
    )


def _columns(series: Series, end: int) -> Floats:
    """The last known value at the end of each of COLUMNS equal stretches of the training."""
    edges = np.linspace(0, max(end, 1), COLUMNS + 1)[1:]
    places = np.searchsorted(series.steps, edges, side="right") - 1
    return np.where(places >= 0, series.values[np.maximum(places, 0)], series.values[0])


def _kept(names: Sequence[str], marked: str | None) -> list[str]:
    if len(names) <= MOST_ROWS:
        return list(names)
    places = set(np.linspace(0, len(names) - 1, MOST_ROWS).round().astype(int).tolist())
    return [name for place, name in enumerate(names) if place in places or name == marked]


def _tones(values: Floats, low: float, high: float, *, log: bool) -> NDArray[np.int64]:
    """From 0 (least) to TONES - 1 (largest); -1 for what is no finite number."""
    finite = np.isfinite(values)
    clipped = np.clip(np.where(finite, values, low), low, high)
    span = math.log(high / low) if log else high - low
    part = (np.log(clipped / low) if log else clipped - low) / span if span > 0 else np.zeros_like(clipped)
    return np.where(finite, np.rint(part * (TONES - 1)), -1).astype(np.int64)


def _row(name: str, tones: NDArray[np.int64], y: int, *, marked: bool) -> str:
    short = name if len(name) <= LETTERS else f"…{name[1 - LETTERS :]}"
    cells, x, width = [], 0, (WIDTH - LEFT) / COLUMNS
    for tone, group in groupby(tones.tolist()):
        count = len(list(group))
        kind = 'class="lost"' if tone < 0 else f'class="heat" opacity="{0.06 + 0.94 * tone / (TONES - 1):.2f}"'
        cells.append(
            f'<rect {kind} x="{LEFT + x * width:.1f}" y="{y}" width="{count * width:.1f}" height="{ROW - 1}"/>'
        )
        x += count
    return (
        f'<text class="{"end other" if marked else "tick"}" x="{LEFT - 6}" y="{y + ROW - 4}" text-anchor="end">'
        f"<title>{escape(name)}</title>{escape(short)}</text>{''.join(cells)}"
    )
