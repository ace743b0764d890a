"""An append-only file whose lines hold on to each other: what was changed or taken away is noticed.

    <name>.jsonl      one JSON object a line
    <name>.head.json  one such line: how many there are, how long they are, the hash of the last
    <name>.lock       held by whoever writes, one at a time (flock)

A line ends with `prev`, the hash of the line before it, and `hash`, the SHA-256 of all of the line
that comes before `hash`, closed with `}`. A change anywhere breaks the chain from there on; lines
taken off the end are missed by the head. Nothing here is secret: whoever may write all three files
can make a false ledger, and this guards against accidents, not against them.

A write is acknowledged, by returning, when the lines and then the head that counts them are on the
disk. So what lies beyond the head was never acknowledged: whole lines there count (a crash between
the two), a torn one is cut off by the next writer. Everything else that does not fit is damage.

The head also keeps the file's size, time and inode and a summary of what the lines mean: while
these still fit, nobody but us has touched the file, and a writer need not read all of it again.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from traindeck.core.base.files import locked, opened, reading, write_atomic

VERSION = 1
FIRST = "0" * 64
"""What the first line gives as the hash of the line before it."""
ENVELOPE = frozenset({"v", "n", "t", "type", "prev", "hash"})
"""The fields of every entry; `n` counts from 0, `t` is unix seconds."""

Entry = dict[str, Any]

_HASH_FIELD = b',"hash":"'
_SEAL = len(_HASH_FIELD) + 64 + len(b'"}')
_TAIL = len(b',"prev":"') + 64 + len(b'"') + _SEAL


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in the file that should not be so.

    line      where, counted from 1; 0 is the file as a whole
    mendable  nothing acknowledged is concerned: the next writer mends it and says so in the file
    """

    line: int
    what: str
    mendable: bool = False

    def __str__(self) -> str:
        return f"line {self.line}: {self.what}" if self.line else self.what


@dataclass(frozen=True, slots=True)
class Scan:
    """A whole file, verified.

    size     bytes of its good lines; torn: bytes after them, of a write that was cut short
    last     the hash of the last good line
    summary  what the last writer found all these lines to mean; None when it did not get so far
    """

    entries: list[Entry]
    size: int
    last: str
    torn: int = 0
    problems: list[Problem] = field(default_factory=list)
    summary: dict[str, Any] | None = None

    @property
    def damage(self) -> Problem | None:
        """The first problem that cannot be mended."""
        return next((one for one in self.problems if not one.mendable), None)


@dataclass(frozen=True, slots=True)
class _Head:
    count: int
    size: int
    last: str
    stamp: list[int]
    summary: dict[str, Any]


class Chain:
    """One such file. Only what is in it matters here, not what it means."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.jsonl"
        self.head = folder / f"{name}.head.json"
        self._lock = folder / f"{name}.lock"

    @property
    def exists(self) -> bool:
        """A head without its file counts: the file has been taken away."""
        return self.path.exists() or self.head.exists()

    def create(self, entries: Sequence[Entry], summary: dict[str, Any]) -> None:
        """Make the file with its first entries. Raises FileExistsError and other OSErrors."""
        with locked(self._lock):
            if self.exists:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(self.path))
            lines, last = _chained(entries, 0, FIRST)
            write_atomic(self.path, lines)
            try:
                self._write_head(len(entries), last, self.path.stat(), summary)
            except BaseException:
                if not self.head.exists():
                    self.path.unlink()
                raise

    def scan(self) -> Scan:
        """Read and verify all of it, without waiting for who writes. Raises OSError."""
        scan = self.scanned()
        if scan.problems:  # perhaps only a write that goes on
            with locked(self._lock):
                scan = self.scanned()
        return scan

    def scanned(self) -> Scan:
        """Read and verify all of it, as it is at this moment. Raises OSError."""
        head = self._read_head()  # first: what is added meanwhile counts as not yet acknowledged
        try:
            with reading(self.path) as file:
                data = file.read()
        except FileNotFoundError:
            data = None
        return _scan(data, head)

    def summary(self) -> dict[str, Any] | None:
        """What the last writer found the lines to mean; None when somebody touched them since."""
        head = self._read_head()
        try:
            fits = head is not None and head.stamp == _stamp(self.path.stat())
        except OSError:
            return None
        return head.summary if head and fits else None

    @contextlib.contextmanager
    def writing(self) -> Iterator[Writer]:
        """Be the only one who writes. Raises OSError."""
        with locked(self._lock):
            descriptor = opened(self.path, os.O_RDWR | os.O_APPEND)
            try:
                yield Writer(self, descriptor)
            finally:
                os.close(descriptor)

    def _read_head(self) -> _Head | None:
        """None when there is none or it is not whole."""
        try:
            with reading(self.head) as file:
                line = file.read().removesuffix(b"\n")
        except OSError:
            return None
        head = None if _unlike(line) else _json(line)
        if head is None or head.get("v") != VERSION:
            return None
        return _Head(*(head[name] for name in ("count", "size", "last", "stamp", "summary")))

    def _write_head(
        self, count: int, last: str, status: os.stat_result, summary: dict[str, Any]
    ) -> None:
        head = {
            "v": VERSION,
            "count": count,
            "size": status.st_size,
            "last": last,
            "stamp": _stamp(status),
            "summary": summary,
        }
        write_atomic(self.head, _sealed(head)[0])


class Writer:
    """Appends to a chain while it is locked, once it knows what is there (`summary` or `scan`)."""

    def __init__(self, chain: Chain, descriptor: int) -> None:
        self._chain = chain
        self._descriptor = descriptor
        self._head = chain._read_head()
        self._base: tuple[int, int, str] | None = None

    def summary(self, *, verified: bool) -> dict[str, Any] | None:
        """What the last writer found the lines to mean; None when they must be read anew.

        verified  check each line; else it is enough that nobody has touched the file since
        """
        head = self._head
        if head is None:
            return None
        if verified:
            data = self._read()
            known = (head.count, head.last)
            fits = len(data) == head.size and _linked(data.split(b"\n")[:-1]) == known
        else:
            fits = head.stamp == _stamp(os.fstat(self._descriptor))
        if not fits:
            return None
        self._base = (head.count, head.size, head.last)
        return head.summary

    def scan(self) -> Scan:
        """Read and verify all of the file. Raises OSError."""
        scan = _scan(self._read(), self._head)
        self._base = None if scan.damage else (len(scan.entries), scan.size, scan.last)
        return scan

    def _read(self) -> bytes:
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            file.seek(0)
            return file.read()

    def append(self, entries: Sequence[Entry], summary: dict[str, Any]) -> None:
        """Add entries, in one write; when this returns they are on the disk.

        entries  each with `t`, `type` and the type's own fields
        summary  what all lines, these included, mean

        A torn end is cut off before. Raises OSError: nothing was added then, or, if not even that
        could be undone, more than was acknowledged.
        """
        if self._base is None:
            raise RuntimeError("a file is read, and found whole, before anything is appended")
        count, size, last = self._base
        descriptor = self._descriptor
        lines, last = _chained(entries, count, last)
        if os.fstat(descriptor).st_size > size:
            os.ftruncate(descriptor, size)
        try:
            if os.write(descriptor, lines) != len(lines):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._chain.path))
            os.fsync(descriptor)
            count += len(entries)
            self._chain._write_head(count, last, os.fstat(descriptor), summary)
        except BaseException:
            head = self._chain._read_head()
            if head is None or head.size <= size:  # else it counts them: they are there to stay
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, size)
                    os.fsync(descriptor)
            raise
        self._base = (count, size + len(lines), last)


def _chained(entries: Iterable[Entry], count: int, last: str) -> tuple[bytes, str]:
    """The lines of entries that follow so many others, the last of that hash; and their last."""
    lines = []
    for number, entry in enumerate(entries, count):
        line, last = _sealed({"v": VERSION, "n": number, **entry, "prev": last})
        lines.append(line)
    return b"".join(lines), last


def _sealed(fields: dict[str, Any]) -> tuple[bytes, str]:
    """A line, and its hash."""
    body = json.dumps(fields, separators=(",", ":"), allow_nan=False).encode()
    digest = sha256(body).hexdigest()
    return body[:-1] + _HASH_FIELD + digest.encode() + b'"}\n', digest


def _scan(data: bytes | None, head: _Head | None) -> Scan:
    if data is None:
        knows = f": its head counts {head.count} entries" if head else ""
        return Scan([], 0, FIRST, problems=[Problem(0, f"the file is gone{knows}")])
    lines = data.split(b"\n")
    entries = _held(lines[:-1])
    count, last = len(entries), entries[-1]["hash"] if entries else FIRST
    size = sum(map(len, lines[:count])) + count
    torn, problems = 0, []
    if size < len(data):
        unfinished = count == len(lines) - 1
        never_whole = unfinished or (head is not None and _unlike(lines[count]) != "")
        if never_whole and size >= (head.size if head else 0):
            torn = len(data) - size
            what = f"{torn} bytes of a write that was cut short and never acknowledged"
            problems.append(Problem(count + 1, what, mendable=True))
        else:
            problems.append(Problem(count + 1, _why(lines[count], count, last)))
            problems.extend(_broken(lines[count + 1 :], count + 2))
    if head and all(one.mendable for one in problems):
        if count < head.count:
            what = f"{head.count - count} of {head.count} entries are missing at the end"
            problems.append(Problem(count + 1, what))
        elif head.count and entries[head.count - 1]["hash"] != head.last:
            problems.append(Problem(head.count, "it is not the line that the head knows"))
    if head is None and count > 1:
        what = "the head is missing or damaged: lines taken off the end would not be missed"
        problems.append(Problem(0, what, mendable=True))
    current = head is not None and head.count == count
    return Scan(entries, size, last, torn, problems, head.summary if head and current else None)


def _linked(lines: Sequence[bytes]) -> tuple[int, str]:
    """How many lines, from the first on, are as they were written and each after the one before.

    And the hash of the last of them.
    """
    last, count = FIRST.encode(), 0
    for line in lines:
        digest = sha256(line[:-_SEAL] + b"}").hexdigest().encode()
        if line[-_TAIL:] != b',"prev":"%b","hash":"%b"}' % (last, digest):
            break
        last = digest
        count += 1
    return count, last.decode()


def _held(lines: Sequence[bytes]) -> list[Entry]:
    """The entries of the lines, up to the first that is not as it was written, or not in place."""
    linked = lines[: _linked(lines)[0]]
    try:
        entries: list[Entry] = json.loads(b"[%b]" % b",".join(linked))
    except ValueError:  # a line that was made by somebody else, and is no JSON
        known = itertools.takewhile(lambda entry: entry is not None, map(_json, linked))
        entries = [entry for entry in known if entry]
    for number, entry in enumerate(entries):
        if type(entry) is not dict or _misplaced(entry, number):
            return entries[:number]
    return entries


def _json(line: bytes) -> Entry | None:
    """The object that a line is; None when it is something else."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if type(entry) is dict else None


def _misplaced(entry: Entry, number: int) -> str:
    """Why a line, whole and as it was written, cannot be that entry; else nothing."""
    n, t = entry.get("n"), entry.get("t")
    if entry.get("v") != VERSION:
        return f"version {entry.get('v')!r} is not one that can be read"
    if type(n) is not int or n < number:
        return f"it is entry {n!r} and stands where entry {number} belongs"
    if n > number:
        return f"{n - number} of the entries before it are missing"
    if not isinstance(t, float) or not 0 <= t < math.inf:
        return f"t {t!r} is not a time"
    return ""


def _why(line: bytes, number: int, last: str) -> str:
    """What is wrong with a line that should be that entry and follow the one of that hash."""
    if wrong := _unlike(line):
        return wrong
    entry = _json(line)
    if entry is None:
        return "it is not one JSON object"
    if wrong := _misplaced(entry, number):
        return wrong
    if entry.get("prev") != last:
        return "the line before it is not the one that it was written after"
    return "its end is missing"


def _unlike(line: bytes) -> str:
    """How a line differs from how it was written, by its own hash; else nothing."""
    hash_at = len(line) - _SEAL
    digest = sha256(line[:hash_at] + b"}").hexdigest().encode()
    if hash_at < 0 or line[hash_at:] != b'%b%b"}' % (_HASH_FIELD, digest):
        whole = line[hash_at:].startswith(_HASH_FIELD) and line.endswith(b'"}')
        return "it was changed" if whole else "it is not a whole line"
    return ""


def _broken(lines: Sequence[bytes], number: int) -> Iterator[Problem]:
    """Further lines, after a first damaged one, that are themselves not as they were written."""
    for line_number, line in enumerate(lines, number):
        if line and (wrong := _unlike(line)):
            yield Problem(line_number, wrong)


def _stamp(status: os.stat_result) -> list[int]:
    return [status.st_size, status.st_mtime_ns, status.st_ino]
