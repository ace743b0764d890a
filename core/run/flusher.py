"""Points that reach the disk by themselves: whoever logs never waits for it.

Standard library only: recipes import this.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from traindeck.core.run.points import PointWriter

FLUSH_SECONDS = 0.1


class Flusher:
    """A `PointWriter` whose points are flushed within 0.1 s, by a thread of its own.

    warn  is told what kept them from the disk; they wait in memory and are tried again

    Raises OSError when the files cannot be made.
    """

    def __init__(self, folder: Path, warn: Callable[[Exception], None]) -> None:
        self._writer: PointWriter | None = PointWriter(folder)
        self._warn = warn
        self._wake = threading.Event()
        self._closing = False
        self._running = False
        self._process = os.getpid()
        os.register_at_fork(after_in_child=self._forked)
        self._awaken()

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Queue one record a value; costs microseconds. Raises OSError for a new series' name."""
        if self._writer is not None and self._writer.add(step, values):
            self._awaken()

    def close(self) -> None:
        """Write what is still queued. Raises OSError."""
        self._closing = True
        self._wake.set()
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _forked(self) -> None:
        """A forked process has no such thread; it gets one when it logs."""
        self._wake = threading.Event()
        self._running = False

    def _awaken(self) -> None:
        self._wake.set()
        if self._running:
            return
        self._running = True
        threading.Thread(target=self._flush_forever, name="traindeck-flush", daemon=True).start()
        if os.getpid() != self._process and "multiprocessing.util" in sys.modules:
            from multiprocessing.util import Finalize  # its processes end without atexit

            Finalize(None, self._close_quietly, exitpriority=0)

    def _close_quietly(self) -> None:
        try:
            self.close()
        except Exception as error:
            self._warn(error)

    def _flush_forever(self) -> None:
        while not self._closing:
            self._wake.wait()
            self._wake.clear()
            writer = self._writer
            if writer is not None:
                try:
                    writer.flush()
                except OSError as error:
                    self._warn(error)
                    time.sleep(1.0)
                    self._wake.set()
            time.sleep(FLUSH_SECONDS)  # after, not before: what comes seldom is seen at once
