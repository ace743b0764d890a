"""What one chart shows: its lines, the view of them, and the picture that results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from traindeck.core.run.series import clean_name
from traindeck.tui.plot.buckets import Floats, SeriesSnapshot
from traindeck.tui.plot.raster import Frame, draw, with_cursor, with_selection
from traindeck.tui.plot.reduce import Curve
from traindeck.tui.plot.scale import Axes, x_range, y_range
from traindeck.tui.plot.smooth import smooth
from traindeck.tui.plot.store import MAX_DETAIL_RECORDS, SeriesStore
from traindeck.tui.plot.ticks import elapsed, short


@dataclass(frozen=True, slots=True)
class Window:
    """The part of the x axis in sight. `follow` keeps its right edge at the newest point."""

    x0: float
    x1: float
    follow: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """How curves are shown. One view may be shared by many plots.

    Attributes:
        log: a logarithmic y axis.
        weight: of the smoothing, 0 to below 1.
        elapsed: x is the time since the run's first point instead of the step.
        window: None shows everything.
        cursor: x of the cursor, None for no cursor.
    """

    log: bool = False
    weight: float = 0.0
    elapsed: bool = False
    window: Window | None = None
    cursor: float | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """One line at the cursor: the bucket nearest to it; `odd` of its points are not finite."""

    first_step: int
    last_step: int
    seconds: float
    count: int
    odd: int
    low: float
    high: float
    mean: float
    last: float
    smooth: float | None

    @property
    def value(self) -> str:
        """Its one value, or their mean; the last one if none is finite."""
        return short(self.mean if self.count > 1 and self.odd < self.count else self.last)

    @property
    def span(self) -> str:
        """The extremes, where they are not the value itself."""
        if self.count == 1 or not self.low <= self.high:
            return ""
        return f"{short(self.low)}…{short(self.high)}"


@dataclass(slots=True, eq=False)
class Line:
    """One series of one run in a plot.

    Attributes:
        label: what the legend calls it.
        color: index of its color and marker.
        detail: a part of the series read again from the file in finer buckets.
        refused: the part (version, first, last bucket) that could not be read again.
    """

    store: SeriesStore
    series: str
    label: str
    color: int = 0
    detail: SeriesSnapshot | None = None
    refused: tuple[int, int, int] | None = None
    _cached: tuple[object, SeriesSnapshot, Curve] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.label = clean_name(self.label)

    @property
    def key(self) -> tuple[int, int]:
        """Changes whenever there is something new to draw."""
        return self.store.series_version(self.series), id(self.detail)

    def snapshot(self) -> SeriesSnapshot | None:
        """The series with the detail read for it, if that still fits."""
        whole = self.store.snapshot(self.series)
        if whole is None or self.detail is None:
            return whole
        spliced = whole.spliced(self.detail)
        if spliced is None:
            self.detail = None
        return spliced or whole

    def curve(self, view: View) -> tuple[SeriesSnapshot, Curve] | None:
        """What to draw, made anew only when the series or the view of it changed."""
        key = (self.key, view.weight, view.elapsed, self.color)
        if self._cached is not None and self._cached[0] == key:
            return self._cached[1:]
        snapshot = self.snapshot()
        if snapshot is None:
            self._cached = None
            return None
        curve = self._make(snapshot, view)
        self._cached = ((self.key, *key[1:]), snapshot, curve)
        return snapshot, curve

    def _make(self, snapshot: SeriesSnapshot, view: View) -> Curve:
        origin = self.store.first_time or 0.0
        finite = snapshot.finite
        resumes = snapshot.resumes
        return Curve(
            x=x_of(snapshot, view.elapsed, origin),
            low=snapshot.low,
            high=snapshot.high,
            mid=snapshot.mean,
            finite=finite,
            nan=snapshot.nan > 0,
            plus=snapshot.plus_inf > 0,
            minus=snapshot.minus_inf > 0,
            smooth=smooth(snapshot.mean, finite, view.weight) if view.weight else None,
            resumes=tuple(each.time - origin if view.elapsed else each.step for each in resumes),
            color=self.color,
        )


class Plot:
    """Lines that share a picture."""

    def __init__(self, title: str, lines: Sequence[Line]) -> None:
        self.title = clean_name(title)
        self.lines = list(lines)
        self._key: object = None
        self._base: Frame | None = None
        self._shown_key: object = None
        self._shown: Frame | None = None
        self._extent: tuple[float, float] | None = None

    def frame(
        self,
        view: View,
        width: int,
        height: int,
        selection: tuple[int, int] | None = None,
    ) -> Frame:
        """The picture; the very same object as long as nothing changed.

        `selection` is a range of cell columns that is being dragged over.
        """
        keys = tuple(line.key for line in self.lines)
        key = (keys, view.log, view.weight, view.elapsed, view.window, width, height)
        if self._base is None or key != self._key:
            self._base = self._draw(view, width, height)
            # Drawing may drop a detail that no longer fits.
            self._key = (tuple(line.key for line in self.lines), *key[1:])
            self._shown = None
        shown_key = (view.cursor, selection)
        if self._shown is None or shown_key != self._shown_key:
            self._shown, self._shown_key = self._overlaid(self._base, view, selection), shown_key
        return self._shown

    def extent(self, view: View) -> tuple[float, float] | None:
        """The whole x range of the data, whatever the window."""
        curves = [line.curve(view) for line in self.lines]
        return x_range(
            (float(curve.x[0]), float(curve.x[-1]))
            for _, curve in filter(None, curves)
            if len(curve.x)
        )

    def in_sight(self, view: View) -> tuple[float, float] | None:
        """The x range that is drawn."""
        whole = self.extent(view)
        window = view.window
        if whole is None or window is None:
            return whole
        if window.follow:
            width = window.x1 - window.x0
            return whole[1] - width, whole[1]
        return window.x0, window.x1

    def points(self, view: View) -> tuple[int, int]:
        """Points the picture is drawn from, and how many share a bucket at most."""
        seen, most = 0, 1
        for _, snapshot, start, stop in self._visible(view):
            count = snapshot.count[start:stop]
            if len(count):
                seen += int(count.sum())
                most = max(most, int(count.max()))
        return seen, most

    def lacking(self, view: View, width: int) -> list[tuple[Line, SeriesSnapshot, int, int]]:
        """Lines so far zoomed in that their buckets are coarser than the picture, with the part
        (bucket numbers of the series as stored) to read again from the file."""
        out = []
        if view.window is None:
            return []
        for line, snapshot, start, stop in self._visible(view):
            count = snapshot.count[start:stop]
            if not len(count) or count.max() < 2 or len(count) > 4 * width:
                continue
            whole = line.store.snapshot(line.series)
            if whole is None:
                continue
            # As much again on both sides, so that panning finds it there already.
            first = int(np.searchsorted(whole.last_record, snapshot.first_record[start]))
            last = int(np.searchsorted(whole.first_record, snapshot.last_record[stop - 1], "right"))
            around = last - first
            first, last = max(first - around, 0), min(last + around, len(whole))
            wanted = (whole.version, first, last)
            records = int(whole.last_record[last - 1] - whole.first_record[first])
            if wanted == line.refused or records >= MAX_DETAIL_RECORDS:
                continue
            if not _covers(line.detail, whole, first, last):
                out.append((line, whole, first, last))
        return out

    def forget_detail(self) -> None:
        for line in self.lines:
            line.detail = line.refused = None

    def reading(self, view: View, line: Line) -> Reading | None:
        """The bucket of `line` nearest to the cursor."""
        shown = line.curve(view)
        if shown is None or view.cursor is None or not len(shown[1].x):
            return None
        snapshot, curve = shown
        at = nearest(curve.x, view.cursor)
        smoothed = None if curve.smooth is None else float(curve.smooth[at])
        return Reading(
            int(snapshot.first_step[at]),
            int(snapshot.last_step[at]),
            float(snapshot.last_time[at]) - (line.store.first_time or 0.0),
            int(snapshot.count[at]),
            int(snapshot.count[at]) - int(snapshot.finite[at]),
            float(snapshot.low[at]),
            float(snapshot.high[at]),
            float(snapshot.mean[at]),
            float(snapshot.last[at]),
            smoothed,
        )

    def _visible(self, view: View) -> list[tuple[Line, SeriesSnapshot, int, int]]:
        sight = self.in_sight(view)
        out = []
        for line in self.lines:
            shown = line.curve(view)
            if shown is None or sight is None:
                continue
            start = int(np.searchsorted(shown[1].x, sight[0], "left"))
            stop = int(np.searchsorted(shown[1].x, sight[1], "right"))
            out.append((line, shown[0], start, stop))
        return out

    def _draw(self, view: View, width: int, height: int) -> Frame:
        sight = self.in_sight(view)
        curves = [shown[1] for line in self.lines if (shown := line.curve(view))]
        if sight is None or not curves:
            return draw([], None, width, height)
        lows, highs = [], []
        for curve in curves:
            start = int(np.searchsorted(curve.x, sight[0], "left"))
            stop = int(np.searchsorted(curve.x, sight[1], "right"))
            lows.append(curve.low[start:stop])
            highs.append(curve.high[start:stop])
        bounds = y_range(np.concatenate(lows), np.concatenate(highs), view.log)
        if bounds is None:
            hint = "no points here"
            if any(len(high) for high in highs):
                finite = any(bool((high > -np.inf).any()) for high in highs)
                hint = "nothing above 0" if finite else "no finite values"
            return draw([], None, width, height, hint)
        # Near 2**62 a window of one step is narrower than the grid of floats.
        low, high = x_range([sight]) or sight
        axes = Axes(low, high, *bounds, view.log, "elapsed" if view.elapsed else "steps")
        return draw(curves, axes, width, height)

    def _overlaid(self, frame: Frame, view: View, selection: tuple[int, int] | None) -> Frame:
        if selection is not None:
            frame = with_selection(frame, *selection)
        column = None if view.cursor is None else frame.column_of(view.cursor)
        if column is None or view.cursor is None:
            return frame
        return with_cursor(frame, column, self.place(view))

    def place(self, view: View) -> str:
        """Where the cursor is, in words."""
        if view.cursor is None:
            return ""
        if view.elapsed:
            sight = self.in_sight(view)
            fine = sight is not None and sight[1] - sight[0] < 100
            return f"{view.cursor:.2f}s" if fine else elapsed(round(view.cursor))
        readings = [self.reading(view, line) for line in self.lines]
        known = [reading for reading in readings if reading is not None]
        if not known:
            return ""
        closest = min(known, key=lambda each: _distance(each, view.cursor or 0.0))
        first, last = closest.first_step, closest.last_step
        return f"{first:,}" if first == last else f"{first:,}–{last:,}"


def x_of(snapshot: SeriesSnapshot, by_time: bool, origin: float) -> Floats:
    """Where each bucket stands: the middle of its steps, or of its seconds since `origin`.

    A clock that was set back stands still until it has caught up, so that x never falls.
    """
    if not by_time:
        return snapshot.first_step * 0.5 + snapshot.last_step * 0.5
    middle = snapshot.first_time * 0.5 + snapshot.last_time * 0.5 - origin
    return np.maximum.accumulate(np.where(np.isfinite(middle), middle, 0.0))


def _covers(detail: SeriesSnapshot | None, whole: SeriesSnapshot, first: int, last: int) -> bool:
    """Whether `detail` holds the buckets, as finely as a new reading of them alone would.

    The newest bucket may have grown since it was read.
    """
    if detail is None or not len(detail) or detail.first_record[0] > whole.first_record[first]:
        return False
    if detail.width > 1 and detail.points > 2 * whole.count[first:last].sum():
        return False
    growing = last == len(whole) and last - first > 1
    return bool(detail.last_record[-1] >= whole.last_record[last - 1 - growing])


def nearest(x: Floats, place: float) -> int:
    """The index of the bucket that stands nearest to `place`."""
    after = int(np.searchsorted(x, place))
    if after == 0:
        return 0
    if after == len(x):
        return len(x) - 1
    return after if x[after] - place < place - x[after - 1] else after - 1


def _distance(reading: Reading, cursor: float) -> float:
    return abs((reading.first_step + reading.last_step) / 2 - cursor)
