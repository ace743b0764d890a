"""Which rounds an owner has answered, in a file that outlives its process."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path


class Answered:
    """The (run, round) pairs that were answered: a JSON line each, appended and synced, 0600.

    A torn last line is of an answer that never left, and is dropped. Raises ValueError for a file
    that holds anything else: to start over would be to answer rounds again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        try:
            os.fchmod(self._file, 0o600)
            with open(self._file, "rb", closefd=False) as file:
                kept, newline, _ = file.read().rpartition(b"\n")
            self._size = len(kept) + len(newline)
            os.ftruncate(self._file, self._size)
            self._seen = {self._pair(line) for line in kept.splitlines()}
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except BaseException:
            os.close(self._file)
            self._file = -1
            raise

    def __del__(self) -> None:
        if getattr(self, "_file", -1) >= 0:
            os.close(self._file)

    def add(self, run: str, number: int) -> bool:
        """Write a round down, on disk when this returns; False if it was there already.

        After an OSError the round counts as answered for as long as this object lives.
        """
        if (run, number) in self._seen:
            return False
        self._seen.add((run, number))
        line = json.dumps([run, number]).encode() + b"\n"
        try:
            if os.write(self._file, line) != len(line):
                raise OSError(f"{self._path}: the disk took half a line")
            os.fsync(self._file)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise
        self._size += len(line)
        return True

    def _pair(self, line: bytes) -> tuple[str, int]:
        try:
            run, number = json.loads(line)
        except (ValueError, TypeError):
            run = number = None
        if not isinstance(run, str) or type(number) is not int:
            raise ValueError(f"{self._path} is damaged: {line[:40]!r} is no answered round")
        return run, number
