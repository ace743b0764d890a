"""Axes: from values to places in the picture and back."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from traindeck.tui.plot.buckets import Floats
from traindeck.tui.plot.ticks import Tick, linear_ticks, log_ticks, time_ticks

_MARGIN = 0.03  # of the height, above and below, so that extremes do not lie on the frame


@dataclass(frozen=True, slots=True)
class Axes:
    """The ranges a picture shows. x0 < x1 and y0 < y1; y above 0 if `log`.

    x      whole `steps`, `elapsed` seconds, any `numbers`, or the `powers` of ten of what it is of
    names  what stands below x = 0, 1, 2 …, instead of numbers
    """

    x0: float
    x1: float
    y0: float
    y1: float
    log: bool = False
    x: Literal["steps", "elapsed", "numbers", "powers"] = "steps"
    names: tuple[str, ...] = ()

    @property
    def width(self) -> float:
        return self.x1 - self.x0

    def fraction(self, x: float) -> float:
        """0 at the left edge, 1 at the right one."""
        return (x - self.x0) / self.width

    def fractions(self, x: Floats) -> Floats:
        return (x - self.x0) / self.width

    def column(self, x: float, columns: int) -> int:
        """The cell column of `x`; outside 0 to columns - 1 if `x` is out of range."""
        return round(min(max(self.fraction(x), -1), 2) * (2 * columns - 1)) // 2

    def heights(self, y: Floats) -> Floats:
        """0 at the top, 1 at the bottom; beyond that what is out of range. NaN and, on a log axis,
        what is not above 0 come out as NaN or infinite."""
        if self.log:
            with np.errstate(divide="ignore", invalid="ignore"):
                y = np.log10(y)
            top, bottom = math.log10(self.y1), math.log10(self.y0)
            return (top - y) / (top - bottom)
        # Halved so that a range from -1e308 to 1e308 does not overflow.
        scale = 0.5 if self.y1 - self.y0 == math.inf else 1.0
        with np.errstate(over="ignore"):
            return (self.y1 * scale - y * scale) / (self.y1 * scale - self.y0 * scale)

    def row(self, y: float, rows: int) -> int:
        """The cell row of a `y` within the range."""
        if self.log:
            place = math.log10(self.y1 / y) / math.log10(self.y1 / self.y0)
            if not math.isfinite(place):
                top = math.log10(self.y1)
                place = (top - math.log10(y)) / (top - math.log10(self.y0))
        else:
            scale = 0.5 if self.y1 - self.y0 == math.inf else 1.0
            place = (self.y1 * scale - y * scale) / (self.y1 * scale - self.y0 * scale)
        return round(min(max(place, 0), 1) * (4 * rows - 1)) // 4

    def y_ticks(self, rows: int) -> tuple[Tick, ...]:
        """Ticks for a picture `rows` cells high, no two in one row."""
        if rows < 2:
            return ()
        find = log_ticks if self.log else linear_ticks
        for most in range(max(2, round(rows / 2.5)), rows + 1):
            ticks = find(self.y0, self.y1, most)
            places = [self.row(tick.value, rows) for tick in ticks]
            if len(set(places)) < len(ticks):
                return ()
            if len(ticks) >= 2:
                return ticks
        return find(self.y0, self.y1, 1)

    def x_ticks(self, columns: int) -> tuple[Tick, ...]:
        """Ticks for a picture `columns` cells wide whose labels leave two cells between them."""
        most = max(columns // 8, 2) + 1
        while most > 1:
            ticks = self._across(most - 1)
            # One try for each set of ticks there is, not for each number of them asked for.
            most = min(most - 1, max(len(ticks), 1))
            ends = -2
            for tick in ticks:
                start = self.label_column(tick, columns)
                if start < ends + 2 or start + len(tick.label) > columns:
                    break
                ends = start + len(tick.label)
            else:
                return ticks
        return ()

    def _across(self, most: int) -> tuple[Tick, ...]:
        if self.names:
            stride = -(-len(self.names) // most)
            return tuple(
                Tick(float(at), self.names[at]) for at in range(0, len(self.names), stride)
            )
        if self.x == "elapsed":
            return time_ticks(self.x0, self.x1, most)
        if self.x == "powers":
            low, high = (10.0 ** min(max(end, -307), 308) for end in (self.x0, self.x1))
            return tuple(Tick(math.log10(t.value), t.label) for t in log_ticks(low, high, most))
        return linear_ticks(self.x0, self.x1, most, whole=self.x == "steps")

    def label_column(self, tick: Tick, columns: int) -> int:
        """Where the label of an x tick starts: below its tick, moved in at the edges."""
        centered = self.column(tick.value, columns) - (len(tick.label) - 1) // 2
        return max(min(centered, columns - len(tick.label)), 0)


def x_range(ranges: Iterable[tuple[float, float]]) -> tuple[float, float] | None:
    """The least range that holds all; a single place is given some room."""
    known = list(ranges)
    if not known:
        return None
    low, high = min(each[0] for each in known), max(each[1] for each in known)
    room = max(0.5, 4 * math.ulp(low))
    return (low, high) if low < high else (low - room, low + room)


def y_range(lows: Floats, highs: Floats, log: bool) -> tuple[float, float] | None:
    """The range of all finite values with a margin; None if there is nothing to show.

    lows, highs  extremes of the buckets in sight; +inf and -inf where a bucket has none
    log          leave out what is not above 0
    """
    if log:
        # A bucket that reaches below zero still shows its part above.
        lows = np.where(lows > 0, lows, highs)
        lows, highs = lows[highs > 0], highs[highs > 0]
    lows, highs = lows[np.isfinite(lows)], highs[np.isfinite(highs)]
    if not len(lows) or not len(highs):
        return None
    low, high = float(lows.min()), float(highs.max())
    if log:
        return _log_margin(low, high)
    if low == high:
        room = abs(low) * 0.1 or 1.0
    else:
        room = (high * 0.5 - low * 0.5) * 2 * _MARGIN if high - low == math.inf else 0.0
        room = room or (high - low) * _MARGIN
    # At least a few steps of the floating-point grid, so that the ends differ.
    room = max(room, 4 * math.ulp(max(abs(low), abs(high))))
    top = sys.float_info.max
    return max(low - room, -top), min(high + room, top)


def _log_margin(low: float, high: float) -> tuple[float, float]:
    factor = (high / low if low > 0 and high / low < math.inf else 1e300) ** _MARGIN
    factor = max(factor, 1.02) if low < high else 1.5
    return max(low / factor, 5e-324), min(high * factor, sys.float_info.max)
