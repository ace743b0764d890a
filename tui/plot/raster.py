"""Curves to character cells: pure functions, arrays in, a `Frame` out.

A frame is two arrays of one value a cell, a code point and a style number; nothing here knows of
colors or Textual. Each curve is first reduced to one place for each dot column (least, greatest and
mean of what falls there), so the cost depends on the picture's width, not on the points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from traindeck.tui.plot import dots
from traindeck.tui.plot.reduce import Curve, Reduced, reduce_curve, stretches
from traindeck.tui.plot.scale import Axes
from traindeck.tui.plot.ticks import Tick

# Style numbers of cells. A curve of color k has LINE + k, its envelope and raw values FAINT + k.
PLAIN, AXIS, LABEL, GRID, ALERT, CURSOR, HINT = range(7)
LINE, FAINT = 0x10, 0x50
MAX_COLORS = FAINT - LINE
# Added to a style: under the cursor, in the dragged range, a line within its envelope.
HIGHLIGHT, SELECTED, SHADED = 0x100, 0x200, 0x400

NAN_MARK, HIGH_MARK, LOW_MARK, RESUME_MARK, POINT_MARK = "×▲▼↻•"
MOST_SHADED = 4  # with more curves, their envelopes and raw values would hide the lines
MARKERS = "●■▲◆▼★○□△◇▽☆"


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A drawn picture.

    Attributes:
        cells: code points, shape (height, width).
        styles: style numbers, shape (height, width).
        left, columns, rows: the plot area: its first column, its size in cells; it starts at row 0.
        axes: the ranges drawn; None if there was nothing to draw.
        left_out: values at or below zero were left out of a log axis.
    """

    cells: NDArray[np.uint32]
    styles: NDArray[np.int16]
    left: int
    columns: int
    rows: int
    axes: Axes | None = None
    left_out: bool = False
    y_ticks: tuple[Tick, ...] = ()
    x_ticks: tuple[Tick, ...] = ()

    def text(self) -> str:
        lines = self.cells.astype("<u4")
        return "\n".join(row.tobytes().decode("utf-32-le").rstrip() for row in lines)

    def column_of(self, x: float) -> int | None:
        """The cell column at `x`, or None outside the plot."""
        if self.axes is None:
            return None
        at = round(self.axes.fraction(x) * (2 * self.columns - 1)) // 2
        return self.left + at if 0 <= at < self.columns else None

    def x_of(self, column: int) -> float | None:
        """The x in the middle of a cell column, or None outside the plot."""
        at = column - self.left
        if self.axes is None or not 0 <= at < self.columns:
            return None
        return self.axes.x0 + (2 * at + 0.5) / max(2 * self.columns - 1, 1) * self.axes.width


@dataclass(slots=True)
class _Canvas:
    cells: NDArray[np.uint32]
    styles: NDArray[np.int16]

    def put(self, row: int, column: int, text: str, style: int) -> None:
        """Write `text`, cut to the canvas."""
        height, width = self.cells.shape
        if not 0 <= row < height:
            return
        if column < 0:
            text, column = text[-column:], 0
        text = text[: max(width - column, 0)]
        stop = column + len(text)
        self.cells[row, column:stop] = [ord(char) for char in text]
        self.styles[row, column:stop] = style


def blank(width: int, height: int, hint: str = "") -> Frame:
    """An empty picture with a few words in the middle."""
    canvas = _empty(width, height)
    canvas.put(height // 2, max((width - len(hint)) // 2, 0), hint, HINT)
    return Frame(canvas.cells, canvas.styles, 0, width, height)


def draw(
    curves: Sequence[Curve], axes: Axes | None, width: int, height: int, hint: str = "no data yet"
) -> Frame:
    """Draw `curves` within `axes` into width x height cells; the first curve lies on top.

    What does not fit is left out in this order: the axis line, the numbers along x, those along y.
    """
    width, height = max(width, 1), max(height, 1)
    if axes is None or not curves:
        return blank(width, height, hint)
    below = 2 if height >= 8 else 1 if height >= 4 else 0
    rows = height - below
    y_ticks = axes.y_ticks(rows)
    left = max((len(tick.label) for tick in y_ticks), default=0) + 1
    if left > max(width // 2 - 2, 0):
        left, y_ticks = 0, ()
    columns = width - left
    x_ticks = axes.x_ticks(columns) if below else ()
    canvas = _empty(width, height)
    _draw_grid(canvas, axes, y_ticks, left, rows)
    reduced = [reduce_curve(curve, axes, 2 * columns) for curve in curves]
    area = _Canvas(canvas.cells[:rows, left:], canvas.styles[:rows, left:])
    _draw_curves(area, curves, reduced)
    if below == 2:
        _draw_axis(canvas, axes, x_ticks, left, rows)
    if below:
        for tick in x_ticks:
            column = axes.label_column(tick, columns) + left
            canvas.put(height - 1, column, tick.label, LABEL)
    axis_row = rows if below == 2 else rows - 1
    for curve, each in zip(curves, reduced, strict=True):
        _draw_marks(canvas, curve, each, axes, left, columns, rows, axis_row)
    left_out = axes.log and any(each.left_out for each in reduced)
    return Frame(canvas.cells, canvas.styles, left, columns, rows, axes, left_out, y_ticks, x_ticks)


def with_cursor(frame: Frame, column: int, label: str) -> Frame:
    """The frame with a vertical line in `column` and `label` at its foot, over the x numbers."""
    canvas = _Canvas(frame.cells.copy(), frame.styles.copy())
    height, width = canvas.cells.shape
    strip = canvas.cells[: frame.rows, column]
    styles = canvas.styles[: frame.rows, column]
    empty = (styles == PLAIN) | (styles == GRID)
    strip[empty] = ord("│")
    styles[empty] = CURSOR
    styles[~empty] |= HIGHLIGHT
    if label and height > frame.rows:
        label = f" {label} "
        start = min(max(column - len(label) // 2, 0), max(width - len(label), 0))
        _clear_number(canvas, height - 1, start - 1, -1)
        _clear_number(canvas, height - 1, start + len(label), 1)
        canvas.put(height - 1, start, label, CURSOR | HIGHLIGHT)
    return replace(frame, cells=canvas.cells, styles=canvas.styles)


def _clear_number(canvas: _Canvas, row: int, column: int, step: int) -> None:
    """Take away what a label has left of the number beside it."""
    while 0 <= column < canvas.cells.shape[1] and canvas.cells[row, column] != ord(" "):
        canvas.put(row, column, " ", PLAIN)
        column += step


def with_selection(frame: Frame, first: int, last: int) -> Frame:
    """The frame with the columns from `first` to `last` marked as selected."""
    canvas = _Canvas(frame.cells, frame.styles.copy())
    first, last = sorted((max(first, frame.left), max(last, frame.left)))
    canvas.styles[: frame.rows, first : last + 1] |= SELECTED
    return replace(frame, cells=canvas.cells, styles=canvas.styles)


def _empty(width: int, height: int) -> _Canvas:
    shape = (max(height, 1), max(width, 1))
    return _Canvas(np.full(shape, ord(" "), np.uint32), np.full(shape, PLAIN, np.int16))


def _draw_curves(area: _Canvas, curves: Sequence[Curve], reduced: Sequence[Reduced]) -> None:
    rows, columns = area.cells.shape
    styles = area.styles
    spans = [stretches(each, 2 * columns, 4 * rows) for each in reduced]
    top, bottom = (np.concatenate([span[side] for span in spans]) for side in (0, 1))
    layers = dots.cells(top, bottom, rows)
    faint, lines = layers[0::2], layers[1::2]
    if len(curves) > MOST_SHADED:
        # In a crowd each cell shows one curve, the foremost, without what lies behind it.
        faint = np.zeros_like(faint)
        taken = np.zeros(faint.shape[1:], np.bool_)
        for line in lines:
            line[taken] = 0
            taken |= line > 0
    bits: dots.Cells = np.bitwise_or.reduce(faint)
    front: dots.Cells = np.bitwise_or.reduce(lines)
    for base, drawn in ((FAINT, faint), (LINE, lines)):
        for number in range(len(curves) - 1, -1, -1):
            styles[drawn[number] > 0] = base + curves[number].color % MAX_COLORS
    # A cell has one color: where a line passes, the envelope's dots make way. Deep inside a broad
    # envelope that would leave a dark band: there a tint of the cell stands for the dots.
    dense = dots.COUNT[bits] >= 5
    deep = dense[1:-1] & dense[:-2] & dense[2:] & (front[1:-1] > 0)
    styles[1:-1][deep] |= SHADED
    shown = np.where(front > 0, front, bits)
    inked = shown > 0
    area.cells[inked] = shown[inked].astype(np.uint32) + dots.BLANK
    ended: set[tuple[int, int]] = set()
    for curve, each in zip(curves, reduced, strict=True):
        _draw_points(area, curve, each, ended if len(curves) > 1 else None)


def _draw_points(
    area: _Canvas, curve: Curve, each: Reduced, ended: set[tuple[int, int]] | None
) -> None:
    """A dot for each point that has no neighbor, and the curve's marker at its end.

    `ended` are the cells that hold markers already; None for no markers.
    """
    rows, columns = area.cells.shape
    has = each.has & (each.at >= 0) & (each.at < 2 * columns)
    alone = has.copy()
    alone[1:] &= ~each.has[:-1]
    alone[:-1] &= ~each.has[1:]
    style = LINE + curve.color % MAX_COLORS

    def cell_of(entry: int) -> tuple[int, int]:
        place = min(max(float(each.front[entry]), -1.0), 2.0)
        return round(place * (4 * rows - 1)) // 4, int(each.at[entry]) // 2

    for entry in np.flatnonzero(alone).tolist():
        area.put(*cell_of(entry), POINT_MARK, style)
    if ended is not None and has.any():
        row, column = cell_of(int(np.flatnonzero(has)[-1]))
        # Two or three side by side can still be read; in a crowd the foremost alone is shown.
        places = [(row, column - 2 * aside) for aside in range(3) if column >= 2 * aside]
        if place := next((each for each in places if each not in ended), None):
            ended.add(place)
            area.put(*place, MARKERS[curve.color % len(MARKERS)], style)


def _draw_grid(canvas: _Canvas, axes: Axes, ticks: Sequence[Tick], left: int, rows: int) -> None:
    if left:
        canvas.cells[:rows, left - 1] = ord("│")
        canvas.styles[:rows, left - 1] = AXIS
    for tick in ticks:
        row = axes.row(tick.value, rows)
        canvas.put(row, left - 1 - len(tick.label), tick.label, LABEL)
        canvas.put(row, left - 1, "┤", AXIS)
        if rows >= 6:
            canvas.cells[row, left:] = ord("┈")
            canvas.styles[row, left:] = GRID


def _draw_axis(canvas: _Canvas, axes: Axes, ticks: Sequence[Tick], left: int, row: int) -> None:
    columns = canvas.cells.shape[1] - left
    canvas.cells[row, left:] = ord("─")
    canvas.styles[row, left:] = AXIS
    if left:
        canvas.put(row, left - 1, "└", AXIS)
    for tick in ticks:
        canvas.put(row, left + axes.column(tick.value, columns), "┬", AXIS)


def _draw_marks(
    canvas: _Canvas,
    curve: Curve,
    each: Reduced,
    axes: Axes,
    left: int,
    columns: int,
    rows: int,
    axis_row: int,
) -> None:
    color = curve.color % MAX_COLORS
    for x in curve.resumes:
        column = axes.column(x, columns)
        if axes.x0 < x <= axes.x1 and 0 <= column < columns:
            line = canvas.styles[:rows, left + column]
            empty = (line == PLAIN) | (line == GRID)
            canvas.cells[:rows, left + column][empty] = ord("┊")
            line[empty] = FAINT + color
            canvas.put(axis_row, left + column, RESUME_MARK, LINE + color)
    marks = ((axis_row, each.nan, NAN_MARK), (0, each.plus, HIGH_MARK))
    for row, places, mark in (*marks, (rows - 1, each.minus, LOW_MARK)):
        for place in places:
            canvas.put(row, left + place, mark, ALERT)
