"""One series of points, decimated as it arrives.

A series keeps at most `capacity` buckets of `width` consecutive points each. When they run out,
neighbours are merged in pairs and the width doubles, so memory is bounded and every point seen
still counts: a bucket knows the least, greatest, mean and last value, how many points were NaN or
infinite, the steps and times it spans and which records of the file it came from. Up to `capacity`
points, a bucket is a point.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

CAPACITY = 4096

# Rows of the integer and float halves of a bucket table: one column a bucket.
FIRST_STEP, LAST_STEP, FIRST_RECORD, LAST_RECORD, COUNT, NAN, PLUS_INF, MINUS_INF = range(8)
FIRST_TIME, LAST_TIME, LOW, HIGH, MEAN, LAST = range(6)


class Points(NamedTuple):
    """Raw points in file order; `record` is each point's place in the file, counted in records."""

    step: Ints
    time: Floats
    value: Floats
    record: Ints

    def where(self, keep: NDArray[np.bool_]) -> Points:
        return Points(self.step[keep], self.time[keep], self.value[keep], self.record[keep])


class Resume(NamedTuple):
    """A place where a run went back to an earlier step and replaced what lay beyond."""

    step: int
    time: float


@dataclass(frozen=True, slots=True)
class SeriesSnapshot:
    """A series as it stood at one moment. The arrays have shape (buckets,) and never change.

    Attributes:
        name: of the series.
        number: of the series in its file.
        version: changes whenever the series does.
        width: points a full bucket holds; 1 means that no point was merged with another.
        exact: False if a bucket holds points that a resumed run has replaced (its file was gone
            when they should have been told apart).
    """

    name: str
    number: int
    version: int
    width: int
    ints: Ints
    floats: Floats
    resumes: tuple[Resume, ...] = ()
    exact: bool = True

    def __len__(self) -> int:
        return int(self.ints.shape[1])

    @property
    def first_step(self) -> Ints:
        return self._int_row(FIRST_STEP)

    @property
    def last_step(self) -> Ints:
        return self._int_row(LAST_STEP)

    @property
    def first_record(self) -> Ints:
        return self._int_row(FIRST_RECORD)

    @property
    def last_record(self) -> Ints:
        return self._int_row(LAST_RECORD)

    @property
    def count(self) -> Ints:
        """Points in each bucket, those that are not finite included."""
        return self._int_row(COUNT)

    @property
    def nan(self) -> Ints:
        return self._int_row(NAN)

    @property
    def plus_inf(self) -> Ints:
        return self._int_row(PLUS_INF)

    @property
    def minus_inf(self) -> Ints:
        return self._int_row(MINUS_INF)

    @property
    def finite(self) -> Ints:
        return _finite(self.ints)

    @property
    def first_time(self) -> Floats:
        """Unix seconds."""
        return self._float_row(FIRST_TIME)

    @property
    def last_time(self) -> Floats:
        return self._float_row(LAST_TIME)

    @property
    def low(self) -> Floats:
        """Least finite value; +inf where a bucket has none."""
        return self._float_row(LOW)

    @property
    def high(self) -> Floats:
        """Greatest finite value; -inf where a bucket has none."""
        return self._float_row(HIGH)

    @property
    def mean(self) -> Floats:
        """Mean of the finite values; meaningless where a bucket has none."""
        return self._float_row(MEAN)

    @property
    def last(self) -> Floats:
        """Last value, which may be NaN or infinite."""
        return self._float_row(LAST)

    @property
    def points(self) -> int:
        return int(self.ints[COUNT].sum())

    def _int_row(self, row: int) -> Ints:
        values: Ints = self.ints[row]
        return values

    def _float_row(self, row: int) -> Floats:
        values: Floats = self.floats[row]
        return values

    def cut(self, start: int, stop: int) -> SeriesSnapshot:
        """Buckets `start` to `stop`."""
        return replace(self, ints=self.ints[:, start:stop], floats=self.floats[:, start:stop])

    def spliced(self, detail: SeriesSnapshot) -> SeriesSnapshot | None:
        """This series with the buckets that `detail` was read for replaced by it.

        A last bucket that has grown since is left as it is. None when `detail` no longer fits: its
        buckets were merged or replaced.
        """
        if not len(detail) or not len(self):
            return None
        start = int(np.searchsorted(self.first_record, detail.first_record[0]))
        stop = int(np.searchsorted(self.last_record, detail.last_record[-1], "right"))
        if start >= stop or self.first_record[start] != detail.first_record[0]:
            return None
        kept = int(np.searchsorted(detail.last_record, self.last_record[stop - 1], "right"))
        detail = detail.cut(0, kept)
        if self.count[start:stop].sum() != detail.points:
            return None
        return replace(
            self,
            ints=np.hstack((self.ints[:, :start], detail.ints, self.ints[:, stop:])),
            floats=np.hstack((self.floats[:, :start], detail.floats, self.floats[:, stop:])),
        )


class Series:
    """The growing side of a `SeriesSnapshot`. One thread at a time."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.width = 1
        self.resumes: list[Resume] = []
        self.exact = True
        self._capacity = max(capacity, 2)
        self._used = 0
        self._ints: Ints = np.empty((8, min(64, self._capacity)), np.int64)
        self._floats: Floats = np.empty((6, min(64, self._capacity)), np.float64)

    def __len__(self) -> int:
        return self._used

    @property
    def last_step(self) -> int | None:
        return int(self._ints[LAST_STEP, self._used - 1]) if self._used else None

    def snapshot(self, name: str, number: int, version: int) -> SeriesSnapshot:
        ints, floats = self._ints[:, : self._used].copy(), self._floats[:, : self._used].copy()
        ints.flags.writeable = floats.flags.writeable = False
        return SeriesSnapshot(
            name, number, version, self.width, ints, floats, tuple(self.resumes), self.exact
        )

    def straddled(self, step: int) -> tuple[int, int] | None:
        """The records (first, last) of the bucket that has points on both sides of `step`."""
        kept = int(np.searchsorted(self._ints[FIRST_STEP, : self._used], step))
        if kept and self._ints[LAST_STEP, kept - 1] >= step:
            first, last = self._ints[[FIRST_RECORD, LAST_RECORD], kept - 1]
            return int(first), int(last)
        return None

    def drop_from(self, step: int, straddling: Points | None) -> None:
        """Forget every point at or beyond `step`.

        `straddling` is what the `straddled` bucket was made of, so that its points before `step`
        can be kept. Without it the bucket stays whole, and the series is no longer exact.
        """
        kept = int(np.searchsorted(self._ints[FIRST_STEP, : self._used], step))
        if kept and self._ints[LAST_STEP, kept - 1] >= step:
            if straddling is None:
                self._ints[LAST_STEP, kept - 1] = step - 1
                self.exact = False
            else:
                self._used = kept - 1
                self.extend(straddling.where(straddling.step < step))
                return
        self._used = kept

    def extend(self, points: Points) -> None:
        """Append points whose steps never fall and start no lower than the last one."""
        new = len(points.step)
        if not new:
            return
        room = self._room()
        while self._used + -(-max(new - room, 0) // self.width) > self._capacity:
            self._halve()
            room = self._room()
        # The first of the new buckets completes the last of the old ones if that has room.
        starts = np.arange(room - self.width if room else 0, new, self.width)
        starts[0] = 0
        ints, floats = _reduce(points, starts)
        begin = self._used
        if room:
            begin -= 1
            self._join_last(ints[:, 0], floats[:, 0])
        end = begin + len(starts)
        self._reserve(end)
        self._ints[:, begin:end] = ints
        self._floats[:, begin:end] = floats
        self._used = end

    def _join_last(self, ints: Ints, floats: Floats) -> None:
        """Put what the last bucket holds before one column of a new table.

        The same as `_combine`, on plain numbers: this runs for every series of every batch.
        """
        old, new = self._ints[:, self._used - 1].tolist(), ints.tolist()
        old_float, new_float = self._floats[:, self._used - 1].tolist(), floats.tolist()
        a = old[COUNT] - old[NAN] - old[PLUS_INF] - old[MINUS_INF]
        b = new[COUNT] - new[NAN] - new[PLUS_INF] - new[MINUS_INF]
        ints[FIRST_STEP], ints[FIRST_RECORD] = old[FIRST_STEP], old[FIRST_RECORD]
        ints[COUNT], ints[NAN] = old[COUNT] + new[COUNT], old[NAN] + new[NAN]
        ints[PLUS_INF] += old[PLUS_INF]
        ints[MINUS_INF] += old[MINUS_INF]
        floats[FIRST_TIME] = old_float[FIRST_TIME]
        low, high = min(old_float[LOW], new_float[LOW]), max(old_float[HIGH], new_float[HIGH])
        floats[LOW], floats[HIGH] = low, high
        if a + b:
            mean = old_float[MEAN] * (a / (a + b)) + new_float[MEAN] * (b / (a + b))
            floats[MEAN] = min(max(mean, low), high)

    def _room(self) -> int:
        if not self._used:
            return 0
        return max(self.width - int(self._ints[COUNT, self._used - 1]), 0)

    def _reserve(self, buckets: int) -> None:
        have = self._ints.shape[1]
        if buckets > have:
            size = min(max(buckets, 2 * have), self._capacity)
            ints, floats = np.empty((8, size), np.int64), np.empty((6, size), np.float64)
            ints[:, : self._used] = self._ints[:, : self._used]
            floats[:, : self._used] = self._floats[:, : self._used]
            self._ints, self._floats = ints, floats

    def _halve(self) -> None:
        """Merge neighbours in pairs; an odd one out stays as it is."""
        self.width *= 2
        pairs = self._used // 2
        if not pairs:
            return
        even, odd = slice(0, 2 * pairs, 2), slice(1, 2 * pairs, 2)
        ints, floats = _combine(
            self._ints[:, even], self._floats[:, even], self._ints[:, odd], self._floats[:, odd]
        )
        if self._used % 2:
            self._ints[:, pairs] = self._ints[:, self._used - 1]
            self._floats[:, pairs] = self._floats[:, self._used - 1]
        self._ints[:, :pairs] = ints
        self._floats[:, :pairs] = floats
        self._used -= pairs


def live_points(points: Points, last_step: int | None) -> tuple[Points, list[Resume]]:
    """The points that no later one of the same batch replaces, and where the run was resumed.

    A lower step than the one before replaces everything at or beyond it, as TensorBoard does
    (`EventAccumulator._MaybePurgeOrphanedData`). `last_step` is the step before the batch, if any.
    """
    step = points.step
    fell = step[1:] < step[:-1]
    went_back = last_step is not None and len(step) > 0 and bool(step[0] < last_step)
    if not went_back and not fell.any():
        return points, []
    falls = np.flatnonzero(fell) + 1
    if went_back:
        falls = np.concatenate(([0], falls))
    # lowest[i]: the lowest step that the i-th fall or a later one starts at.
    lowest = np.minimum.accumulate(step[falls][::-1])[::-1]
    after = np.searchsorted(falls, np.arange(len(step)), side="right")
    limits = np.append(lowest, np.iinfo(np.int64).max)
    last = after == len(falls)
    keep = last | (step < limits[after])
    lasting = np.append(step[falls][:-1] < lowest[1:], True)
    resumes = [Resume(int(step[i]), float(points.time[i])) for i in falls[lasting]]
    return points.where(keep), resumes


def _reduce(points: Points, starts: NDArray[np.intp]) -> tuple[Ints, Floats]:
    """A bucket table with one bucket from each of `starts` to the next."""
    step, time, value, record = points
    ends = np.empty_like(starts)
    ends[:-1] = starts[1:]
    ends[-1] = len(step)
    count = ends - starts
    ends -= 1
    ints = np.zeros((8, len(starts)), np.int64)
    floats = np.empty((6, len(starts)), np.float64)
    ints[FIRST_STEP], ints[LAST_STEP] = step[starts], step[ends]
    ints[FIRST_RECORD], ints[LAST_RECORD] = record[starts], record[ends]
    ints[COUNT] = count
    floats[FIRST_TIME], floats[LAST_TIME] = time[starts], time[ends]
    floats[LAST] = value[ends]
    low = high = safe = value
    is_finite = np.isfinite(value)
    finite = count
    if not is_finite.all():
        low = np.where(is_finite, value, np.inf)
        high = np.where(is_finite, value, -np.inf)
        safe = np.where(is_finite, value, 0.0)
        for row, odd in ((NAN, np.isnan(value)), (PLUS_INF, value == np.inf)):
            ints[row] = np.add.reduceat(odd, starts, dtype=np.int64)
        finite = np.add.reduceat(is_finite, starts, dtype=np.int64)
        ints[MINUS_INF] = count - finite - ints[NAN] - ints[PLUS_INF]
    if len(starts) == len(step):
        floats[LOW], floats[HIGH], floats[MEAN] = low, high, safe
        return ints, floats
    np.minimum.reduceat(low, starts, out=floats[LOW])
    np.maximum.reduceat(high, starts, out=floats[HIGH])
    # Divided before they are added: a sum of values near 1e308 would overflow.
    share = np.repeat(1.0 / np.maximum(finite, 1), count)
    np.add.reduceat(safe * share, starts, out=floats[MEAN])
    _hold_mean(floats)
    return ints, floats


def _combine(
    ints: Ints, floats: Floats, later_ints: Ints, later_floats: Floats
) -> tuple[Ints, Floats]:
    """Each bucket of one table merged with the one in the same column of a later one."""
    a, b = _finite(ints), _finite(later_ints)
    both = np.maximum(a + b, 1)
    out = ints + later_ints
    out[[FIRST_STEP, FIRST_RECORD]] = ints[[FIRST_STEP, FIRST_RECORD]]
    out[[LAST_STEP, LAST_RECORD]] = later_ints[[LAST_STEP, LAST_RECORD]]
    table = later_floats.copy()
    table[FIRST_TIME] = floats[FIRST_TIME]
    np.minimum(floats[LOW], later_floats[LOW], out=table[LOW])
    np.maximum(floats[HIGH], later_floats[HIGH], out=table[HIGH])
    table[MEAN] = floats[MEAN] * (a / both) + later_floats[MEAN] * (b / both)
    _hold_mean(table)
    return out, table


def _hold_mean(floats: Floats) -> None:
    """Rounding must not put a mean outside its extremes; it is 0 where no value is finite."""
    mean = floats[MEAN]
    np.maximum(mean, floats[LOW], out=mean)
    np.minimum(mean, floats[HIGH], out=mean)
    mean[~np.isfinite(mean)] = 0.0


def _finite(ints: Ints) -> Ints:
    finite: Ints = ints[COUNT] - ints[NAN] - ints[PLUS_INF] - ints[MINUS_INF]
    return finite
