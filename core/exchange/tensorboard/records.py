"""The frames of a TFRecord file: for each record its length, that's checksum, data, its checksum.

Format: tensorflow/core/lib/io/record_writer.h. Numbers are little-endian, the length has 8 bytes
and each checksum, a masked CRC-32C, has 4. Standard library only.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from typing import NamedTuple

from traindeck.core.exchange.tensorboard.crc32c import crc32c, masked, masked_crcs

FRAME = 16  # bytes around a record's data

_HEADER = struct.Struct("<QI")
_MAX_HEADERS = 4096
# Checking records of one length together pays from so many on, up to so many bytes.
_ROWS_FROM, _ROWS_UP_TO = 16, 512


class Records(NamedTuple):
    spans: list[tuple[int, int]]
    """Where the data of each whole record starts and ends."""
    needed: int
    """Bytes that the record after them takes, as far as is known."""
    fault: int | None
    """Where a header does not match its checksum: nothing can be found from there on."""


class Framing:
    """Finds the records in a file's bytes; remembers the headers it has checked."""

    def __init__(self) -> None:
        self._lengths: dict[bytes, int] = {}

    def split(self, data: bytes) -> Records:
        """The whole records in ``data``, which starts with a record's header."""
        spans: list[tuple[int, int]] = []
        last_end = len(data) - 4
        at = 0
        while True:
            header = data[at : at + 12]
            length = self._lengths.get(header)
            if length is None:
                if len(header) < 12:
                    return Records(spans, FRAME, None)
                length, checksum = _HEADER.unpack(header)
                if masked(crc32c(header[:8])) != checksum:
                    return Records(spans, FRAME, at)
                if len(self._lengths) >= _MAX_HEADERS:
                    self._lengths.clear()
                self._lengths[header] = length
            end = at + 12 + length
            if end > last_end:
                return Records(spans, FRAME + length, None)
            spans.append((at + 12, end))
            at = end + 4


def first_damaged(data: bytes, spans: list[tuple[int, int]]) -> int | None:
    """The index of the first record whose data does not match its checksum."""
    by_length: defaultdict[int, list[int]] = defaultdict(list)
    for index, (start, end) in enumerate(spans):
        by_length[end - start].append(index)
    damaged: list[int] = []
    for length, indices in by_length.items():
        rows = b"".join([data[spans[index][0] : spans[index][1] + 4] for index in indices])
        stored = [crc for (crc,) in struct.iter_unpack(f"<{length}xI", rows)]
        if len(indices) >= _ROWS_FROM and length <= _ROWS_UP_TO:
            computed = masked_crcs(rows, length + 4, length)
        else:
            starts = range(0, len(rows), length + 4)
            computed = [masked(crc32c(rows[start : start + length])) for start in starts]
        if computed != stored:
            pairs = zip(indices, computed, stored, strict=True)
            damaged.append(next(index for index, ours, theirs in pairs if ours != theirs))
    return min(damaged, default=None)
