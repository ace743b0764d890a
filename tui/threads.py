"""Waiting for files without stopping: for those they were asked of, and for the screen.

Threads here are daemons: a file that never answers must not keep the program from ending. Those of
an event loop's pool would. And what lets the thread that paints have its turn before the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import sys
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

    def put(result: T) -> None:
        if not answer.done():
            answer.set_result(result)

    def work() -> None:
        result = otherwise
        try:
            result = action()
        finally:
            with contextlib.suppress(RuntimeError):  # the event loop has just been closed
                loop.call_soon_threadsafe(put, result)

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


def favor_the_screen(yes: bool) -> None:
    """Lets the thread that paints have its turn sooner, and start without garbage collection.

    Reading 10,000 runs makes 300,000 objects at once, none of them garbage: looking through them
    is a third of that reading.
    """
    if yes:
        gc.disable()
        sys.setswitchinterval(0.001)
    else:
        gc.enable()
        sys.setswitchinterval(0.005)


def settle_memory() -> None:
    """Takes what start-up made out of the collector's sight, so that no key ever waits for it."""
    gc.freeze()
    gc.enable()
