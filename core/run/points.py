"""points.bin: the scalar samples of a run.

Append-only 28-byte little-endian records `<dqId`: unix time (f8, seconds), step (i8), series (u4),
value (f8). `points.names` holds one series name a line; line k names series k and is written before
the first record that uses it. `device.bin` and `device.names` have the same format.

Readers take whole records only: a torn tail is not yet written. In one series, a record with a
lower step than an earlier one replaces everything at or beyond that step: the run was resumed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import math
import os
import struct
import threading
import time
from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NotRequired, TypedDict

from traindeck.core.base.files import opened, reading
from traindeck.core.run.series import LINES, clean_name
from traindeck.core.run.series import PROGRESS as PROGRESS

RECORD = struct.Struct("<dqId")
MAX_UNWRITTEN = 8 << 20


class Summary(TypedDict):
    """One series in short. A value that is not finite is None; `nonfinite` counts those.

    `min_step`, `max_step`: where these values first stood; earlier versions recorded none.
    """

    last: float | None
    min: float | None
    max: float | None
    min_step: NotRequired[int | None]
    max_step: NotRequired[int | None]
    step: int
    count: int
    nonfinite: int


class PointWriter:
    """Buffers records and appends them; safe to use from several threads and processes.

    `add` only packs; `flush` writes. While the disk is full the records wait in memory (at most
    8 MiB, then new ones are dropped) and the next flush tries again. Whoever writes holds the
    names' flock and leaves whole records and names only, so that no writer's records ever shift.
    """

    def __init__(self, folder: Path, stem: str = "points") -> None:
        self._names_path = folder / f"{stem}.names"
        self._file = opened(folder / f"{stem}.bin", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._series: dict[str, int] = {}
        self._names_read = 0  # bytes
        self._names_count = 0
        self._buffer = bytearray()
        self._unwritten = bytearray()
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._closed = False
        with self._names_locked() as names:
            self._load_names(names)
            self._cut_torn()
        os.register_at_fork(after_in_child=self._forget)

    def add(self, step: int, values: Mapping[str, float], when: float | None = None) -> bool:
        """Queue one record a value; True when the buffer was empty before.

        `when` is the unix time of the values, by default now. Raises OSError when the name of a
        new series cannot be written.
        """
        now = time.time() if when is None else when
        pack = RECORD.pack
        series = self._series
        with self._lock:
            buffer = self._buffer
            was_empty = not buffer
            if len(buffer) + len(self._unwritten) > MAX_UNWRITTEN:
                return False
            for name, value in values.items():
                number = series.get(name)
                if number is None:
                    number = self._register(name)
                buffer += pack(now, step, number, value)
        return was_empty

    def add_all(self, points: Iterable[tuple[float, int, str, float]]) -> None:
        """Queue many (unix time, step, name, value). Raises OSError as `add` does."""
        pack = RECORD.pack
        series = self._series
        packed: list[bytes] = []
        with self._lock:
            room = MAX_UNWRITTEN - len(self._buffer) - len(self._unwritten)
            try:
                for when, step, name, value in points:
                    number = series[name] if name in series else self._register(name)
                    packed.append(pack(when, step, number, value))
            finally:
                self._buffer += b"".join(packed[: max(room // RECORD.size + 1, 0)])

    def flush(self) -> None:
        """Append what is queued. Raises OSError; what was not written stays queued.

        `add` never waits for the disk: only taking the queue over is done under its lock. Of a
        short write (a disk that fills up) the torn record is cut off and written again later.
        """
        with self._writing:
            with self._lock:
                self._unwritten += self._buffer
                self._buffer.clear()
            if self._closed or not self._unwritten:
                return
            with self._names_locked():
                self._cut_torn()
                while self._unwritten:
                    written = os.write(self._file, self._unwritten)
                    whole = written - written % RECORD.size
                    del self._unwritten[:whole]
                    if whole < written:
                        self._cut_torn()
                    if not whole:
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def close(self) -> None:
        """Append what is queued, for the last time. Raises OSError."""
        try:
            self.flush()
        finally:
            with self._writing:  # whoever flushes later must not write to a file of that number
                self._closed = True
                os.close(self._file)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._buffer = bytearray()
        self._unwritten = bytearray()

    def _register(self, name: str) -> int:
        with self._names_locked() as names:
            self._load_names(names)
            if name not in self._series:
                stored = name if name == PROGRESS else clean_name(name)
                if stored not in self._series:
                    line = f"{LINES.get(stored, stored)}\n"
                    self._append_name(names, line.encode("utf-8", "replace"))
                    self._load_names(names)
                self._series[name] = self._series[stored]
        return self._series[name]

    def _append_name(self, names: int, line: bytes) -> None:
        """Add a line behind the last whole one, or nothing at all. Raises OSError."""
        if os.fstat(names).st_size > self._names_read:
            os.ftruncate(names, self._names_read)
        if os.write(names, line) < len(line):
            os.ftruncate(names, self._names_read)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _load_names(self, names: int) -> None:
        """Take in the names that were added since, by whomever."""
        size = os.fstat(names).st_size
        if size < self._names_read:
            self._names_read = self._names_count = 0
            self._series.clear()
        data = os.pread(names, size - self._names_read, self._names_read)
        data = data[: data.rfind(b"\n") + 1]
        self._names_read += len(data)
        for line in data.decode("utf-8", "replace").split("\n")[:-1]:
            self._series.setdefault(LINES.get(line, line), self._names_count)
            self._names_count += 1

    def _cut_torn(self) -> None:
        """Cut off what is left of a record that was not written whole."""
        size = os.fstat(self._file).st_size
        if size % RECORD.size:
            os.ftruncate(self._file, size - size % RECORD.size)

    def _names_locked(self) -> _LockedFile:
        return _LockedFile(self._names_path)


class _LockedFile:
    """A file opened for appending and held by an exclusive flock."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> int:
        self._file = opened(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        return self._file

    def __exit__(self, *_: object) -> None:
        os.close(self._file)


def read_names(folder: Path, stem: str = "points") -> list[str]:
    """The series' names so far, by number; a torn last line is not yet written."""
    try:
        with reading(folder / f"{stem}.names") as file:
            data = file.read()
    except OSError:
        return []
    return [LINES.get(line, line) for line in data.decode("utf-8", "replace").split("\n")[:-1]]


def summarize(folder: Path, stem: str = "points") -> dict[str, Summary]:
    """Every series' summary, from all its points: about 0.4 s a million."""
    return Summarizer(folder, stem).update()


class Summarizer:
    """Keeps the summaries of a run that goes on; each update reads only what is new."""

    def __init__(self, folder: Path, stem: str = "points") -> None:
        self._folder = folder
        self._stem = stem
        self._offset = 0
        self._series: dict[int, _Series] = {}

    def update(self) -> dict[str, Summary]:
        """Take in what was added since; returns each series' summary by its name."""
        path = self._folder / f"{self._stem}.bin"
        try:
            with reading(path) as file:
                if os.fstat(file.fileno()).st_size < self._offset:
                    self._offset, self._series = 0, {}
                file.seek(self._offset)
                self._offset += _scan(file, self._series)
        except OSError:
            return {}
        names = read_names(self._folder, self._stem)
        return {
            names[number]: self._series[number].summary()
            for number in sorted(self._series)
            if number < len(names) and names[number] != PROGRESS
        }


def read_points(folder: Path, wanted: Collection[str]) -> dict[str, list[tuple[float, int, float]]]:
    """Every point of the wanted series as they now stand: (unix time, step, value)."""
    names = read_names(folder)
    points: dict[int, list[tuple[float, int, float]]] = {
        number: [] for number, name in enumerate(names) if name in wanted
    }
    with contextlib.suppress(OSError), reading(folder / "points.bin") as file:
        _collect(file, points)
    return {names[number]: series for number, series in points.items()}


class _Series:
    """One series' summary. Its points are kept too (16 bytes each), for when a run is resumed."""

    __slots__ = (
        *("_bounds_known", "_steps", "_values"),
        *("max", "max_step", "min", "min_step", "nonfinite", "step"),
    )

    def __init__(self) -> None:
        self._steps = array("q")
        self._values = array("d")
        self.step = -(1 << 63)
        self.min = math.inf
        self.max = -math.inf
        self.min_step = self.max_step = 0
        self.nonfinite = 0
        self._bounds_known = True

    def add(self, step: int, value: float) -> None:
        if step < self.step:
            self._rewind(step)
        self.step = step
        self._steps.append(step)
        self._values.append(value)
        self._take(step, value)

    def summary(self) -> Summary:
        if not self._bounds_known:
            self.min, self.max, self.nonfinite = math.inf, -math.inf, 0
            for step, value in zip(self._steps, self._values, strict=True):
                self._take(step, value)
            self._bounds_known = True
        last = self._values[-1]
        finite = len(self._values) > self.nonfinite
        return Summary(
            last=last if math.isfinite(last) else None,
            min=self.min if finite else None,
            max=self.max if finite else None,
            min_step=self.min_step if finite else None,
            max_step=self.max_step if finite else None,
            step=self.step,
            count=len(self._values),
            nonfinite=self.nonfinite,
        )

    def _take(self, step: int, value: float) -> None:
        if value - value != 0.0:
            self.nonfinite += 1
        else:
            if value < self.min:
                self.min, self.min_step = value, step
            if value > self.max:
                self.max, self.max_step = value, step

    def _rewind(self, step: int) -> None:
        """Drop what lies at or beyond a step.

        The rest is looked at anew only if that may matter, and only once a summary is asked for:
        two processes that log one series rewind it at every point.
        """
        kept = bisect_left(self._steps, step)
        if self._bounds_known:
            self._bounds_known = all(self.min < value < self.max for value in self._values[kept:])
        del self._steps[kept:], self._values[kept:]


def blocks(file: BinaryIO, limit: int) -> Iterator[memoryview]:
    """Whole records, at most `limit` bytes of them, in blocks."""
    while limit > 0 and (block := file.read(min(limit, RECORD.size * 32768))):
        whole = len(block) - len(block) % RECORD.size
        limit -= len(block)
        yield memoryview(block)[:whole]


def _scan(file: BinaryIO, series: dict[int, _Series]) -> int:
    """Add all records from here on to their series; returns how many bytes they had."""
    taken = 0
    for block in blocks(file, 1 << 62):
        for _, step, number, value in RECORD.iter_unpack(block):
            line = series.get(number)
            if line is None:
                line = series[number] = _Series()
            line.add(step, value)
        taken += len(block)
    return taken


def _collect(
    file: BinaryIO, points: dict[int, list[tuple[float, int, float]]], limit: int = 1 << 62
) -> None:
    """Collect some series' points as they now stand: a lower step replaces what lay beyond it."""
    for block in blocks(file, limit):
        for when, step, number, value in RECORD.iter_unpack(block):
            kept = points.get(number)
            if kept is None:
                continue
            if kept and step < kept[-1][1]:
                while kept and kept[-1][1] >= step:
                    kept.pop()
            kept.append((when, step, value))
