"""Braille dots: a cell is two dots wide and four high.

Everything that is drawn is, for each column of dots, the stretch of rows it covers. That one
primitive draws lines without holes and the envelope between two curves, in a few array operations
whatever the number of points.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from traindeck.tui.plot.buckets import Floats

Rows = NDArray[np.int64]
Dots = NDArray[np.bool_]
Cells = NDArray[np.uint8]

BLANK = 0x2800
_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


def fill(top: Rows, bottom: Rows, height: int) -> Dots:
    """Dots from row `top` to row `bottom` of each column, both covered; none where top > bottom."""
    rows = np.arange(height)[:, None]
    return (rows >= top) & (rows <= bottom)


def pack(dots: Dots) -> Cells:
    """The braille pattern (0 to 255) of each cell of a dot matrix of shape (4 rows, 2 columns)."""
    cells = np.zeros((dots.shape[0] // 4, dots.shape[1] // 2), np.uint8)
    for row, pair in enumerate(_BITS):
        for column, bit in enumerate(pair):
            cells |= dots[row::4, column::2].view(np.uint8) * np.uint8(bit)
    return cells


def line(rows: Floats, linked: NDArray[np.bool_], height: int) -> tuple[Rows, Rows]:
    """What a line covers in each dot column.

    Args:
        rows: where the line crosses each column, in dots from the top; NaN where it does not.
        linked: shape (columns - 1,): whether it goes from one column to the next without a gap.
        height: dots; a line that leaves the picture is clipped to it.
    """
    drawn = ~np.isnan(rows)
    # One dot outside is as good as a million, and does not overflow an integer.
    at = np.rint(np.clip(np.where(drawn, rows, 0), -height, 2 * height)).astype(np.int64)
    top = np.where(drawn, at, 1)
    bottom = np.where(drawn, at, 0)
    left, right = at[:-1], at[1:]
    middle = (left + right) >> 1
    falls, rises = linked & (left < right), linked & (left > right)
    # A steep step is shared: each column draws its half, so that no column is thicker than needed.
    bottom[:-1][falls] = np.maximum(bottom[:-1], middle)[falls]
    top[1:][falls] = np.minimum(top[1:], middle + 1)[falls]
    top[:-1][rises] = np.minimum(top[:-1], middle + 1)[rises]
    bottom[1:][rises] = np.maximum(bottom[1:], middle)[rises]
    return top, bottom
