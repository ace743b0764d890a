"""Read a run's output.log, however large and however hostile, a piece at a time.

One thread owns a `LogFile`. It finds line starts with one pass over the bytes, remembers one of
them for every 32 KiB of file (a 10 GB log costs 5 MB), and reads the lines a view shows by
position. Nothing here reads more than it was allowed to, so a huge file is never waited for.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from array import array
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from pathlib import Path

from traindeck.core.base.files import opened
from traindeck.core.base.sanitize import clean

CELL_BYTES = 32 * 1024
CHUNK_BYTES = 256 * 1024
SHOWN_BYTES = 8 * 1024
MAX_HITS = 1_000_000

_REWRITING = re.compile(rb"[\x1b\x08\r]")


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a log, safe to draw.

    `number` counts from 0, `text` holds what a terminal would have left of the line's first
    `SHOWN_BYTES` bytes, `hidden` is the number of bytes beyond those.
    """

    number: int
    text: str
    hidden: int = 0


class LogFile:
    """A growing file of lines: a sparse index of line starts, and reads by line number.

    Belongs to one thread. `OSError` from the file never leaves it: `error` says what went wrong
    and what had been read stays readable.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.restarts = 0
        self.missing = False
        self.error: str | None = None
        self._fd: int | None = None
        self._identity: tuple[int, int] | None = None
        self._forget()

    def _forget(self) -> None:
        self.indexed = 0
        self.on_disk = 0
        self._newlines = 0
        self._last_start = 0
        self._entry_lines = array("Q", [0])
        self._entry_offsets = array("Q", [0])

    @property
    def lines(self) -> int:
        """Lines indexed so far; a last line that has not ended yet counts."""
        return self._newlines + (0 if self.indexed == self._last_start else 1)

    def close(self) -> None:
        """Let go of the file; what was indexed is kept."""
        if self._fd is not None:
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = None

    def update(self, max_bytes: int, deadline: float) -> bool:
        """Index what was appended; True if more is waiting.

        Stops after `max_bytes` or at `deadline` (`time.monotonic()` seconds), whichever is first,
        but never before one chunk, so that every call gets somewhere.
        """
        try:
            self._look()
            if self._fd is None:
                return False
            budget = max_bytes
            while budget > 0 and self.indexed < self.on_disk:
                chunk = os.pread(
                    self._fd, min(CHUNK_BYTES, budget, self.on_disk - self.indexed), self.indexed
                )
                if not chunk:
                    break
                self._index(chunk)
                budget -= len(chunk)
                if time.monotonic() >= deadline:
                    break
            self.error = None
        except OSError as problem:
            self.error = f"cannot read {self.path.name}: {problem.strerror or problem}"
            return False
        return self.indexed < self.on_disk

    def _look(self) -> None:
        """Notice a file that appeared, grew, shrank, was replaced or was deleted."""
        try:
            seen = self.path.stat()
        except FileNotFoundError:
            self.missing = True
            return
        self.missing = False
        identity = (seen.st_dev, seen.st_ino)
        if identity != self._identity or seen.st_size < self.indexed:
            if self._identity is not None:
                self.restarts += 1
            self.close()
            self._forget()
            self._identity = identity
        if self._fd is None:
            self._fd = opened(self.path)
        self.on_disk = seen.st_size

    def _index(self, chunk: bytes) -> None:
        position = 0
        while position < len(chunk):
            offset = self.indexed + position
            cell = offset // CELL_BYTES
            end = min(len(chunk), (cell + 1) * CELL_BYTES - self.indexed)
            newline = chunk.find(b"\n", position, end)
            if newline >= 0:
                if (self._entry_offsets[-1] - 1) // CELL_BYTES != cell:
                    self._entry_lines.append(self._newlines + 1)
                    self._entry_offsets.append(self.indexed + newline + 1)
                self._newlines += chunk.count(b"\n", newline, end)
                self._last_start = self.indexed + chunk.rfind(b"\n", position, end) + 1
            position = end
        self.indexed += len(chunk)

    def read(self, first: int, count: int) -> list[LogLine]:
        """Up to `count` lines from line `first` on; fewer at the end or if the file cannot be read.

        Reads about as many bytes as it returns, plus at most one cell.
        """
        first = max(0, first)
        last = min(first + count, self.lines)
        if first >= last or self._fd is None:
            return []
        try:
            return self._read(first, last)
        except OSError as problem:
            self.error = f"cannot read {self.path.name}: {problem.strerror or problem}"
            return []

    def _read(self, first: int, last: int) -> list[LogLine]:
        read: list[LogLine] = []
        start = self._start_of(first)
        block, base = b"", start
        for number in range(first, last):
            end = block.find(b"\n", start - base)
            if end < 0:
                block, base = self._pread(start, 4 * SHOWN_BYTES), start
                end = block.find(b"\n")
            if end >= 0:
                stop, following = base + end, base + end + 1
            else:
                following = self._start_of(number + 1) if number < self._newlines else self.indexed
                stop = following - 1 if number < self._newlines else self.indexed
            read.append(self._line(number, start, stop, block, base))
            start = following
        return read

    def _line(self, number: int, start: int, stop: int, block: bytes, base: int) -> LogLine:
        head = block[start - base : min(stop, start + SHOWN_BYTES) - base]
        hidden = max(0, stop - start - SHOWN_BYTES)
        if hidden and b"\r" in head:
            # A progress bar that kept rewriting its line: its last state is at the far end.
            head, hidden = self._pread(stop - SHOWN_BYTES, SHOWN_BYTES), 0
        return LogLine(number, clean(head), hidden)

    def _start_of(self, line: int) -> int:
        """The offset of a line's first byte; the line's start must be indexed."""
        if line >= self._newlines:
            return self._last_start
        entry = bisect_right(self._entry_lines, line) - 1
        offset, skip = self._entry_offsets[entry], line - self._entry_lines[entry]
        if skip:
            block = self._pread(offset, CELL_BYTES)
            position = -1
            for _ in range(skip):
                position = block.find(b"\n", position + 1)
            offset += position + 1
        return offset

    def _pread(self, offset: int, size: int) -> bytes:
        assert self._fd is not None
        return os.pread(self._fd, max(0, min(size, self.indexed - offset)), offset)


class LogSearch:
    """Every line of a log that holds a text, found a slice at a time, in order.

    The text is literal; letters a to z match in either case. The owner of the `LogFile` calls
    `step`; any thread may ask `after`, `before` and `count`, since hits are only ever appended.
    """

    def __init__(self, needle: str) -> None:
        self.needle = needle
        self.pattern = re.compile(re.escape(needle), re.IGNORECASE | re.ASCII)
        self._bytes = needle.encode("utf-8", "replace").lower()
        self._restarts = -1
        self._begin(0)

    def _begin(self, restarts: int) -> None:
        self.scanned = 0
        self._line = 0
        self._restarts = restarts
        self._hits = array("Q")

    @property
    def count(self) -> int:
        """Lines found so far, at most `MAX_HITS`."""
        return len(self._hits)

    def step(self, log: LogFile, max_bytes: int, deadline: float) -> bool:
        """Search on in what `log` has indexed; True if there is more to search now."""
        if self._restarts != log.restarts:
            self._begin(log.restarts)
        overlap = len(self._bytes) - 1
        budget = max_bytes
        while budget > 0 and self.scanned + overlap < log.indexed and self.count < MAX_HITS:
            try:
                chunk = log._pread(self.scanned, CHUNK_BYTES + overlap)
            except OSError:
                return False
            if len(chunk) <= overlap:
                return False
            self._scan(log, chunk, len(chunk) - overlap)
            budget -= len(chunk)
            if time.monotonic() >= deadline:
                break
        return self.scanned + overlap < log.indexed and self.count < MAX_HITS

    def _scan(self, log: LogFile, chunk: bytes, size: int) -> None:
        folded = chunk.lower()
        counted, line = 0, self._line
        hit = folded.find(self._bytes)
        while 0 <= hit < size:
            line += chunk.count(b"\n", counted, hit)
            counted = hit
            end = chunk.find(b"\n", hit)
            repeated = self.count > 0 and self._hits[-1] == line
            if not repeated and self._is_visible(log, line, chunk, hit, end):
                self._hits.append(line)
                if self.count >= MAX_HITS:
                    break
            hit = folded.find(self._bytes, end) if end >= 0 else -1
        self._line = line + chunk.count(b"\n", counted, size)
        self.scanned += size

    def _is_visible(self, log: LogFile, line: int, chunk: bytes, hit: int, end: int) -> bool:
        """False for a match inside an escape sequence or a state a progress bar overwrote."""
        start = chunk.rfind(b"\n", 0, hit) + 1
        if not _REWRITING.search(chunk, start, end if end >= 0 else len(chunk)):
            return True
        if 0 < start < end < start + SHOWN_BYTES:
            return bool(self.pattern.search(clean(chunk[start:end])))
        shown = log.read(line, 1)
        return not shown or shown[0].hidden > 0 or bool(self.pattern.search(shown[0].text))

    def after(self, line: int) -> int | None:
        """The first line found after `line`."""
        place = bisect_right(self._hits, line)
        return self._hits[place] if place < len(self._hits) else None

    def before(self, line: int) -> int | None:
        """The last line found before `line`."""
        place = bisect_left(self._hits, line)
        return self._hits[place - 1] if place else None

    def rank(self, line: int) -> int:
        """How many lines found lie at or before `line`: the place of a hit, from 1."""
        return bisect_right(self._hits, line)
