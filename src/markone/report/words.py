"""Numbers in words: what a reader sees in the terminal and on the page."""

import math
from collections.abc import Sequence

METRIC_NAMES = {  # how the field writes them; others are words already
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R²",
    "mean_iou": "mean IoU",
    "pixel_accuracy": "pixel accuracy",
}
SHARES = ("accuracy", "mean_iou", "pixel_accuracy")  # metrics that are read as percentages


def number(value: float) -> str:
    """Three significant digits; all digits of a whole number.

    >>> number(0.012345), number(1234567.0), number(2.3), number(0.0000123), number(math.nan)
    ('0.0123', '1,234,567', '2.3', '1.23e-05', 'NaN')
    """
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "infinity" if value > 0 else "-infinity"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{value:,.0f}"
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e15 else f"{value:.3g}"


def share(fraction: float) -> str:
    """A fraction as a percentage; only all of them are 100 %.

    >>> share(0.983), share(1.0), share(0.9999)
    ('98.3 %', '100 %', '99.99 %')
    """
    if not math.isfinite(fraction):
        return number(fraction)
    if fraction in (0.0, 1.0):
        return f"{100 * fraction:.0f} %"
    texts = (f"{100 * fraction:.{digits}f}" for digits in (1, 2, 3, 4))
    return next((text for text in texts if 0 < float(text) < 100), f"{100 * fraction:.1g}") + " %"


def metric_name(name: str) -> str:
    return METRIC_NAMES.get(name, name)


def metric_value(name: str, value: float) -> str:
    """Shares as percentages, other metrics as numbers."""
    return share(value) if name in SHARES else number(value)


def duration(seconds: float) -> str:
    """Two units at most.

    >>> duration(0.034), duration(8.31), duration(125), duration(7500), duration(200000)
    ('0.03 s', '8.3 s', '2 min 05 s', '2 h 05 min', '2 d 7 h')
    """
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def age(seconds: float) -> str:
    """One unit.

    >>> age(3), age(130), age(7300), age(200000)
    ('3 s', '2 min', '2 h', '2 d')
    """
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def several(count: float, thing: str) -> str:
    """
    >>> several(1, "step"), several(1200, "step"), several(2.5, "epoch")
    ('1 step', '1,200 steps', '2.5 epochs')
    """
    return f"{number(count)} {thing}" if count == 1 else f"{number(count)} {thing}s"


def listing(words: Sequence[str]) -> str:
    """
    >>> listing(["a"]), listing(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
