"""Reading a zoomed part of a curve again from its file, off the event loop."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from textual.worker import get_current_worker

from traindeck.tui.plot.buckets import Snapshot
from traindeck.tui.plot.cell import Cell
from traindeck.tui.plot.view import Line, View

if TYPE_CHECKING:
    from traindeck.tui.plot.chart import Charts

Part = tuple[Line, Snapshot, int, int]


class DetailReader:
    """One read at a time; when it is done it looks again, for the view may have moved on."""

    def __init__(self, charts: Charts) -> None:
        self._charts = charts
        self.busy = False

    def look(self, cells: Sequence[Cell], view: View) -> None:
        """Start reading what the cells would need to show every point."""
        if self.busy:
            return
        if view.window is None:
            for cell in cells:
                cell.plot.forget_detail()
            return
        parts = [part for cell in cells for part in cell.plot.lacking(view, cell.region.width)]
        if parts:
            self.busy = True
            self._charts.run_worker(partial(self._read, parts), thread=True, group="detail")

    def _read(self, parts: Sequence[Part]) -> None:
        found = [
            (line, whole, start, stop, line.store.detail(whole, start, stop))
            for line, whole, start, stop in parts
        ]
        if not get_current_worker().is_cancelled:
            self._charts.app.call_from_thread(self._take, found)

    def _take(self, found: Sequence[tuple[Line, Snapshot, int, int, Snapshot | None]]) -> None:
        self.busy = False
        for line, whole, start, stop, detail in found:
            if detail is None:
                line.refused = (whole.version, start, stop)
            else:
                line.detail = detail
        self._charts.refresh_data()
