"""The log in which W&B keeps a run (`run-ID.wandb`): LevelDB's format with another checksum.

Seven bytes of head (`:W&B`, 0xBEE1, version 0), then blocks of 32 KiB, the head being part of the
first. In a block: checksum (4), length (2), kind (1: whole, 2: first, 3: middle, 4: last), data.
Sources: github.com/google/leveldb/blob/main/doc/log_format.md, wandb/sdk/internal/datastore.py.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from traindeck.core.exchange.runs import Unreadable

HEAD = b":W&B"
_MAGIC, _VERSION = 0xBEE1, 0
_BLOCK = 32768
_HEADER = struct.Struct("<IHB")
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
LONGEST_RECORD = 64 << 20


class Log:
    """The records of one such file; `problem` says where it breaks off, if it does."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem = ""

    def records(self, file: BinaryIO) -> Iterator[bytes]:
        """Every whole record up to the first damaged one. Raises Unreadable for another file."""
        head = file.read(7)
        if head[:4] != HEAD or struct.unpack("<HB", head[4:].ljust(3, b"\0")) != (_MAGIC, _VERSION):
            raise Unreadable(f"{self.path}: is no file of W&B's, or of a later version")
        parts: list[bytes] = []
        for kind, data in self._pieces(file):
            if kind in (_WHOLE, _FIRST):
                parts = []
            parts.append(data)
            if sum(map(len, parts)) > LONGEST_RECORD:
                self.problem = f"a record is longer than {LONGEST_RECORD:,} bytes"
                return
            if kind in (_WHOLE, _LAST):
                yield b"".join(parts)
                parts = []

    def _pieces(self, file: BinaryIO) -> Iterator[tuple[int, bytes]]:
        start, at = 0, 7
        block = bytes(7) + file.read(_BLOCK - 7)
        while True:
            if at + _HEADER.size > len(block) or not any(block[at : at + _HEADER.size]):
                if len(block) < _BLOCK:
                    return  # the rest was not written
                start, at = start + len(block), 0
                block = file.read(_BLOCK)
                continue
            checksum, size, kind = _HEADER.unpack_from(block, at)
            data = block[at + _HEADER.size : at + _HEADER.size + size]
            if len(data) < size and len(block) < _BLOCK:
                return
            if kind > _LAST or zlib.crc32(data, zlib.crc32(bytes((kind,)))) != checksum:
                self.problem = (
                    f"{self.path}: the record at byte {start + at} is damaged; the rest is not read"
                )
                return
            yield kind, data
            at += _HEADER.size + size
