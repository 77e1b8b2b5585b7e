"""Charts as inline SVG: horizontal grid only, labels at the curves' ends instead of a legend, logarithmic past two decades."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from markone.report.words import number, share

Floats = NDArray[np.float64]

WIDTH, HEIGHT = 480, 230
LEFT, RIGHT, TOP, BOTTOM = (
    52,
    118,
    10,
    26,
)  # room for tick labels, for labels at the curves' ends, and for the axis below
MOST_POINTS = 600  # per curve; beyond, every stretch is drawn by its least and its largest value
LABEL_HEIGHT = 14
FLAT = 1e-12  # of the size of the values: what rounding alone gives a constant
DECADES_FOR_LOG = 2


@dataclass(frozen=True, eq=False)
class Curve:
    """tone: "this" (blue), "other" (orange) or "reference" (grey, dashed); a curve without label is drawn faintly behind."""

    label: str
    x: Floats
    y: Floats
    tone: Literal["this", "other", "reference"] = "this"


@dataclass(frozen=True)
class Scale:
    """From values to pixels."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = (
            (math.log(v) for v in (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        )
        return self.start + (at - low) / (high - low) * (self.end - self.start)


def chart(title: str, curves: Sequence[Curve], *, end: float, as_share: bool = False, unit: str = "epoch") -> str:
    """One chart over 0 to ``end`` units as an SVG figure; an empty string where nothing finite is to be drawn."""
    kept = [curve for curve in map(_finite, curves) if len(curve.x)]
    if not any(curve.tone != "reference" for curve in kept):
        return ""
    show = share if as_share else number
    x_scale = Scale(0.0, end if end > FLAT else 1.0, LEFT, WIDTH - RIGHT)
    y_scale = _y_scale(kept, as_share=as_share)
    labelled = [curve for curve in kept if curve.label]
    spoken = "; ".join(f"{curve.label} {show(float(curve.y[-1]))}" for curve in labelled)
    parts = [
        f'<figure><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}: {escape(spoken)}">',
        *_grid(y_scale, _percent if as_share else number),
        *_x_axis(x_scale, unit),
        *(_line(curve, x_scale, y_scale) for curve in kept),
        *_end_labels(labelled, x_scale, y_scale, show),
        "</svg></figure>",
    ]
    return "".join(parts)


def histogram(title: str, values: Floats, *, bins: int = 30) -> str:
    """How often values occur, as an SVG figure; an empty string for fewer than two different ones."""
    known = values[np.isfinite(values)]
    if len(known) < 2 or known.min() == known.max():
        return ""
    counts, edges = np.histogram(known, min(bins, len(known)))
    x_scale = Scale(float(edges[0]), float(edges[-1]), LEFT, WIDTH - RIGHT)
    y_scale = Scale(0.0, float(counts.max()), HEIGHT - BOTTOM, TOP)
    bars = [
        f'<rect class="bar" x="{x_scale(a) + 0.5:.1f}" y="{y_scale(n):.1f}" width="{x_scale(b) - x_scale(a) - 1:.1f}"'
        f' height="{HEIGHT - BOTTOM - y_scale(n):.1f}"/>'
        for a, b, n in zip(edges[:-1], edges[1:], counts, strict=True)
        if n
    ]
    spoken = f"{len(known)} values, median {number(float(np.median(known)))}"
    head = f'<figure><figcaption>{escape(title)}</figcaption><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
    return "".join(
        [
            f'{head}aria-label="{escape(title)}: {spoken}">',
            *_grid(y_scale, number),
            *_x_axis(x_scale, ""),
            *bars,
            "</svg></figure>",
        ]
    )


def smooth(values: Floats, window: int) -> Floats:
    """The mean of ``window`` neighbours, fewer at the ends; the same length."""
    if window <= 1 or len(values) < 2:
        return values
    sums = np.cumsum(np.concatenate([[0.0], values]))
    places = np.arange(len(values))
    starts, ends = np.maximum(places - window // 2, 0), np.minimum(places + (window + 1) // 2, len(values))
    return np.asarray((sums[ends] - sums[starts]) / (ends - starts))


def ticks(low: float, high: float, *, most: int = 5, factors: Sequence[float] = (1, 2, 2.5, 5)) -> list[float]:
    """At most ``most`` round values (one of ``factors`` times a power of ten apart) from low to high.

    >>> ticks(0, 1)
    [0.0, 0.25, 0.5, 0.75, 1.0]
    >>> ticks(0, 7)
    [0.0, 2.0, 4.0, 6.0]
    """
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    steps = [factor * power * more for more in (1, 10, 100) for factor in factors]
    step = next(step for step in steps if math.floor(high / step + 1e-9) - math.ceil(low / step - 1e-9) < most)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{place * step:.12g}") for place in range(first, last + 1)]  # without the noise of the product


def decades(low: float, high: float, *, most: int = 6) -> list[float]:
    """Powers of ten from low to high, every second or third one where there are many.

    >>> decades(0.005, 30)
    [0.01, 0.1, 1.0, 10.0]
    """
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    stride = max(1, math.ceil((last - first + 1) / most))
    return [10.0**power for power in range(first, last + 1, stride)]


def _finite(curve: Curve) -> Curve:
    keep = np.isfinite(curve.y) & np.isfinite(curve.x)
    return Curve(curve.label, *_decimate(curve.x[keep], curve.y[keep]), curve.tone)


def _decimate(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    if len(x) <= MOST_POINTS:
        return x, y
    keep = {0, len(x) - 1}
    for places in np.array_split(np.arange(len(x)), MOST_POINTS // 2 - 1):
        keep |= {int(places[y[places].argmin()]), int(places[y[places].argmax()])}
    order = sorted(keep)
    return x[order], y[order]


def _y_scale(curves: Sequence[Curve], *, as_share: bool) -> Scale:
    low, high = min(float(curve.y.min()) for curve in curves), max(float(curve.y.max()) for curve in curves)
    start, end = HEIGHT - BOTTOM, TOP
    if as_share:
        return Scale(0.0, 1.0, start, end)
    if low > 0 and high / low > 10**DECADES_FOR_LOG:
        return Scale(low, high, start, end, log=True)
    low = min(low, 0.0) if low > 0 and low < (high - low) else low  # from zero where zero is near
    flat = high - low <= FLAT * max(1.0, abs(low))  # nothing to see, and too little to divide by
    return Scale(low, low + max(1.0, abs(low)) if flat else high, start, end)


def _grid(scale: Scale, show: Callable[[float], str]) -> list[str]:
    values = decades(scale.low, scale.high) if scale.log else ticks(scale.low, scale.high)
    lines = []
    for value in values:
        y = scale(value)
        lines.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        text = escape(show(value))
        lines.append(f'<text class="tick" x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    return lines


def _x_axis(scale: Scale, unit: str) -> list[str]:
    middle = [
        f'<text class="tick" x="{scale(value):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{number(value)}</text>'
        for value in ticks(scale.low, scale.high, factors=(1, 2, 5))
    ]
    return [*middle, f'<text class="tick" x="{WIDTH - RIGHT + 24}" y="{HEIGHT - 8}">{unit}</text>']


def _percent(fraction: float) -> str:
    return f"{100 * fraction:g} %"


def _line(curve: Curve, x_scale: Scale, y_scale: Scale) -> str:
    points = " ".join(f"{x_scale(x):.1f},{y_scale(y):.1f}" for x, y in zip(curve.x, curve.y, strict=True))
    faint = "" if curve.label else " faint"
    return f'<polyline class="{curve.tone}{faint}" points="{points}"/>'


def _end_labels(curves: Sequence[Curve], x_scale: Scale, y_scale: Scale, show: Callable[[float], str]) -> list[str]:
    """Each curve's name and last value beside its end, moved apart where they would collide, and off the axis below."""
    placed = sorted(((y_scale(float(curve.y[-1])) + 4, curve) for curve in curves), key=lambda item: item[0])
    heights, last = [], -math.inf
    for y, _ in placed:
        heights.append(last := max(y, last + LABEL_HEIGHT))
    below = float(HEIGHT - BOTTOM + 4)
    for place in reversed(range(len(heights))):
        heights[place] = min(heights[place], below)
        below = heights[place] - LABEL_HEIGHT
    lines = []
    for height, (_, curve) in zip(heights, placed, strict=True):
        text = escape(f"{curve.label} {show(float(curve.y[-1]))}")
        x = x_scale(float(curve.x[-1])) + 7
        lines.append(f'<text class="end {curve.tone}" x="{x:.1f}" y="{height:.1f}">{text}</text>')
    return lines
