"""Single places in a picture, each with a few words beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from traindeck.tui.plot.buckets import Floats
from traindeck.tui.plot.raster import GRID, LABEL, PLAIN, Frame
from traindeck.tui.plot.reduce import Curve


@dataclass(frozen=True, slots=True)
class Mark:
    """A place to point out: one character there, and what it is called.

    style   a style number of the raster's
    """

    x: float
    y: float
    glyph: str
    label: str
    style: int


def points(xs: Sequence[float], ys: Sequence[float], color: int = 0) -> Curve:
    """A line through these points, `xs` rising."""
    x: Floats = np.array(xs, np.float64)
    y: Floats = np.array(ys, np.float64)
    odd = np.zeros(len(x), np.bool_)
    return Curve(x, y, y, y, np.ones(len(x), np.int64), odd, odd, odd, color=color)


def with_marks(frame: Frame, marks: Sequence[Mark]) -> Frame:
    """The frame with these marks in it, the first ones foremost.

    A label goes to the right of its mark, else to the left, above or below, wherever it covers
    nothing; where there is no such place it is left out.
    """
    axes = frame.axes
    if axes is None:
        return frame
    cells, styles = frame.cells.copy(), frame.styles.copy()
    taken = np.zeros(cells.shape, np.bool_)
    placed: list[tuple[Mark, int, int]] = []
    for mark in marks:
        column = frame.column_of(mark.x)
        if column is None or not axes.y0 <= mark.y <= axes.y1:
            continue
        row = axes.row(mark.y, frame.rows)
        if not taken[row, column]:
            cells[row, column], styles[row, column] = ord(mark.glyph), mark.style
            taken[row, column] = True
        placed.append((mark, row, column))
    for mark, row, column in placed:
        size = len(mark.label)
        beside = [(row, column + 2), (row, column - 1 - size)]
        centered = min(max(column - size // 2, frame.left), frame.left + frame.columns - size)
        for at, start in (*beside, (row - 1, centered), (row + 1, centered)):
            stop = start + size
            inside = 0 <= at < frame.rows and frame.left <= start
            if not (size and inside and stop <= frame.left + frame.columns):
                continue
            around = slice(max(start - 1, 0), stop + 1)
            vacant = np.isin(styles[at, start:stop], (PLAIN, GRID)).all()
            if vacant and not taken[at, around].any():
                cells[at, start:stop] = [ord(char) for char in mark.label]
                styles[at, start:stop] = LABEL
                taken[at, start:stop] = True
                break
    return replace(frame, cells=cells, styles=styles)
