"""How far a run said it was: the series of `points.PROGRESS`, step done and value total."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from threading import Lock

from traindeck.core.base.files import reading
from traindeck.core.run.points import PROGRESS, RECORD, blocks, read_names


def last_progress(folder: Path) -> tuple[float, int, float] | None:
    """The last (unix time, done, total) that the run reported; None if none.

    Looked for from the end of its points.
    """
    try:
        number = read_names(folder).index(PROGRESS)
        with reading(folder / "points.bin") as file:
            size = os.fstat(file.fileno()).st_size // RECORD.size * RECORD.size
            while size > 0:
                start = max(0, size - 4096 * RECORD.size)
                file.seek(start)
                block = file.read(size - start)
                for at in range(len(block) - RECORD.size, -1, -RECORD.size):
                    when, step, series, value = RECORD.unpack_from(block, at)
                    if series == number:
                        return when, step, value
                size = start
    except (OSError, ValueError):
        pass
    return None


def first_progress(folder: Path) -> tuple[float, int] | None:
    """The first (unix time, done) that the run reported since it last began anew; None if none.

    What was read once is not read again.
    """
    return _begun(folder).read(folder)


class _Begun:
    """Where a run's progress began, as far as its points were read."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._inode = self._offset = self._last = 0
        self._first: tuple[float, int] | None = None

    def read(self, folder: Path) -> tuple[float, int] | None:
        with self._lock:
            try:
                self._read_on(folder)
            except (OSError, ValueError):
                return None
            return self._first

    def _read_on(self, folder: Path) -> None:
        number = read_names(folder).index(PROGRESS)
        with reading(folder / "points.bin") as file:
            status = os.fstat(file.fileno())
            if status.st_ino != self._inode or status.st_size < self._offset:
                self._inode, self._offset, self._first = status.st_ino, 0, None
            file.seek(self._offset)
            for block in blocks(file, 1 << 62):
                for when, step, series, _ in RECORD.iter_unpack(block):
                    if series == number:
                        if self._first is None or step < self._last:
                            self._first = when, step
                        self._last = step
                self._offset += len(block)


@lru_cache(512)
def _begun(folder: Path) -> _Begun:
    return _Begun()
