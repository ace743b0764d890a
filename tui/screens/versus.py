"""Two frameworks side by side: six axes, and the twins' curves laid over each other."""

from __future__ import annotations

import math
from typing import ClassVar

from textual import getters, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.message import Message
from textual.widgets import Static

from traindeck.core.base.sanitize import plain
from traindeck.core.versus.report import Curve, Report
from traindeck.tui.host import Host
from traindeck.tui.keys import SCREEN_KEYS, SCROLL_KEYS, command
from traindeck.tui.panels.versus import AxisPanel
from traindeck.tui.plot.marks import points
from traindeck.tui.plot.raster import LABEL, LINE
from traindeck.tui.plot.reduce import Curve as Drawn
from traindeck.tui.plot.scale import Axes
from traindeck.tui.plot.strips import Words
from traindeck.tui.readers.versus import VersusWatch
from traindeck.tui.screens.watching import WatchingScreen
from traindeck.tui.widgets.key_bar import KeyBar
from traindeck.tui.widgets.sketch import Sketch
from traindeck.tui.widgets.top_bar import TopBar

AXES = ("ease", "paradigm", "ecosystem", "privacy", "hardware", "deployment")


class AxisGrid(VerticalScroll, can_focus=False, inherit_bindings=False):
    """The six panels; it scrolls to the one that has the focus."""

    BINDINGS: ClassVar[list[BindingType]] = SCROLL_KEYS


class VersusScreen(WatchingScreen[VersusWatch], inherit_bindings=False):
    """The comparison as it stands; made anew as runs end."""

    CSS_PATH = "versus.tcss"
    AUTO_FOCUS = "#axis-ease"
    BINDING_GROUP_TITLE = "Versus"
    HORIZONTAL_BREAKPOINTS = [(0, "narrow"), (100, "wide"), (160, "broad")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "low"), (42, "tall")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        command("versus.open", "enter", "open", "Runs", "The twins' runs, laid over each other"),
        command("versus.series", "D", "series", "Picture", "The next series of the twins"),
        Binding("y", "copy", "Copy", id="versus.copy", tooltip="Copy what makes the missing runs"),
        *SCREEN_KEYS,
    ]

    app = getters.app(Host)

    class Looked(Message):
        """The comparison was made."""

        def __init__(self, report: Report) -> None:
            super().__init__()
            self.report = report

    def __init__(self) -> None:
        super().__init__(name="versus")
        self._report: Report | None = None
        self._series = 0

    def compose(self) -> ComposeResult:
        yield TopBar("versus")
        yield Static("reading the runs…", id="versus-head", markup=False)
        with AxisGrid(id="versus-axes"):
            for axis in AXES:
                yield AxisPanel(f"axis-{axis}")
        yield Sketch("twins", id="versus-picture")
        yield KeyBar()

    # Looking, while on show

    def on_mount(self) -> None:
        self._watch = VersusWatch(
            self.app.home,
            ready=lambda report: self.from_thread(self.Looked(report)),
            failed=lambda error: self.from_thread(self.Failed(error)),
        )
        self._watch.start()

    @on(Looked)
    def _take(self, message: Looked) -> None:
        report = self._report = message.report
        with self.app.batch_update():
            self.query_one("#versus-head", Static).update(_head(report))
            for axis in report.axes:
                self.query_one(f"#axis-{axis.id}", AxisPanel).show(axis, report.labels)
            self._draw()
        self.refresh_bindings()

    @on(WatchingScreen.Failed)
    def _tell(self, message: WatchingScreen.Failed) -> None:
        self.app.tell_error("The comparison cannot be made", message.error)

    def _draw(self) -> None:
        report, sketch = self._report, self.query_one("#versus-picture", Sketch)
        series = report.series() if report else []
        sketch.display = bool(series)
        if report is not None and series:
            name = series[self._series % len(series)]
            draw(sketch, report, name)

    # Doing

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("open", "series"):
            return self._report is not None and bool(self._report.curves)
        if action == "copy":
            return self._report is not None and bool(self._report.command)
        return True

    def action_open(self) -> None:
        if self._report is not None:
            ids = dict.fromkeys(curve.run for curve in self._report.curves)
            self.app.open_runs(list(ids))

    def action_series(self) -> None:
        self._series += 1
        self._draw()

    def action_copy(self) -> None:
        if self._report is not None:
            self.app.copy(self._report.command, "The command")


def _head(report: Report) -> str:
    there = report.count - report.missing
    text = f"{report.title}: {there} of {report.count} measured on both sides"
    return plain(f"{text}; {report.command} makes more" if report.command else text)


def draw(sketch: Sketch, report: Report, series: str) -> None:
    """The runs of both sides over each other, a color a side."""
    curves = [curve for curve in report.curves if curve.series == series]
    values = [value for curve in curves for _, value in curve.points if math.isfinite(value)]
    if not values:
        sketch.show([], None)
        return
    low, high = min(values), max(values)
    room = (high - low) * 0.05 or abs(high) * 0.1 or 0.05
    right = max(step for curve in curves for step, _ in curve.points)
    legend: Words = [
        (f" {plain(report.labels[0])} ", LINE),
        (f"{plain(report.labels[1])} ", LINE + 1),
        (f"· {plain(series)} · x: step ", LABEL),
    ]
    drawn = [_line(curve) for curve in curves]
    sketch.show(drawn, Axes(0.0, max(right, 1.0), low - room, high + room), legend=legend)


def _line(curve: Curve) -> Drawn:
    known = [(step, value) for step, value in curve.points if math.isfinite(value)]
    return points([step for step, _ in known], [value for _, value in known], curve.side)
