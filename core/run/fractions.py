"""Steps that are fractions, such as half an epoch: points are stored at whole ones."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from operator import index
from typing import Any

STEP = "step"
"""The series that holds what the steps were."""


class Fractions:
    """Counts fractional steps in their order; one that comes again has the same whole step."""

    def __init__(self) -> None:
        self._last = -1
        self._base = 0
        self._known: list[float] = []

    def whole(self, step: Any, values: Mapping[str, float]) -> tuple[int, Mapping[str, float]]:
        """A whole step, and the values with what the step was where it is another.

        A step lower than before begins to be counted anew from its place. Raises TypeError or
        ValueError for what is no number.
        """
        try:
            return index(step), values
        except TypeError:
            number = float(step)
        if not self._known:
            if number.is_integer():
                self._last = int(number)
                return self._last, values
            self._base = self._last + 1
        place = bisect_left(self._known, number)
        if self._known[place : place + 1] != [number]:
            del self._known[place:]
            self._known.append(number)
        return self._base + place, {**values, STEP: number}
