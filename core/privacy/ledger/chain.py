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
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from traindeck.core.base.files import locked, opened, reading, write_atomic
from traindeck.core.privacy.ledger.lines import (
    FIRST,
    VERSION,
    Entry,
    Head,
    Problem,
    Scan,
    chained,
    linked,
    object_of,
    scan_of,
    sealed,
    unlike,
)


class Chain:
    """One such file. Only what is in it matters here, not what it means."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.jsonl"
        self.head = folder / f"{name}.head.json"
        self._lock = folder / f"{name}.lock"

    @property
    def exists(self) -> bool:
        """A head without its file counts: the file has been taken away."""
        return os.path.lexists(self.path) or self.head.exists()

    @property
    def is_replaced(self) -> bool:
        """Whether a link, a pipe, a folder or the like is where the file belongs, or nothing."""
        try:
            return not stat.S_ISREG(self.path.lstat().st_mode)
        except OSError:
            return True

    def create(self, entries: Sequence[Entry], summary: dict[str, Any]) -> None:
        """Make the file with its first entries. Raises FileExistsError and other OSErrors."""
        with locked(self._lock):
            if self.exists:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(self.path))
            lines, last = chained(entries, 0, FIRST)
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
        if scan.problems and self.path.parent.is_dir():  # perhaps only a write that goes on
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
        except OSError:
            if not self.is_replaced:
                raise
            what = "something else than a regular file is in its place"
            return Scan([], 0, FIRST, problems=[Problem(0, what)])
        return scan_of(data, head)

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

    def _read_head(self) -> Head | None:
        """None when there is none or it is not whole."""
        try:
            with reading(self.head) as file:
                line = file.read().removesuffix(b"\n")
        except OSError:
            return None
        head = None if unlike(line) else object_of(line)
        if head is None or head.get("v") != VERSION:
            return None
        return Head(*(head[name] for name in ("count", "size", "last", "stamp", "summary")))

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
        write_atomic(self.head, sealed(head)[0])


class Writer:
    """Appends to a chain while it is locked, once it knows what is there (`summary` or `scan`)."""

    def __init__(self, chain: Chain, descriptor: int) -> None:
        self._chain = chain
        self._descriptor = descriptor
        self._head = chain._read_head()
        self._base: tuple[int, int, str] | None = None

    @property
    def end(self) -> tuple[int, str]:
        """How many lines there are, once that is known, and the hash of the last."""
        assert self._base is not None
        return self._base[0], self._base[2]

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
            fits = len(data) == head.size and linked(data.split(b"\n")[:-1]) == known
        else:
            fits = head.stamp == _stamp(os.fstat(self._descriptor))
        if not fits:
            return None
        self._base = (head.count, head.size, head.last)
        return head.summary

    def scan(self) -> Scan:
        """Read and verify all of the file. Raises OSError."""
        scan = scan_of(self._read(), self._head)
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
        lines, last = chained(entries, count, last)
        if os.fstat(descriptor).st_size > size:
            os.ftruncate(descriptor, size)
        try:
            if os.write(descriptor, lines) != len(lines):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._chain.path))
            os.fsync(descriptor)
            count += len(entries)
            self._chain._write_head(count, last, os.fstat(descriptor), summary)
        except BaseException as error:
            if isinstance(error, OSError) and error.filename is None:
                error.filename = str(self._chain.path)
            head = self._chain._read_head()
            if head is None or head.size <= size:  # else it counts them: they are there to stay
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, size)
                    os.fsync(descriptor)
            raise
        self._base = (count, size + len(lines), last)


def _stamp(status: os.stat_result) -> list[int]:
    return [status.st_size, status.st_mtime_ns, status.st_ino]
