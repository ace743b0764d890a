"""Figures that are bounds: rounded so that they go on to promise what they promised.

JSON has no infinity: there an infinite bound is null.
"""

from __future__ import annotations

import math
from collections.abc import Callable

MOST_COUNTED = 1_000_000


def at_most(value: float | None, digits: int = 3, infinite: str = "infinite") -> str:
    """An upper bound, rounded up; None is an infinite one."""
    return _rounded(value, digits, math.ceil, infinite)


def at_least(value: float | None, digits: int = 3, infinite: str = "infinite") -> str:
    """A lower bound, rounded down."""
    return _rounded(value, digits, math.floor, infinite)


def percent(share: float, bound: Callable[[float], str] = at_most) -> str:
    """A share of a budget in hundredths, rounded by `at_most` or `at_least`."""
    hundredths = 100 * share
    return f"{bound(hundredths) if hundredths < 1000 else f'{hundredths:,.0f}'} %"


def counted(number: int) -> str:
    """So many; what is left for very small runs is no number to be read."""
    return f"{number:,}" if number <= MOST_COUNTED else "more than a million"


def or_null(bound: float) -> float | None:
    """A bound as JSON has it."""
    return bound if math.isfinite(bound) else None


def or_infinite(bound: float | None) -> float:
    """The inverse of `or_null`. Raises TypeError or ValueError for what is no number."""
    return math.inf if bound is None else float(bound)


def _rounded(
    value: float | None, digits: int, toward: Callable[[float], int], infinite: str
) -> str:
    if value is None or not math.isfinite(value):
        return infinite
    if value <= 0:
        return "0"
    exponent = digits - 1 - math.floor(math.log10(value))
    # A hair less, so that what is exact stays as it is.
    nudge = -1e-9 if toward is math.ceil else 1e-9
    return f"{toward(value * 10.0**exponent + nudge) / 10.0**exponent:.{digits}g}"
