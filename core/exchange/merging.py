"""One series from several files: parallel writers, resumed ones, and copies.

Points are kept in ascending steps. Where two files have a point of one step, the file that was
found first has it. A file that begins when another's last point was already written, at a step
that the other had passed, is of a resumed run: it replaces what lay beyond, until the other goes
on after all.

What was written is never lost: `points.bin` drops what lies at or beyond a lower step, so a point
that comes late is written together with all that lies beyond it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

Point = tuple[float, int, float]
"""Unix time, step, value."""


class Merged:
    """One series of the files that have it.

    While there is one such file nothing is kept. `load` gives what has been written so far, for
    when there is another.

    conflict  the first step that two files have with other values
    """

    def __init__(self, source: object, load: Callable[[], list[Point]]) -> None:
        self.conflict: int | None = None
        self._load = load
        self._first = source
        self._sources: dict[object, list[Point]] = {}
        self._written: list[tuple[int, float]] = []

    def take(self, source: object, points: Sequence[Point]) -> Sequence[Point]:
        """What is to be written after new points of one file."""
        if not self._sources:
            if source == self._first:
                return points
            so_far = self._load()
            self._sources[self._first] = so_far
            self._written = [(step, value) for _, step, value in so_far]
        own = self._sources.setdefault(source, [])
        for point in points:
            if own and point[1] < own[-1][1]:
                del own[bisect_left(own, point[1], key=_step) :]
            own.append(point)
        return self._rewritten(self._merged())

    def _merged(self) -> list[Point]:
        sources = [points for points in self._sources.values() if points]
        kept: dict[int, Point] = {}
        for place, points in enumerate(sources):
            end = len(points)
            for other in sources[:place] + sources[place + 1 :]:
                if other[0][0] > points[-1][0]:  # it began when these had ended
                    end = min(end, bisect_left(points, other[0][1], key=_step))
            for point in points[:end]:
                first = kept.setdefault(point[1], point)
                if first[2] != point[2] and self.conflict is None and first[2] == first[2]:
                    self.conflict = point[1]
        return [kept[step] for step in sorted(kept)]

    def _rewritten(self, wanted: list[Point]) -> Sequence[Point]:
        """What brings what was written to what is wanted."""
        written = self._written
        count = min(len(written), len(wanted))
        same = count
        if written != [(step, value) for _, step, value in wanted[: len(written)]]:
            same = next(
                (n for n in range(count) if written[n] != wanted[n][1:] and not _nan(written[n])),
                count,
            )
        if same < len(written) and same and wanted[same - 1 : same]:
            last = written[-1][0]
            if same == len(wanted) or wanted[same][1] >= last:
                same -= 1  # only a lower step makes what was written void
        new = wanted[same:]
        self._written = [(step, value) for _, step, value in wanted]
        return new


def _step(point: Point) -> int:
    return point[1]


def _nan(pair: tuple[int, float]) -> bool:
    return pair[1] != pair[1]
