"""Reading a zoomed part of a curve again from its file, off the event loop.

On a daemon thread: leaving the program would wait for a worker, and a file may never answer.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Sequence
from contextvars import copy_context
from typing import TYPE_CHECKING

from traindeck.tui.plot.buckets import SeriesSnapshot
from traindeck.tui.plot.cell import Cell
from traindeck.tui.plot.view import Line, View

if TYPE_CHECKING:
    from traindeck.tui.plot.chart import Charts

Part = tuple[Line, SeriesSnapshot, int, int]
Found = tuple[Line, SeriesSnapshot, int, int, SeriesSnapshot | None]

logger = logging.getLogger("traindeck.tui")


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
            # In our context, by which the widget finds its app.
            threading.Thread(
                target=copy_context().run, args=(self._read, parts), name="detail", daemon=True
            ).start()

    def _read(self, parts: Sequence[Part]) -> None:
        found = [(*part, self._detail(*part)) for part in parts]
        with contextlib.suppress(RuntimeError):  # the event loop has just been closed
            self._charts.call_later(self._take, found)

    @staticmethod
    def _detail(line: Line, whole: SeriesSnapshot, start: int, stop: int) -> SeriesSnapshot | None:
        try:
            return line.store.detail(whole, start, stop)
        except Exception:  # the curve without its detail is better than none
            logger.exception("A part of %s cannot be read again", line.series)
            return None

    def _take(self, found: Sequence[Found]) -> None:
        self.busy = False
        for line, whole, start, stop, detail in found:
            if detail is None:
                line.refused = (whole.version, start, stop)
            else:
                line.detail = detail
        self._charts.refresh_data()
