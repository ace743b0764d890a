"""Series that a script prints and writes to a file too, as Lightning's bar and its loggers do."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable
from decimal import Decimal

CLOSE = 0.006
"""Three digits tell a number to half a percent."""


def are_twins(printed: Iterable[float], written: Iterable[float]) -> bool:
    """Whether all that was printed is what was written, to the digits that were printed.

    The last that was printed may not have been written yet; something has to be.
    """
    values = list(dict.fromkeys(value for value in printed if math.isfinite(value)))
    exact = sorted({value for value in written if math.isfinite(value)})
    known = [_has(exact, value) for value in values]
    return any(known) and all(known[:-1])


def _has(exact: list[float], value: float) -> bool:
    exponent = Decimal(repr(value)).as_tuple().exponent
    digits = 0.501 * 10.0 ** int(exponent) if isinstance(exponent, int) else 0.0
    near = min(digits, CLOSE * abs(value))
    place = bisect_left(exact, value - near)
    return place < len(exact) and exact[place] <= value + near
