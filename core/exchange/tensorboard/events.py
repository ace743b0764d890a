"""Read TensorBoard event files while they are being written, without TensorBoard or TensorFlow.

An event file is a TFRecord file (`records`) of ``Event`` messages (`scalars`). Scalars are
taken whichever way they were written: as ``simple_value`` (TensorFlow 1, torch's and tensorboardX's
``SummaryWriter``) or as a tensor of the ``scalars`` plugin (``tf.summary.scalar``, Keras, JAX).
Images, histograms and texts are handed on as they stand (`summaries` reads them), where somebody
takes them; graphs and the like are passed over.

A checksum is verified before a record is believed, so a damaged file yields no wrong point. A
record whose end is not there yet is left for the next read.

Standard library only: this runs in the small process beside each run.
"""

from __future__ import annotations

import os
import stat
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

from traindeck.core.base.sanitize import printable
from traindeck.core.exchange.tensorboard.records import Framing, Records, first_damaged
from traindeck.core.exchange.tensorboard.scalars import (
    MAX_SERIES,
    Malformed,
    Point,
    Rest,
    Scalars,
)
from traindeck.core.run.state import boottime

READ_BYTES = 1 << 18
MAX_RECORD = 8 << 20  # bytes: longer ones hold images or graphs and are skipped unread
MAX_DEPTH = 8  # folders below the watched one
MAX_FOLDERS = 5000
MAX_FILES = 500

_HEAD = 64  # bytes at the start that tell one file from another: they hold its first wall time
_LOOK_SECONDS = 0.02  # of looking through folders in one read
_LOOK_EVERY = 1.0  # seconds; longer where looking would take more than
_LOOK_SHARE = 0.02  # of the time
_ENTRIES_AT_ONCE = 200
_FRESH_SECONDS = 2.0  # a folder's time of change may be this coarse
_SKIPPED = frozenset({"node_modules", "site-packages", "__pycache__"})
_PARTS = frozenset(
    {"train", "training", "val", "valid", "validation", "test", "eval", "evaluation"}
)


class EventFile:
    """One event file that may still grow; its series get ``prefix`` before their tags."""

    def __init__(self, path: Path, prefix: str = "", rest: list[Rest] | None = None) -> None:
        self.path = path
        self._rest = rest
        self.problem: str | None = None
        """What is wrong with the file and where; None while all is well."""
        self.behind = False
        """Whether the last read left whole records for the next one."""
        self.offset = 0
        """Bytes read so far."""
        self._prefix = prefix
        self._seen: tuple[int, int, int] | None = None
        self._start_over()

    def read(self, max_bytes: int = READ_BYTES) -> list[Point]:
        """The points of the records that have been completed since, in the file's order.

        Looks at ``max_bytes``, or at one record if that is longer. A file that was replaced or cut
        short is read again from its start. After a damaged record nothing more is read, and
        ``problem`` says so. Never raises for what the file holds.
        """
        try:
            info = os.stat(self.path)
            seen = (info.st_size, info.st_mtime_ns, info.st_ino)
            if seen == self._seen and not self.behind:
                return []
            # Without O_NONBLOCK a named pipe in the file's place would hold us up for ever.
            file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            self.behind = False
            return []
        except OSError as error:
            self.problem, self.behind = f"{self.path}: cannot be read: {error.strerror}", False
            return []
        try:
            points = self._read(file, max_bytes)
        except OSError as error:
            self.problem, self.behind = f"{self.path}: cannot be read: {error.strerror}", False
            return []
        finally:
            os.close(file)
        self._seen = seen
        return points

    def _start_over(self) -> None:
        self.offset = 0
        self.problem = None
        self._stopped = False
        self._head = b""
        self._scalars = Scalars(self._prefix)
        self._scalars.rest = self._rest
        self._framing = Framing()

    def _read(self, file: int, max_bytes: int) -> list[Point]:
        size = os.fstat(file).st_size
        head = os.pread(file, _HEAD, 0)
        if size < self.offset or not head.startswith(self._head):
            self._start_over()
        self._head = head
        self.behind = False
        if self._stopped:
            return []
        self.problem = None  # it can be read now
        while True:
            data = os.pread(file, max_bytes, self.offset)
            records = self._framing.split(data)
            if records.spans or records.fault is not None:
                break
            if self.offset + records.needed > size or len(data) < min(max_bytes, records.needed):
                break  # the rest is not there yet
            if records.needed > MAX_RECORD:
                self.offset += records.needed
            else:
                max_bytes = records.needed
        points = self._believe(data, records)
        self.behind = not self._stopped and self.offset + records.needed <= size
        return points

    def _believe(self, data: bytes, records: Records) -> list[Point]:
        """The points of the records before the first damaged one."""
        damaged = first_damaged(data, records.spans)
        good = records.spans if damaged is None else records.spans[:damaged]
        points: list[Point] = []
        reason = "its checksum does not match"
        fault = records.fault
        if damaged is not None:
            fault = records.spans[damaged][0] - 12
        try:
            self._scalars.take(data, good, points)
        except Malformed as error:
            fault, reason = error.at - 12, "it does not hold a TensorBoard event"
        if self._scalars.full:
            self.problem = f"{self.path}: more than {MAX_SERIES} series; others are not read"
        if fault is not None:
            self._stopped = True
            self.problem = (
                f"{self.path}: the record at byte {self.offset + fault} is damaged ({reason}); "
                "the rest of this file is not read"
            )
            self.offset += fault
        elif good:
            self.offset += good[-1][1] + 4
        return points


class _Listing(NamedTuple):
    changed: int  # the folder's time of change, ns
    folders: list[str]
    files: list[str]  # only those named like event files
    tables: list[str]  # only those named like CSV files


class EventTree:
    """The event files at any depth below a folder, as one set of series.

    Files last written before ``since`` (unix seconds) are of earlier runs and left alone until
    they change, and so is a file for as long as ``accept`` says no (several runs may share a
    folder: `writer_pid`). When the clock is set back, ``since`` goes with it.

    A series is named by its tag. Which folder's series have no prefix is settled by the first
    folder found to hold a file: that folder; or the one above it if it is named like a part of a
    run (train, validation, test …), so that Keras gives train/epoch_loss and
    validation/epoch_loss. Another folder's series are prefixed with its path from there. No name
    depends on what is found later.

    Looks into at most MAX_FOLDERS folders, nearest first, MAX_DEPTH deep; not into hidden ones,
    nor twice into one that links lead to again. Of folders that have not changed it asks the time
    of change only, and a slow tree is looked through a little with every read.
    """

    def __init__(
        self,
        folder: Path,
        since: float = 0.0,
        accept: Callable[[Path], bool] = lambda _: True,
        rest: list[Rest] | None = None,
    ) -> None:
        self.rest = rest
        """Where what is no scalar goes, for whoever takes it out; None: nowhere."""
        self.problems: list[str] = []
        """What went wrong, each thing once, for the reader to take out."""
        self.behind = False
        """Whether the last read left something for the next one to read at once."""
        self.tables: dict[str, int] = {}
        """The CSV files that were written to since, and how long each was before."""
        self._folder = os.path.abspath(folder)
        self._since = since
        self._clock_ahead = time.time() - boottime()
        self._old: dict[str, tuple[int, int, int]] = {}
        self._accept = accept
        self._files: dict[str, EventFile] = {}
        self._real: set[str] = set()
        self._turn = 0
        self._root: str | None = None
        self._prefixes: dict[str, str] = {}
        self._listings: dict[str, _Listing] = {}
        self._look: Iterator[None] | None = None
        self._look_cost = 0.0
        self._next_look = 0.0
        self._seen_problems: set[str] = set()

    def read(self, max_bytes: int = 4 * READ_BYTES) -> list[Point]:
        """New points of all files, looking at about ``max_bytes``; never raises for their contents.

        Empty does not mean that nothing is left: ask ``behind``.
        """
        return [point for _, points in self.read_files(max_bytes) for point in points]

    def read_files(self, max_bytes: int = 4 * READ_BYTES) -> list[tuple[Path, list[Point]]]:
        """The same, file by file."""
        self._look_a_little()
        found: list[tuple[Path, list[Point]]] = []
        files = list(self._files.values())
        for _ in files:
            if max_bytes <= 0:
                self.behind = True
                return found
            file = files[self._turn % len(files)]
            before = file.offset
            points = file.read(min(max_bytes, READ_BYTES))
            if points:
                found.append((file.path, points))
            max_bytes -= max(0, file.offset - before)
            if file.problem:
                self._tell(file.problem)
            self._turn = (self._turn + 1) % len(files)
        self.behind = any(file.behind for file in files)
        return found

    def look(self) -> None:
        """Look for new files at once and to the end: before the last read of an ended run."""
        self._look = None
        for _ in self._looking():
            pass

    def _look_a_little(self) -> None:
        started = time.monotonic()
        if self._look is None:
            if started < self._next_look:
                return
            self._look, self._look_cost = self._looking(), 0.0
        unfinished = object()
        while time.monotonic() < started + _LOOK_SECONDS:
            if next(self._look, unfinished) is unfinished:
                self._look = None
                break
        ended = time.monotonic()
        self._look_cost += ended - started
        self._next_look = ended + max(_LOOK_EVERY, self._look_cost / _LOOK_SHARE)

    def _looking(self) -> Iterator[None]:
        listings: dict[str, _Listing] = {}
        visited: set[tuple[int, int]] = set()
        folders = deque([(self._folder, 0)])
        while folders:
            if len(visited) >= MAX_FOLDERS:
                self._tell(
                    f"{self._folder}: more than {MAX_FOLDERS} folders; TensorBoard files are "
                    "looked for in the nearest ones only"
                )
                break
            path, depth = folders.popleft()
            try:
                info = os.stat(path)
                if (info.st_dev, info.st_ino) in visited:
                    continue
                visited.add((info.st_dev, info.st_ino))
                listing = self._listings.get(path)
                if listing is None or listing.changed != info.st_mtime_ns:
                    listing = yield from _list(path, info.st_mtime_ns)
            except OSError:
                continue  # gone, or not ours to see
            if time.time() - info.st_mtime > _FRESH_SECONDS:
                listings[path] = listing
            for name in listing.files:
                self._consider(path, name)
            for name in listing.tables:
                self._consider_table(path, name)
            if depth < MAX_DEPTH:
                folders += [(os.path.join(path, name), depth + 1) for name in listing.folders]
            yield
        self._listings = listings

    def _consider(self, folder: str, name: str) -> None:
        path = os.path.join(folder, name)
        if path in self._files:
            return
        try:
            info = os.stat(path)
        except OSError:
            return
        if not stat.S_ISREG(info.st_mode) or self._is_old(path, info):
            return
        real = os.path.realpath(path)  # a link such as `latest` leads to files we have
        if real in self._real or not self._accept(Path(path)):
            return
        if len(self._files) >= MAX_FILES:
            self._tell(
                f"{self._folder}: more than {MAX_FILES} TensorBoard files; others are not read"
            )
            return
        self._real.add(real)
        self._files[path] = EventFile(Path(path), self._prefix(folder), self.rest)

    def _consider_table(self, folder: str, name: str) -> None:
        path = os.path.join(folder, name)
        if path in self.tables or len(self.tables) >= MAX_FILES:
            return
        try:
            info = os.stat(path)
        except OSError:
            return
        before = self._old.get(path)
        if stat.S_ISREG(info.st_mode) and not self._is_old(path, info):
            self.tables[path] = before[2] if before else 0

    def _is_old(self, path: str, info: os.stat_result) -> bool:
        seen = (info.st_ino, info.st_mtime_ns, info.st_size)
        if path in self._old:
            return self._old[path] == seen
        set_back = max(0.0, self._clock_ahead - (time.time() - boottime()))
        if info.st_mtime >= self._since - set_back:
            return False
        self._old[path] = seen
        return True

    def _prefix(self, folder: str) -> str:
        """What the series of a folder's files start with; settled once."""
        if folder in self._prefixes:
            return self._prefixes[folder]
        if self._root is None:
            is_part = os.path.basename(folder).lower() in _PARTS and folder != self._folder
            self._root = os.path.dirname(folder) if is_part else folder
        prefix = ""
        if folder != self._root:
            steps = os.path.relpath(folder, self._root).split(os.sep)
            near = "/".join(step for step in steps if step != os.pardir)
            whole = os.path.relpath(folder, self._folder).replace(os.sep, "/")
            if whole == os.curdir:
                whole = os.path.basename(folder)
            names = chain([near, whole], (f"{whole}~{n}" for n in count(2)))
            taken = self._prefixes.values()
            prefix = next(p for n in names if n and (p := f"{printable(n)}/") not in taken)
        self._prefixes[folder] = prefix
        return prefix

    def _tell(self, problem: str) -> None:
        if problem not in self._seen_problems:
            self._seen_problems.add(problem)
            self.problems.append(problem)


def _list(path: str, changed: int) -> Generator[None, None, _Listing]:
    """What is in a folder, sorted; pauses now and then, for it may hold a million pictures."""
    folders: list[str] = []
    files: list[str] = []
    tables: list[str] = []
    with os.scandir(path) as entries:
        for number, entry in enumerate(entries, 1):
            if number % _ENTRIES_AT_ONCE == 0:
                yield
            if _is_folder(entry):
                if not entry.name.startswith(".") and entry.name not in _SKIPPED:
                    folders.append(entry.name)
            elif "tfevents" in entry.name:
                files.append(entry.name)
            elif entry.name.endswith(".csv"):
                tables.append(entry.name)
    return _Listing(changed, sorted(folders), sorted(files), sorted(tables))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
