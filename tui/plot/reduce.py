"""A curve brought down to one value for each column of dots."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from traindeck.tui.plot import dots
from traindeck.tui.plot.buckets import Floats
from traindeck.tui.plot.scale import Axes

_FAR = 1e9  # pictures: that high a line is upright, whatever lies beyond


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """What to draw of one series. Arrays have shape (buckets,); `x` never falls.

    Attributes:
        x: where each bucket stands, in axis units.
        low, high: extremes of its finite values (+inf, -inf where there are none).
        mid: mean of its finite values.
        finite: how many those are.
        nan, plus, minus: whether it holds NaN, +inf, -inf.
        smooth: the smoothed value, drawn in front of the then faint raw one; None for no smoothing.
        resumes: x of the places where the run went back.
        color: index of its color and marker.
    """

    x: Floats
    low: Floats
    high: Floats
    mid: Floats
    finite: NDArray[np.int64]
    nan: NDArray[np.bool_]
    plus: NDArray[np.bool_]
    minus: NDArray[np.bool_]
    smooth: Floats | None = None
    resumes: tuple[float, ...] = ()
    color: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Reduced:
    """What falls on each dot column: one entry for each column that has a bucket.

    Attributes:
        at: dot columns, rising; the first and last may lie outside the picture.
        heights: fractions of the picture from its top, shape (3 or 4, entries): greatest, least,
            mean and, with smoothing, the smoothed value.
        has: whether the entry has a place in the picture.
        nan, plus, minus: cell columns that hold NaN, +inf, -inf.
        left_out: something was not above zero on a log axis.
    """

    at: Floats
    heights: Floats
    has: NDArray[np.bool_]
    nan: list[int]
    plus: list[int]
    minus: list[int]
    left_out: bool

    @property
    def front(self) -> Floats:
        """Heights of the line in front."""
        last: Floats = self.heights[-1]
        return last


def reduce_curve(curve: Curve, axes: Axes, columns: int) -> Reduced:
    """Group the buckets in sight, and one more on each side, by dot column."""
    start = max(int(curve.x.searchsorted(axes.x0, "left")) - 1, 0)
    stop = min(int(curve.x.searchsorted(axes.x1, "right")) + 1, len(curve.x))
    x = curve.x[start:stop]
    layers = 3 if curve.smooth is None else 4
    if not len(x):
        none = np.empty(0)
        return Reduced(none, np.empty((layers, 0)), none > 0, [], [], [], False)
    place = axes.fractions(x) * (columns - 1)
    nearest = np.rint(np.clip(place, -2, columns + 1))
    new = np.empty(len(x), np.bool_)
    new[0] = True
    np.not_equal(nearest[1:], nearest[:-1], out=new[1:])
    starts = new.nonzero()[0]
    at = nearest[starts]
    inside = (at >= 0) & (at < columns)
    at = np.where(inside, at, place[starts])
    finite = curve.finite[start:stop]
    low = np.minimum.reduceat(curve.low[start:stop], starts)
    high = np.maximum.reduceat(curve.high[start:stop], starts)
    total = np.add.reduceat(finite, starts)
    has = total > 0
    mid = curve.mid[start:stop]
    ends = np.empty_like(starts)
    ends[:-1] = starts[1:]
    ends[-1] = len(x)
    if len(starts) < len(x):
        share = finite / np.maximum(total, 1).repeat(ends - starts)
        mid = np.add.reduceat(mid * share, starts)
    values = [high, low, mid]
    if curve.smooth is not None:
        smooth = curve.smooth[start:stop][ends - 1]
        # The smoothed value of a column is that of its last bucket, unless that has none.
        values.append(np.where(np.isnan(smooth), mid, smooth))
    left_out = False
    if axes.log:
        left_out = bool(((low <= 0) & has & inside).any())
        values[1] = np.maximum(low, axes.y0)
        has &= (values[-1] > 0) & (mid > 0)

    def marked(flags: NDArray[np.bool_]) -> list[int]:
        flags = flags[start:stop]
        if not flags.any():
            return []
        places = nearest[flags]
        places = places[(places >= 0) & (places < columns)]
        return sorted(set((places.astype(np.int64) // 2).tolist()))

    return Reduced(
        at,
        axes.heights(np.array(values)),
        has,
        marked(curve.nan),
        marked(curve.plus),
        marked(curve.minus),
        left_out,
    )


def stretches(reduced: Reduced, columns: int, height: int) -> tuple[dots.Rows, dots.Rows]:
    """What the curve covers in each dot column: its shade (layer 0) and its line (layer 1).

    Between entries all values run in straight lines, unless an entry without a place in the picture
    lies between them.

    Returns: top and bottom rows, each of shape (2, columns).
    """
    at, has = reduced.at, reduced.has
    last = len(at) - 1
    if last < 0:
        return np.ones((2, columns), np.int16), np.zeros((2, columns), np.int16)
    column = np.arange(columns)
    before = at.searchsorted(column, "right") - 1
    known = before >= 0
    before = np.maximum(before, 0)
    after = np.minimum(before + 1, last)
    gap = at[after] - at[before]
    offset = column - at[before]
    share = offset / np.where(gap > 0, gap, 1.0)
    has_before = known & has[before]
    linked = has_before & has[after] & (before < last)
    drawn = linked | (has_before & (offset == 0))
    # Beside a tiny range a value may be infinitely high, and from there no line comes back.
    known_heights = np.clip(reduced.heights, -_FAR, _FAR)
    start = known_heights[:, before]
    between = start + (known_heights[:, after] - start) * share
    # An entry's own column needs no neighbor, which may have no height.
    heights = np.where(drawn & (share > 0), between, np.where(drawn, start, 0.0))
    rows = dots.to_rows(heights, height)
    top, bottom = np.where(drawn, rows[0], 1), np.where(drawn, rows[1], 0)
    line = dots.joined(rows[-1], drawn, linked[:-1])
    if len(rows) == 4:
        raw = dots.joined(rows[2], drawn, linked[:-1])
        top, bottom = np.minimum(top, raw[0]), np.maximum(bottom, raw[1])
    return np.array((top, line[0])), np.array((bottom, line[1]))
