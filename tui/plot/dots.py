"""Braille dots: a cell is two dots wide and four high.

Everything that is drawn is, for each column of dots, the stretch of rows it covers. That one
primitive draws lines without holes and the envelope between two curves, in a few array operations
whatever the number of points.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from traindeck.tui.plot.buckets import Floats

Rows = NDArray[np.int16]
Cells = NDArray[np.uint8]

BLANK = 0x2800
_LEFT, _RIGHT = (0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80)


def _stretches(bits: tuple[int, ...]) -> Cells:
    """The pattern of a column of four dots from row a up to, not including, row b; at 5a + b."""
    return np.array([sum(bits[a:b]) for a in range(5) for b in range(5)], np.uint8)


COUNT = np.array([pattern.bit_count() for pattern in range(256)], np.uint8)
_LEFT_STRETCH, _RIGHT_STRETCH = _stretches(_LEFT), _stretches(_RIGHT)


def cells(top: Rows, bottom: Rows, rows: int) -> Cells:
    """The braille pattern (0 to 255) of each cell.

    top, bottom  the dot rows that each dot column covers, both included; nothing where top is
                 greater. Shape (layers, 2 * columns).
    rows         cells the picture is high

    Returns: shape (layers, rows, columns).
    """
    first = (4 * np.arange(rows, dtype=np.int16))[:, None]
    begin = np.clip(top[:, None, :] - first, 0, 4)
    end = np.clip(bottom[:, None, :] + 1 - first, 0, 4)
    stretch = 5 * begin + end
    pattern: Cells = _LEFT_STRETCH[stretch[..., 0::2]]
    pattern |= _RIGHT_STRETCH[stretch[..., 1::2]]
    return pattern


def to_rows(heights: Floats, height: int) -> Rows:
    """Fractions of a picture `height` dots high as dot rows. What lies outside stays outside."""
    # One height outside is as good as a million, and does not overflow.
    return np.rint(np.clip(heights, -1, 2) * (height - 1)).astype(np.int16)


def joined(row: Rows, drawn: NDArray[np.bool_], linked: NDArray[np.bool_]) -> tuple[Rows, Rows]:
    """What a line covers in each dot column so that it has no holes.

    row     where the line crosses each column
    drawn   whether it does
    linked  shape (columns - 1,): whether it goes from one column to the next
    """
    left, right = row[:-1], row[1:]
    # A steep step is shared: each column draws its half, so that none is thicker than needed.
    middle = (left + right) >> 1
    top, bottom = np.where(drawn, row, 1), np.where(drawn, row, 0)
    falls, rises = linked & (left < right), linked & (left > right)
    np.maximum(bottom[:-1], middle, out=bottom[:-1], where=falls)
    np.minimum(top[1:], middle + 1, out=top[1:], where=falls)
    np.minimum(top[:-1], middle + 1, out=top[:-1], where=rises)
    np.maximum(bottom[1:], middle, out=bottom[1:], where=rises)
    return top, bottom
