"""Which rows of a screen a log's lines take: one each, and more for those known to be wide.

Only lines at hand are measured, so a log of any length costs what its window does.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from rich.cells import cell_len, chop_cells


def starts_of(text: str, width: int) -> tuple[int, ...]:
    """The cells at which the rows of a line begin; no character is parted."""
    if text.isascii():
        return tuple(range(0, max(1, len(text)), width))
    starts = [0]
    for part in chop_cells(text, width)[:-1]:
        starts.append(starts[-1] + cell_len(part))
    return tuple(starts)


class LogRows:
    """Rows and lines, of which some are wide; both count from 0."""

    def __init__(self) -> None:
        self._starts: dict[int, tuple[int, ...]] = {}
        self._lines: list[int] = []
        self._extra: list[int] = [0]  # rows beyond one a line, before each of `_lines`, and in all
        self._above: list[int] = []  # the first row of each of `_lines`
        self._stale = False

    def measure(self, line: int, text: str, width: int) -> None:
        starts = starts_of(text, width)
        if len(starts) > 1:
            self._stale |= self._starts.get(line) != starts
            self._starts[line] = starts
        elif line in self._starts:
            self._stale = True
            del self._starts[line]

    def keep(self, lines: Iterable[int]) -> None:
        """Forget all other lines."""
        self._starts = {line: self._starts[line] for line in lines if line in self._starts}
        self._stale = True

    def _settle(self) -> None:
        if not self._stale:
            return
        self._stale = False
        self._lines = sorted(self._starts)
        self._extra, self._above = [0], []
        for line in self._lines:
            self._above.append(line + self._extra[-1])
            self._extra.append(self._extra[-1] + len(self._starts[line]) - 1)

    def starts(self, line: int) -> tuple[int, ...]:
        return self._starts.get(line, (0,))

    @property
    def extra(self) -> int:
        """Rows beyond one a line."""
        self._settle()
        return self._extra[-1]

    def row_of(self, line: int) -> int:
        """The first row of a line."""
        self._settle()
        return line + self._extra[bisect_left(self._lines, line)]

    def at(self, row: int) -> tuple[int, int]:
        """The line in a row, and which of the line's rows it is."""
        self._settle()
        place = bisect_right(self._above, row) - 1
        if place < 0:
            return row, 0
        line = self._lines[place]
        within = row - self._above[place]
        rows = len(self._starts[line])
        return (line, within) if within < rows else (line + 1 + within - rows, 0)
