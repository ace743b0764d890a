"""Reading a zoomed part of a curve again from its file, off the event loop.

On a daemon thread: leaving the program would wait for a worker, and a file may never answer.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from contextvars import copy_context

from traindeck.tui.plot.buckets import SeriesSnapshot
from traindeck.tui.plot.cell import Cell
from traindeck.tui.plot.view import Line, View

Part = tuple[Line, SeriesSnapshot, int, int]
PartRead = tuple[Line, SeriesSnapshot, int, int, SeriesSnapshot | None]

logger = logging.getLogger("traindeck.tui")


class DetailReader:
    """One read at a time.

    call_later  has the event loop call what it is given, from any thread
    done        called on the event loop when a part was read; should `look` again, for the view may
                have moved on
    """

    def __init__(self, call_later: Callable[..., object], done: Callable[[], object]) -> None:
        self._call_later = call_later
        self._done = done
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
        parts_read = [(*part, self._detail(*part)) for part in parts]
        with contextlib.suppress(RuntimeError):  # the event loop has just been closed
            self._call_later(self._take, parts_read)

    @staticmethod
    def _detail(line: Line, whole: SeriesSnapshot, start: int, stop: int) -> SeriesSnapshot | None:
        try:
            return line.store.detail(whole, start, stop)
        except Exception:  # the curve without its detail is better than none
            logger.exception("A part of %s cannot be read again", line.series)
            return None

    def _take(self, parts: Sequence[PartRead]) -> None:
        self.busy = False
        for line, whole, start, stop, detail in parts:
            if detail is None:
                line.refused = (whole.version, start, stop)
            else:
                line.detail = detail
        self._done()
