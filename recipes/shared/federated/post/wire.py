"""Frames between a job and its owner, over a socket pair: JSON facts and numbers as raw bytes.

A frame is two little-endian u4 lengths, then so many bytes of JSON (an object) and of body.
"""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import Any

_LENGTHS = struct.Struct("<II")
MOST_FACTS = 64 << 20
MOST_BODY = 1 << 30


class Closed(ConnectionError):
    """The other side has gone."""


GONE = "the other side has gone"


class BadFrame(ValueError):
    """What came is no frame."""


def _closed(error: OSError) -> Closed:
    """Of one that was killed the kernel says but that a pipe is broken, or a connection reset."""
    gone = isinstance(error, BrokenPipeError | ConnectionResetError)
    return Closed(GONE if gone else error.strerror or str(error))


def send(wire: socket.socket, facts: dict[str, Any], body: bytes = b"") -> None:
    """Write one frame whole. Raises Closed when nobody reads any more."""
    head = json.dumps(facts).encode()
    try:
        wire.sendall(_LENGTHS.pack(len(head), len(body)) + head + body)
    except OSError as error:
        raise _closed(error) from None


def receive(wire: socket.socket) -> tuple[dict[str, Any], bytes]:
    """Read one frame. Raises Closed at the end, BadFrame for what is none.

    Raises TimeoutError when the whole frame, not some part of it, has not come in the time that is
    set for the socket.
    """
    seconds = wire.gettimeout()
    try:
        return _receive(wire, None if seconds is None else time.monotonic() + seconds)
    finally:
        wire.settimeout(seconds)


def _receive(wire: socket.socket, until: float | None) -> tuple[dict[str, Any], bytes]:
    head, body = _LENGTHS.unpack(_exactly(wire, _LENGTHS.size, until))
    if head > MOST_FACTS or body > MOST_BODY:
        raise BadFrame(f"a frame of {head + body} bytes is refused")
    try:
        facts = json.loads(_exactly(wire, head, until))
    except (ValueError, RecursionError) as error:
        raise BadFrame(str(error)) from None
    if not isinstance(facts, dict):
        raise BadFrame("a frame's facts are an object")
    return facts, _exactly(wire, body, until)


def _exactly(wire: socket.socket, size: int, until: float | None) -> bytes:
    got = bytearray()
    while len(got) < size:
        if until is not None:
            if (left := until - time.monotonic()) <= 0:
                raise TimeoutError("a frame was left unfinished")
            wire.settimeout(left)
        try:
            part = wire.recv(min(size - len(got), 1 << 20))
        except TimeoutError:
            raise
        except OSError as error:
            raise _closed(error) from None
        if not part:
            raise Closed(GONE)
        got += part
    return bytes(got)
