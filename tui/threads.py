"""Waiting for files without stopping: for those they were asked of, and for the screen.

Threads here are daemons: a file that never answers must not keep the program from ending. Those of
an event loop's pool would.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


async def within(seconds: float, action: Callable[[], T], otherwise: T) -> T:
    """What `action` gives on a thread, or `otherwise` when that takes longer or fails."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def put(found: T) -> None:
        if not answer.done():
            answer.set_result(found)

    def work() -> None:
        found = otherwise
        try:
            found = action()
        finally:
            with contextlib.suppress(RuntimeError):  # the event loop has just been closed
                loop.call_soon_threadsafe(put, found)

    threading.Thread(target=work, name="first look", daemon=True).start()
    try:
        return await asyncio.wait_for(answer, seconds)
    except TimeoutError:
        return otherwise


class BackgroundLog(logging.Handler):
    """Appends to a file on a thread of its own; a record costs those who log no I/O.

    Not a `logging.FileHandler` behind a queue: the interpreter waits at its end for the lock that
    such a one holds while it writes.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        self._path = path
        self._waiting: SimpleQueue[str | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)

    def emit(self, record: logging.LogRecord) -> None:
        self._waiting.put(self.format(record))

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Write what is waiting and end, unless that takes longer."""
        self._waiting.put(None)
        self._thread.join(timeout)

    def _write(self) -> None:
        while (text := self._waiting.get()) is not None:
            # A home that cannot be written is told on the screen.
            with (
                contextlib.suppress(OSError),
                self._path.open("a", encoding="utf-8", errors="replace") as file,
            ):
                file.write(f"{text}\n")
