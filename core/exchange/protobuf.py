"""The wire format of protocol buffers (protobuf.dev/programming-guides/encoding): fields, numbers.

Standard library only: what reads event files beside a run imports this.
"""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
SIGN = 1 << 63


class Truncated(ValueError):
    """A message is not what it should be, or ends too early."""


def fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """The fields of a message: number, wire type, and where the payload starts and ends.

    Raises Truncated.
    """
    while at < end:
        key = data[at]
        if key < 128:
            at += 1
        else:
            key, at = varint(data, at, end)
        kind = key & 7
        start = at
        if kind == VARINT:
            _, at = varint(data, at, end)
        elif kind == BYTES:
            if at < end and data[at] < 128:
                start = at + 1
                at = start + data[at]
            else:
                size, start = varint(data, at, end)
                at = start + size
        elif kind == FIXED64:
            at += 8
        elif kind == FIXED32:
            at += 4
        else:
            raise Truncated(f"wire type {kind}")
        if at > end:
            raise Truncated("a field ends behind its message")
        yield key >> 3, kind, start, at


def varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """An unsigned base-128 number of at most 64 bits, and where it ends. Raises Truncated."""
    value = shift = 0
    while at < end and shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & (2 * SIGN - 1), at
        shift += 7
    raise Truncated("a number has no end")


def signed(value: int) -> int:
    """An int64 from its varint."""
    return value - 2 * SIGN if value >= SIGN else value


def inside(data: bytes, start: int, end: int, *path: int) -> Iterator[tuple[int, int]]:
    """Where the messages lie that a path of field numbers leads to. Raises Truncated."""
    if not path:
        yield start, end
        return
    for number, kind, at, stop in fields(data, start, end):
        if number == path[0] and kind == BYTES:
            yield from inside(data, at, stop, *path[1:])


def text(data: bytes, start: int, end: int, number: int) -> str:
    """A field that is a text; the empty one where it is not there. Raises Truncated."""
    found = b""
    for each, kind, at, stop in fields(data, start, end):
        if each == number and kind == BYTES:
            found = data[at:stop]
    return found.decode("utf-8", "replace")


def integer(data: bytes, start: int, end: int, number: int) -> int:
    """A field that is an int64 or an enum; 0 where it is not there. Raises Truncated."""
    found = 0
    for each, kind, at, stop in fields(data, start, end):
        if each == number and kind == VARINT:
            found = signed(varint(data, at, stop)[0])
    return found


def encoded(number: int, value: bytes | int) -> bytes:
    """One field: bytes with their length, or a number."""
    if isinstance(value, int):
        return count(number << 3 | VARINT) + count(value & (2 * SIGN - 1))
    return count(number << 3 | BYTES) + count(len(value)) + value


def count(value: int) -> bytes:
    """An unsigned number as a varint."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
