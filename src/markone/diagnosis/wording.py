"""Numbers in the messages of findings."""

import math


def share(fraction: float) -> str:
    """
    >>> share(0.4321), share(0.00063), share(1.0)
    ('43.2 %', '0.063 %', '100 %')
    """
    return f"{100 * fraction:.3g} %"


def times(factor: float) -> str:
    """
    >>> times(605.2), times(3984.6), times(2.1e9), times(math.inf)
    ('605', '3,985', '2e9', 'infinitely many')
    """
    if math.isinf(factor):
        return "infinitely many"
    digits = math.floor(math.log10(factor)) if factor > 0 else 0
    return f"{factor:,.0f}" if digits < 5 else f"{round(factor / 10.0**digits)}e{digits}"
