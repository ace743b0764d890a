"""Curves to character cells: pure functions, arrays in, a `Frame` out.

A frame is two arrays of one value a cell, a code point and a style number; nothing here knows of
colors or Textual. Each curve is first reduced to one place for each dot column (least, greatest and
mean of what falls there), so the cost depends on the picture's width, not on the points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from traindeck.tui.plot import dots
from traindeck.tui.plot.buckets import Floats
from traindeck.tui.plot.scale import Axes
from traindeck.tui.plot.ticks import Tick

# Style numbers of cells. A curve of color k has LINE + k, its envelope and raw values FAINT + k.
PLAIN, AXIS, LABEL, GRID, ALERT, CURSOR, HINT = range(7)
LINE, FAINT = 0x10, 0x50
MAX_COLORS = FAINT - LINE
# Added to a style: under the cursor, in the dragged range, a line within its envelope.
HIGHLIGHT, SELECTED, SHADED = 0x100, 0x200, 0x400

NAN_MARK, HIGH_MARK, LOW_MARK, RESUME_MARK, POINT_MARK = "×▲▼↻•"
MARKERS = "●■▲◆▼★○□△◇▽☆"


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
    fixed: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.fixed = np.zeros(self.cells.shape, np.bool_)

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
    reduced = [_reduce(curve, axes, 2 * columns) for curve in curves]
    area = _Canvas(canvas.cells[:rows, left:], canvas.styles[:rows, left:])
    _draw_curves(area, curves, reduced, axes)
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
    return _redrawn(frame, canvas)


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
    return _redrawn(frame, canvas)


def _redrawn(frame: Frame, canvas: _Canvas) -> Frame:
    return Frame(
        canvas.cells,
        canvas.styles,
        frame.left,
        frame.columns,
        frame.rows,
        frame.axes,
        frame.left_out,
        frame.y_ticks,
        frame.x_ticks,
    )


def _empty(width: int, height: int) -> _Canvas:
    shape = (max(height, 1), max(width, 1))
    return _Canvas(np.full(shape, ord(" "), np.uint32), np.full(shape, PLAIN, np.int16))


@dataclass(frozen=True, slots=True)
class _Reduced:
    """A curve with one entry for each dot column that has a bucket.

    Heights are fractions of the picture, 0 at its top; the marks are cell columns.
    """

    at: Floats
    top: Floats
    bottom: Floats
    mid: Floats
    smooth: Floats | None
    nan: NDArray[np.intp]
    plus: NDArray[np.intp]
    minus: NDArray[np.intp]
    rows: int
    left_out: bool


def _reduce(curve: Curve, axes: Axes, columns: int) -> _Reduced:
    """Group the buckets in sight, and one more on each side, by dot column."""
    # `_draw_curves` scales rows; here they are fractions of the height from the top.
    start = max(int(np.searchsorted(curve.x, axes.x0, "left")) - 1, 0)
    stop = min(int(np.searchsorted(curve.x, axes.x1, "right")) + 1, len(curve.x))
    seen = slice(start, stop)
    place = axes.fractions(curve.x[seen]) * (columns - 1)
    nearest = np.rint(np.clip(place, -2, columns + 1))
    inside = (nearest >= 0) & (nearest < columns)
    nothing = np.empty(0)
    if not inside.any() and not (len(place) and place[0] < 0 < place[-1]):
        none = np.empty(0, np.intp)
        return _Reduced(nothing, nothing, nothing, nothing, None, none, none, none, 0, False)
    starts = np.flatnonzero(np.diff(nearest, prepend=-np.inf))
    at = np.where(inside[starts], nearest[starts], place[starts])
    finite = curve.finite[seen]
    mid = curve.mid[seen]
    low = np.minimum.reduceat(curve.low[seen], starts)
    high = np.maximum.reduceat(curve.high[seen], starts)
    total = np.add.reduceat(finite, starts)
    if len(starts) < len(place):
        size = np.diff(starts, append=len(place))
        mid = np.add.reduceat(mid * (finite / np.repeat(np.maximum(total, 1), size)), starts)
    mid = np.where(total > 0, mid, np.nan)
    smooth = None
    if curve.smooth is not None:
        ends = np.append(starts[1:], len(place)) - 1
        smooth = curve.smooth[seen][ends]
        # The smoothed value of a column is that of its last bucket that has one.
        if np.isnan(smooth).any():
            smooth = np.where(np.isnan(smooth) & (total > 0), mid, smooth)
    hidden = False
    if axes.log:
        hidden = bool(((low <= 0) & (total > 0) & (at >= 0) & (at < columns)).any())

    def marked(flags: NDArray[np.bool_]) -> NDArray[np.intp]:
        return np.unique(nearest[flags[seen] & inside].astype(np.intp) // 2)

    return _Reduced(
        at,
        axes.heights(high),
        axes.heights(low),
        axes.heights(mid),
        None if smooth is None else axes.heights(smooth),
        marked(curve.nan),
        marked(curve.plus),
        marked(curve.minus),
        len(place),
        hidden,
    )


def _draw_curves(
    area: _Canvas, curves: Sequence[Curve], reduced: Sequence[_Reduced], axes: Axes
) -> None:
    rows, columns = area.cells.shape
    height, width = 4 * rows, 2 * columns
    bits = np.zeros((rows, columns), np.uint8)
    styles = area.styles
    lines = []
    for curve, each in zip(reversed(curves), reversed(reduced), strict=True):
        if not len(each.at):
            continue
        color = curve.color % MAX_COLORS
        places = _places(each.at, ~np.isnan(each.mid), width)
        mid = _at_columns(each.mid, places) * (height - 1)
        raw = dots.line(mid, places.linked[:-1], height)
        top = _at_columns(each.top, places) * (height - 1)
        bottom = _at_columns(each.bottom, places) * (height - 1)
        shade = _extent(top, bottom, height)
        front = raw
        if each.smooth is not None:
            smooth = _at_columns(each.smooth, places) * (height - 1)
            front = dots.line(smooth, places.linked[:-1], height)
            shade = np.minimum(shade[0], raw[0]), np.maximum(shade[1], raw[1])
        faint = dots.pack(dots.fill(*shade, height))
        covered = faint > 0
        bits |= faint
        styles[covered] = FAINT + color
        lines.append((color, dots.pack(dots.fill(*front, height))))
    front_bits = np.zeros((rows, columns), np.uint8)
    for color, line in lines:
        front_bits |= line
        styles[line > 0] = LINE + color
    # A cell has one color: where a line passes, the envelope's dots make way. Deep inside a broad
    # envelope that would leave a dark band: there a tint of the cell stands for the dots.
    dense = np.bitwise_count(bits) >= 5
    deep = dense[1:-1] & dense[:-2] & dense[2:] & (front_bits[1:-1] > 0)
    styles[1:-1][deep] |= SHADED
    bits = np.where(front_bits > 0, front_bits, bits)
    inked = bits > 0
    area.cells[inked] = bits[inked].astype(np.uint32) + dots.BLANK
    ended: set[tuple[int, int]] = set()
    for curve, each in zip(curves, reduced, strict=True):
        _draw_points(area, curve, each, ended if len(curves) > 1 else None)


@dataclass(frozen=True, slots=True)
class _Places:
    """For each dot column, the entries it lies between (shape (columns,))."""

    before: NDArray[np.intp]
    after: NDArray[np.intp]
    share: Floats
    drawn: NDArray[np.bool_]
    linked: NDArray[np.bool_]


def _places(at: Floats, has: NDArray[np.bool_], width: int) -> _Places:
    columns = np.arange(width)
    last = len(at) - 1
    before = np.searchsorted(at, columns, "right") - 1
    known = before >= 0
    before = np.maximum(before, 0)
    after = np.minimum(before + 1, last)
    gap = at[after] - at[before]
    share = np.where(gap > 0, (columns - at[before]) / np.where(gap > 0, gap, 1), 0.0)
    on = at[before] == columns
    linked = known & has[before] & has[after] & (before < last)
    drawn = known & has[before] & (on | linked)
    return _Places(before, after, share, drawn, linked)


def _at_columns(values: Floats, places: _Places) -> Floats:
    """`values` of a curve's entries at each dot column, NaN where nothing is drawn."""
    before, after = values[places.before], values[places.after]
    between = before + np.where(places.share > 0, (after - before) * places.share, 0.0)
    return np.where(places.drawn, between, np.nan)


def _extent(top: Floats, bottom: Floats, height: int) -> tuple[dots.Rows, dots.Rows]:
    none = np.isnan(top) | np.isnan(bottom)
    top = np.where(none, 1, np.clip(top, -height, 2 * height))
    bottom = np.where(none, 0, np.clip(bottom, -height, 2 * height))
    return np.rint(top).astype(np.int64), np.rint(bottom).astype(np.int64)


def _draw_points(
    area: _Canvas, curve: Curve, each: _Reduced, ended: set[tuple[int, int]] | None
) -> None:
    """A dot for each point that has no neighbor, and the curve's marker at its end.

    `ended` are the cells that hold markers already; None for no markers.
    """
    values = each.mid if each.smooth is None else each.smooth
    rows, columns = area.cells.shape
    has = ~np.isnan(values) & (each.at >= 0) & (each.at < 2 * columns)
    alone = has.copy()
    alone[1:] &= np.isnan(values[:-1])
    alone[:-1] &= np.isnan(values[1:])
    style = LINE + curve.color % MAX_COLORS

    def cell_of(entry: int) -> tuple[int, int]:
        return round(float(values[entry]) * (4 * rows - 1)) // 4, int(each.at[entry]) // 2

    for entry in np.flatnonzero(alone).tolist():
        area.put(*cell_of(entry), POINT_MARK, style)
    if ended is not None and has.any():
        row, column = cell_of(int(np.flatnonzero(has)[-1]))
        while (row, column) in ended and column > 0:
            column -= 2
        ended.add((row, column))
        if column >= 0:
            area.put(row, column, MARKERS[curve.color % len(MARKERS)], style)


def _draw_grid(canvas: _Canvas, axes: Axes, ticks: Sequence[Tick], left: int, rows: int) -> None:
    if left:
        for row in range(rows):
            canvas.put(row, left - 1, "│", AXIS)
    for tick in ticks:
        row = axes.row(tick.value, rows)
        canvas.put(row, left - 1 - len(tick.label), tick.label, LABEL)
        canvas.put(row, left - 1, "┤", AXIS)
        if rows >= 6:
            canvas.put(row, left, "┈" * (canvas.cells.shape[1] - left), GRID)


def _draw_axis(canvas: _Canvas, axes: Axes, ticks: Sequence[Tick], left: int, row: int) -> None:
    columns = canvas.cells.shape[1] - left
    canvas.put(row, left, "─" * columns, AXIS)
    if left:
        canvas.put(row, left - 1, "└", AXIS)
    for tick in ticks:
        canvas.put(row, left + axes.column(tick.value, columns), "┬", AXIS)


def _draw_marks(
    canvas: _Canvas,
    curve: Curve,
    each: _Reduced,
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
        canvas.cells[row, left + places] = ord(mark)
        canvas.styles[row, left + places] = ALERT
