"""The metric curves of one or several runs.

A grid of small charts, one a series, or one large chart of the series chosen. Several runs lie over
each other in each chart. The screen owns the reader threads: it gives each run's store to
`add_source` and calls `refresh_data` (at most ten times a second) when stores have grown.

Importing this module imports numpy: import it where a run is first shown.
"""

from __future__ import annotations

import fnmatch
from dataclasses import replace
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Input, Static

from traindeck.core.privacy.telemetry import is_private, public
from traindeck.tui.panels.curves_plots import Plots
from traindeck.tui.panels.curves_words import drawn, looked_at, newest
from traindeck.tui.plot import navigate
from traindeck.tui.plot.chart import Charts, Group
from traindeck.tui.plot.layout import group_names
from traindeck.tui.plot.smooth import WEIGHTS
from traindeck.tui.plot.status import StatusLine
from traindeck.tui.plot.store import SeriesStore
from traindeck.tui.plot.view import View

NOTHING_YET = "nothing reported yet; the log tab shows what it prints"
NOTHING = (
    "nothing was reported; the log tab shows what it printed\n\n"
    "understood are JSON, printed dicts, progress bars, tables, key=value and `loss 0.3`,\n"
    "and CSV and TensorBoard files below its folder\n\n"
    "`traindeck parse RUN` shows what is read and why; `run --parse REGEX` adds what is not"
)
"""What is understood, and how to add what is not."""


def _key(keys: str, action: str, text: str, help: str, show: bool = False) -> Binding:
    return Binding(keys, action, text, show=show, id=f"curves.{action}", tooltip=help)


class CurvesPanel(Widget, can_focus=True):
    """Curves of the sources added to it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        _key("enter", "open", "Enlarge", "Show the chosen or marked series in one chart", True),
        _key("escape,backspace", "grid", "Grid", "Back to the grid of all series", True),
        _key("space", "mark", "Mark", "Mark: Enter lays all marked series over each other"),
        _key("slash", "filter", "Filter", "Show only series whose name has these words", True),
        _key("l", "log", "Log scale", "Logarithmic or linear y axis", True),
        _key("x", "axis", "Steps/time", "x axis: steps or elapsed time", True),
        _key("w", "smooth_up", "Smooth", "Smooth more (TensorBoard's moving average)", True),
        _key("W,shift+w", "smooth_down", "Smooth less", "Smooth less; the raw curve stays behind"),
        _key("plus,equals_sign", "zoom_in", "Zoom in", "Zoom in along x, at the cursor"),
        _key("minus", "zoom_out", "Zoom out", "Zoom out along x"),
        _key("0", "zoom_reset", "All", "Show the whole curve and follow it"),
        _key("left", "left", "Left", "Cursor to the previous point; grid: the chart to the left"),
        _key("right", "right", "Right", "Cursor to the next point; grid: the chart to the right"),
        _key("up", "up", "Up", "Previous series; grid: the chart above"),
        _key("down", "down", "Down", "Next series; grid: the chart below"),
        _key("shift+left", "pan_left", "Pan left", "Move a zoomed view left"),
        _key("shift+right", "pan_right", "Pan right", "Move a zoomed view right"),
        _key("comma", "cursor_left", "Cursor left", "Cursor to the previous point, in any view"),
        _key("full_stop", "cursor_right", "Cursor right", "Cursor to the next point, in any view"),
        _key("home", "cursor_home", "First point", "Cursor to the first point in sight"),
        _key("end", "cursor_end", "Last point", "Cursor to the last point in sight"),
        _key("v", "private", "Private", "Show or hide series of private data, which no ε covers"),
        _key("z", "cursor_off", "No cursor", "Take the cursor away: show the last values"),
    ]

    DEFAULT_CSS = """
    CurvesPanel { layout: vertical; height: 1fr; width: 1fr; }
    CurvesPanel > Input { display: none; height: 1; border: none; padding: 0; }
    CurvesPanel.-filtering > Input { display: block; }
    CurvesPanel > Charts { height: 1fr; }
    CurvesPanel > #nothing { display: none; height: 1fr; color: $text-muted; }
    CurvesPanel:ansi > #nothing { color: ansi_default; text-style: dim; }
    CurvesPanel.-empty > #nothing { display: block; }
    CurvesPanel.-empty > Charts { display: none; }
    CurvesPanel > StatusLine { height: 1; }
    """

    live: reactive[bool] = reactive(True)
    """Whether points may still come: says how old the newest one is."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._plots = Plots()
        self._names: list[str] = []
        self._terms: list[str] = []
        self._open: tuple[str, ...] = ()
        self._marked: set[str] = set()
        self._versions: tuple[int, ...] = ()

    def compose(self) -> ComposeResult:
        yield Input(placeholder="words in the series' name, * for anything", compact=True)
        self._charts = Charts()
        self._charts.can_focus = False
        yield self._charts
        yield Static(id="nothing")
        yield StatusLine()

    @property
    def charts(self) -> Charts:
        return self._charts

    @property
    def view(self) -> View:
        return self.charts.view

    @view.setter
    def view(self, view: View) -> None:
        self.charts.view = view

    def on_mount(self) -> None:
        if not self.children:  # its screen was closed before it stood
            return
        self.watch(self.charts, "view", self._view_changed, init=False)
        self.set_interval(1, self._tick)
        self._rebuild()

    # What the screen calls

    def add_source(self, label: str, store: SeriesStore) -> None:
        """Lay the curves of another run over those shown."""
        self._plots.add(label, store)
        self.refresh_data()

    def refresh_data(self) -> None:
        """Show what the stores hold now. Draws only charts in sight whose series changed."""
        if not self.is_mounted:
            return
        stores, before = self._plots.stores, self._versions
        versions = tuple(store.version for store in stores)
        if versions == before:
            return
        self._versions = versions
        names = list(dict.fromkeys(name for store in stores for name in store.names()))
        names.sort(key=is_private)  # last
        if names != self._names or len(versions) != len(before):
            self._names = names
            self._rebuild()
        else:
            self.charts.refresh_data()
        self._say()

    # What is shown

    def _rebuild(self) -> None:
        self._plots.color(self._names)
        shown = [name for name in self._names if self._matches(name)]
        if self._hides_private:
            self._open = tuple(public(self._open))
        opened = tuple(name for name in self._open if name in self._names)
        groups: list[Group]
        if opened:
            groups = [("", [self._plots.of(*opened)])]
        else:
            groups = [
                (group, [self._plots.of(name) for name in names])
                for group, names in group_names(shown)
            ]
        order = [plot.lines[0].series for _, plots in groups for plot in plots]
        marked = frozenset(n for n, series in enumerate(order) if series in self._marked)
        self.charts.show(groups, frozenset() if opened else marked)
        self.call_after_refresh(self._say)

    @property
    def _hides_private(self) -> bool:
        """For as long as the app runs, the same on every run's screen."""
        return bool(getattr(self.app, "hides_private", False))

    def _matches(self, name: str) -> bool:
        if self._hides_private and is_private(name):
            return False
        low = name.lower()
        return all(fnmatch.fnmatchcase(low, f"*{term}*") for term in self._terms)

    def watch_live(self) -> None:
        if self.is_mounted:
            self._say()

    def _view_changed(self) -> None:
        self.call_after_refresh(self._say)

    def _tick(self) -> None:
        if self.live:
            self._say()

    def _say(self) -> None:
        """What the curves are drawn from, and how."""
        if not self.is_running:  # asked for after a refresh, which came when it had been closed
            return
        stores = self._plots.stores
        empty = bool(stores) and not self._names
        if empty:
            self.query_one("#nothing", Static).update(NOTHING_YET if self.live else NOTHING)
        self.set_class(empty, "-empty")
        last = max((store.last_time or 0.0 for store in stores), default=0.0)
        left = drawn(
            self.charts.cells_in_sight(),
            self.view,
            since=newest(self.live, bool(stores), last),
            nothing_yet=empty and self.live,
            reading=self.charts.reading_detail,
        )
        hidden = len(self._names) - len(public(self._names)) if self._hides_private else 0
        self.query_one(StatusLine).say(left, looked_at(self.view, self._terms, hidden))

    # Actions

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "grid":
            return bool(self._open or self._filtering or self._terms)
        if action in ("open", "mark"):
            return not self._open
        if action == "private":
            return len(public(self._names)) < len(self._names)
        return True

    @property
    def _filtering(self) -> bool:
        return self.has_class("-filtering")

    def action_open(self) -> None:
        plot = self.charts.plot
        if self._open or plot is None:
            return
        marked = [name for name in self._names if name in self._marked]
        self._show(tuple(marked) if marked else (plot.lines[0].series,))

    def action_grid(self) -> None:
        """One layer out: the filter's field, the enlarged chart, the filter."""
        if self._filtering:
            self._filter_done()
        elif self._open:
            was = self._open[0]
            self._show(())
            shown = [plot.lines[0].series for plot in self.charts.plots]
            self.charts.chosen = shown.index(was) if was in shown else None
        else:
            self._terms = []
            self.query_one(Input).value = ""
            self._rebuild()

    def action_mark(self) -> None:
        if self.charts.chosen is None:
            self.charts.chosen = 0
        plot = self.charts.plot
        if plot is not None and not self._open:
            self._marked ^= {plot.lines[0].series}
            self._rebuild()

    def action_filter(self) -> None:
        if self._open:
            self._show(())
        self.add_class("-filtering")
        self.query_one(Input).focus()

    def action_private(self) -> None:
        self.app.hides_private = not self._hides_private  # type: ignore[attr-defined]
        self._rebuild()
        self.refresh_bindings()

    def action_log(self) -> None:
        self.view = replace(self.view, log=not self.view.log)

    def action_axis(self) -> None:
        self.view = replace(self.view, elapsed=not self.view.elapsed, window=None, cursor=None)

    def action_smooth_up(self) -> None:
        self._smooth(1)

    def action_smooth_down(self) -> None:
        self._smooth(-1)

    def action_zoom_in(self) -> None:
        self.charts.zoom(0.5)

    def action_zoom_out(self) -> None:
        self.charts.zoom(2.0)

    def action_zoom_reset(self) -> None:
        self.view = replace(self.view, window=None)

    def action_left(self) -> None:
        self._move("left")

    def action_right(self) -> None:
        self._move("right")

    def action_up(self) -> None:
        self._move("up")

    def action_down(self) -> None:
        self._move("down")

    def action_pan_left(self) -> None:
        self.charts.pan(-0.25)

    def action_pan_right(self) -> None:
        self.charts.pan(0.25)

    def action_cursor_left(self) -> None:
        self.charts.move_cursor(-1)

    def action_cursor_right(self) -> None:
        self.charts.move_cursor(1)

    def action_cursor_home(self) -> None:
        self.view = navigate.with_cursor(self.view, None)
        self.charts.move_cursor(1)

    def action_cursor_end(self) -> None:
        self.view = navigate.with_cursor(self.view, None)
        self.charts.move_cursor(-1)

    def action_cursor_off(self) -> None:
        self.view = navigate.with_cursor(self.view, None)

    def _show(self, names: tuple[str, ...]) -> None:
        self._open = names
        self._rebuild()
        self.refresh_bindings()

    def _move(self, direction: str) -> None:
        if not self._open:
            self.charts.choose(direction)
        elif direction in ("left", "right"):
            self.charts.move_cursor(1 if direction == "right" else -1)
        else:
            shown = [name for name in self._names if self._matches(name)]
            if len(self._open) == 1 and self._open[0] in shown:
                step = 1 if direction == "down" else -1
                self._show((shown[(shown.index(self._open[0]) + step) % len(shown)],))

    def _smooth(self, step: int) -> None:
        now = min(range(len(WEIGHTS)), key=lambda i: abs(WEIGHTS[i] - self.view.weight))
        self.view = replace(self.view, weight=WEIGHTS[min(max(now + step, 0), len(WEIGHTS) - 1)])

    def _filter_done(self) -> None:
        self.remove_class("-filtering")
        self.focus()

    @on(Input.Changed)
    def _filter_changed(self, event: Input.Changed) -> None:
        event.stop()
        self._terms = event.value.lower().split()
        self._rebuild()

    @on(Input.Submitted)
    def _filter_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._filter_done()

    @on(Charts.Opened)
    def _opened(self, event: Charts.Opened) -> None:
        event.stop()
        self._show((self.charts.plots[event.number].lines[0].series,))
