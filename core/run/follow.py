"""Reading files that grow: whole records or lines only, each read within a budget."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from traindeck.core.base.files import opened
from traindeck.core.run.points import RECORD, read_names

MAX_LINE = 1 << 20


@dataclass(frozen=True, slots=True)
class Batch:
    """Whole 28-byte records in order; `restarted` means that what came before is void."""

    data: bytes
    restarted: bool = False


class Tail:
    """The bytes added to a file since the last read; starts over when the file shrank."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offset = 0
        self._inode = 0

    def read(self, max_bytes: int) -> tuple[bytes, bool]:
        """At most `max_bytes` new bytes, and whether the file started over. Raises nothing."""
        try:
            descriptor = opened(self.path)
        except OSError:
            return b"", False
        try:
            status = os.fstat(descriptor)
            restarted = self.offset > 0 and (
                status.st_size < self.offset or status.st_ino != self._inode
            )
            if restarted:
                self.offset = 0
            self._inode = status.st_ino
            data = os.pread(descriptor, max_bytes, self.offset)
        except OSError:
            return b"", False
        finally:
            os.close(descriptor)
        self.offset += len(data)
        return data, restarted

    def unread(self, count: int) -> None:
        """Give the last `count` bytes back: they are not whole yet."""
        self.offset -= count


class PointTail:
    """Follows `points.bin` (or `device.bin`) and its names."""

    def __init__(self, folder: Path, stem: str = "points") -> None:
        self._folder = folder
        self._stem = stem
        self._tail = Tail(folder / f"{stem}.bin")
        self.names: list[str] = []

    def read(self, max_bytes: int = 4 << 20) -> Batch:
        """The whole records added since the last read; `names` then covers them."""
        budget = max(max_bytes // RECORD.size, 1) * RECORD.size
        data, restarted = self._tail.read(budget)
        torn = len(data) % RECORD.size
        if torn:
            self._tail.unread(torn)
            data = data[:-torn]
        if data or restarted:
            self.names = read_names(self._folder, self._stem)
        return Batch(data, restarted)


class LineTail:
    """Follows a text file by whole lines; one over 1 MiB comes in pieces of that size."""

    def __init__(self, path: Path) -> None:
        self._tail = Tail(path)

    def read(self, max_bytes: int = MAX_LINE) -> list[bytes]:
        """The whole lines added since the last read, without their line ends."""
        data, _ = self._tail.read(max_bytes)
        *lines, torn = data.split(b"\n")
        if len(torn) >= min(max_bytes, MAX_LINE):
            lines.append(torn)
        else:
            self._tail.unread(len(torn))
        return lines
