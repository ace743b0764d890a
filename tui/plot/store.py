"""All series of one run, fed by a reader thread and drawn from snapshots.

Two sides, one lock. The reader thread alone calls `ingest` and `clear`; it prepares everything,
reading the file again where it must, before it takes the lock to change a series. Any thread may
ask for a `snapshot`: an immutable copy (at most 0.5 MB, made once for each change of the series),
so drawing never sees a half-written bucket and never waits for a file.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from traindeck.core.run.points import PROGRESS, RECORD
from traindeck.tui.plot.buckets import (
    CAPACITY,
    Points,
    Series,
    SeriesSnapshot,
    live_points,
)

DTYPE = np.dtype([("time", "<f8"), ("step", "<i8"), ("series", "<u4"), ("value", "<f8")])
MAX_DETAIL_RECORDS = 4 << 20
DETAIL_CAPACITY = 16384
MAX_SERIES = 1 << 16
MAX_RESUMES = 256
_PIECE = 1 << 15  # records read at a time: 0.9 MB

assert DTYPE.itemsize == RECORD.size


class SeriesStore:
    """What the curves of one run are drawn from.

    source  the `points.bin` that the ingested records come from, read again for detail when a curve
            is zoomed and to tell the points of one bucket apart. None when there is none.
    """

    def __init__(self, source: Path | None = None) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._series: dict[int, Series] = {}
        self._versions: dict[int, int] = {}
        self._names: dict[str, int] = {}
        self._known: list[str] = []
        self._snapshots: dict[int, SeriesSnapshot] = {}
        self._records = 0
        self._version = 0
        self._first_time: float | None = None
        self._last_time: float | None = None

    @property
    def version(self) -> int:
        """Changes whenever any series does."""
        return self._version

    @property
    def records(self) -> int:
        """Records ingested since the start or the last `clear`, replaced ones included."""
        return self._records

    @property
    def first_time(self) -> float | None:
        """Unix seconds of the earliest point: zero of the elapsed-time axis."""
        return self._first_time

    @property
    def last_time(self) -> float | None:
        """Unix seconds of the latest point."""
        return self._last_time

    def names(self) -> list[str]:
        """The series that have points, in the order of their numbers."""
        with self._lock:
            return sorted(self._names, key=self._names.__getitem__)

    def clear(self) -> None:
        """Forget everything: the file started over."""
        with self._lock:
            self._series.clear()
            self._names.clear()
            self._known = []
            self._snapshots.clear()
            self._records = 0
            self._first_time = self._last_time = None
            self._version += 1

    def ingest(self, data: bytes, names: Sequence[str]) -> int:
        """Take whole records in file order; returns how many there were.

        `names` are the series' names by number. Records of the reserved series, and of numbers that
        have no name, are passed over. Raises ValueError if `data` is not whole records.
        """
        records = np.frombuffer(data, DTYPE)
        if not len(records):
            return 0
        numbers = records["series"]
        first_record = self._records
        self._records += len(records)
        self._learn(names)
        known = min(len(self._known), MAX_SERIES)
        # Sorted by series, file order kept: two-byte keys make this a radix sort.
        order = np.argsort(np.minimum(numbers, known).astype(np.uint16), kind="stable")
        ordered = numbers[order]
        time, step, value = (records[name][order] for name in ("time", "step", "value"))
        order += first_record
        cuts = ((ordered[1:] != ordered[:-1]).nonzero()[0] + 1).tolist()
        for start, stop in zip([0, *cuts], [*cuts, len(order)], strict=True):
            number = int(ordered[start])
            if number >= known or self._known[number] == PROGRESS:
                continue
            part = slice(start, stop)
            self._push(number, Points(step[part], time[part], value[part], order[part]))
        low, high = float(np.fmin.reduce(time)), float(np.fmax.reduce(time))
        if math.isfinite(low) and math.isfinite(high):
            self._first_time = low if self._first_time is None else min(low, self._first_time)
            self._last_time = high if self._last_time is None else max(high, self._last_time)
        self._version += 1
        return len(records)

    def series_version(self, name: str) -> int:
        """Changes whenever this series does; -1 while it has no points."""
        number = self._names.get(name)
        return -1 if number is None else self._versions.get(number, -1)

    def snapshot(self, name: str) -> SeriesSnapshot | None:
        """The series as it stands, or None while it has no points."""
        with self._lock:
            number = self._names.get(name)
            if number is None or number not in self._series:
                return None
            version = self._versions[number]
            cached = self._snapshots.get(number)
            if cached is None or cached.version != version:
                cached = self._series[number].snapshot(name, number, version)
                self._snapshots[number] = cached
            return cached

    def detail(self, whole: SeriesSnapshot, start: int, stop: int) -> SeriesSnapshot | None:
        """Buckets `start` to `stop` of `whole`, read again from the file in finer buckets.

        Reads the disk: call it from a thread. None when there is no file, when the part is larger
        than 4 million records, or when the file no longer holds what it did.
        """
        if not 0 <= start < stop <= len(whole):
            return None
        first, last = int(whole.first_record[start]), int(whole.last_record[stop - 1])
        points = self._read(whole.number, first, last)
        if points is None:
            return None
        points, _ = live_points(points, None)
        if len(points.step) != int(whole.count[start:stop].sum()):
            return None
        series = Series(DETAIL_CAPACITY)
        series.extend(points)
        return series.snapshot(whole.name, whole.number, whole.version)

    def _learn(self, names: Sequence[str]) -> None:
        """A name listed twice (only a hand-made file does that) names its first series alone."""
        if len(names) > len(self._known):
            self._known = list(names)

    def _push(self, number: int, points: Points) -> None:
        series = self._series.get(number) or Series(CAPACITY)
        points, resumes = live_points(points, series.last_step)
        back_to = min((resume.step for resume in resumes), default=None)
        straddling = None
        if back_to is not None and (part := series.straddled(back_to)):
            straddling = self._read(number, *part)
            if straddling is not None:
                straddling, _ = live_points(straddling, None)
        with self._lock:
            if back_to is not None:
                series.drop_from(back_to, straddling)
                kept = [resume for resume in series.resumes if resume.step < back_to]
                series.resumes = [*kept, *resumes][-MAX_RESUMES:]
            series.extend(points)
            self._series[number] = series
            self._names.setdefault(self._known[number], number)
            self._versions[number] = self._versions.get(number, -1) + 1

    def _read(self, number: int, first: int, last: int) -> Points | None:
        """One series' points among the file's records `first` to `last`, or None.

        Positioned reads, not a memory map: a map of a file that is cut short kills the process.
        """
        if self._source is None or last - first >= MAX_DETAIL_RECORDS:
            return None
        parts: list[Points] = []
        try:
            file = os.open(self._source, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            for begin in range(first, last + 1, _PIECE):
                wanted = min(_PIECE, last + 1 - begin) * RECORD.size
                data = os.pread(file, wanted, begin * RECORD.size)
                if len(data) < wanted:
                    return None
                records = np.frombuffer(data, DTYPE)
                at = np.flatnonzero(records["series"] == number)
                parts.append(
                    Points(
                        records["step"][at], records["time"][at], records["value"][at], at + begin
                    )
                )
        except OSError:
            return None
        finally:
            os.close(file)
        return Points(*(np.concatenate(column) for column in zip(*parts, strict=True)))
