"""What one client may ask of a server, each with its own error."""

from __future__ import annotations

from dataclasses import dataclass

LARGE = 1 << 20
"""Bytes of JSON that are not read in the event loop."""


@dataclass(frozen=True, slots=True)
class Limits:
    """body: bytes of a request; rows: records of one; queue: requests that are being answered or
    wait, beyond which the next is refused; seconds: until a request that is not answered, or not
    whole, is given up; connections: open at once; nan: whether inputs may hold NaN or infinity."""

    body: int = 64 << 20
    rows: int = 4096
    queue: int = 1000
    seconds: float = 30.0
    connections: int = 2000
    nan: bool = False
