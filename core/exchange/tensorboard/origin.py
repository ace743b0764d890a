"""Who made an event file, and when, as far as it tells."""

from __future__ import annotations

import os
import re
import struct
from pathlib import Path

_WRITER = re.compile(r"tfevents\.\d+\..+\.(\d+)\.\d+(?:\.v2)?$")
_HEAD = 21  # bytes: a record's length, its checksum, then field 1 of the event


def begun(path: Path) -> float | None:
    """The unix time of a file's first entry; None where it has none yet."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        head = os.pread(file, _HEAD, 0)
    except OSError:
        return None
    finally:
        os.close(file)
    if len(head) < _HEAD or head[12] != 0x09:
        return None
    return float(struct.unpack_from("<d", head, 13)[0])


def writer_pid(path: Path) -> int | None:
    """The process that made an event file, in its own view, if the file's name tells."""
    match = _WRITER.search(path.name)
    return int(match[1]) if match else None
