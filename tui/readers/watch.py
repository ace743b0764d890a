"""A thread that looks at files every so often, and tells when it sees something else."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

PACE = 8
"""A look that takes long is taken seldom: it pauses so many times as long as it took."""


class Watch(ABC, Generic[T]):
    """What it looks at is `_look`'s.

    name    of the thread
    ready   called on the thread with what was seen, when it is not what was seen before
    failed  called on the thread when a look failed, once for each different failure in a row
    """

    def __init__(
        self,
        name: str,
        *,
        ready: Callable[[T], object],
        failed: Callable[[Exception], object],
        interval: float,
    ) -> None:
        self._ready, self._failed, self._interval = ready, failed, interval
        self._seen: T | None = None
        self._parked = False
        self._stopped = False
        self._wake = threading.Event()
        self.looking_since: float | None = None
        """When the look now under way began (`time.monotonic()`); None between two looks."""
        # A daemon: a mount that hangs must not keep the program from ending.
        self._thread = threading.Thread(target=self._watch, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; returns at once."""
        self._stopped = True
        self._wake.set()

    def look_now(self) -> None:
        self._wake.set()

    @abstractmethod
    def _look(self) -> T:
        """Look once, on the thread."""

    def _watch(self) -> None:
        failure = ""
        while not self._stopped:
            self.looking_since = began = time.monotonic()
            try:
                seen = self._look()
                failure = ""
            except Exception as error:  # whatever a file can do must reach the screen, not end us
                if failure != (failure := repr(error)) and not self._stopped:
                    self._failed(error)
            else:
                if seen != self._seen and not self._stopped:
                    self._seen = seen
                    self._ready(seen)
            self.looking_since = None
            self._rest(max(self._interval, PACE * (time.monotonic() - began)))

    def _rest(self, seconds: float) -> None:
        """For so long, or until somebody asks; parked, only when somebody asks."""
        while not self._wake.wait(None if self._parked else seconds) and self._parked:
            pass
        self._wake.clear()
