"""Points that a thread brings to the disk, so that logging one never waits for it.

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
RETRY_SECONDS = 1.0


class Flusher:
    """A run's points, on the disk within FLUSH_SECONDS. Raises OSError when it cannot be opened.

    A forked process has no such thread; it gets one of its own with the first point that it logs.

    failed  told of each flush that did not succeed; it is tried again
    """

    def __init__(self, folder: Path, failed: Callable[[Exception], None]) -> None:
        self._writer = PointWriter(folder)
        self._failed = failed
        self._wake = threading.Event()
        self._closing = False
        self._process = os.getpid()
        self._flushing = False
        os.register_at_fork(after_in_child=self._forked)
        self.wake()

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Queue one point a value. Raises OSError when a new series cannot be named."""
        if self._writer.add(step, values):
            self.wake()

    def wake(self) -> None:
        """Have what is queued written soon."""
        self._wake.set()
        if self._flushing:
            return
        self._flushing = True
        threading.Thread(target=self._flush_forever, name="traindeck-flush", daemon=True).start()
        if os.getpid() != self._process and "multiprocessing.util" in sys.modules:
            from multiprocessing.util import Finalize  # its processes end without atexit

            Finalize(None, self._close_quietly, exitpriority=0)

    def close(self) -> None:
        """Write what is still queued, once. Raises OSError."""
        if not self._closing:
            self._closing = True
            self._wake.set()
            self._writer.close()

    def _close_quietly(self) -> None:
        try:
            self.close()
        except OSError as error:
            self._failed(error)

    def _forked(self) -> None:
        self._wake = threading.Event()
        self._flushing = False

    def _flush_forever(self) -> None:
        while not self._closing:
            self._wake.wait()
            self._wake.clear()
            try:
                self._writer.flush()
            except OSError as error:
                self._failed(error)
                time.sleep(RETRY_SECONDS)
                self._wake.set()
            time.sleep(FLUSH_SECONDS)  # after, not before: what comes seldom is seen at once
