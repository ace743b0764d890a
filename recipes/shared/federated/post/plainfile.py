"""Files in a folder that others write to as well: read and replaced without trusting what is there.

A link is not followed and a pipe not waited for, so that nobody who can put things into the folder
has a party read, overwrite or wait for something else.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from pathlib import Path

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def read(path: Path, most: int) -> tuple[bytes, os.stat_result]:
    """Content of a plain file, empty if it has more than `most` bytes; and what it is.

    Raises OSError, also for a link, a pipe or a folder.
    """
    opened = os.open(path, _READ)
    try:
        entry = os.fstat(opened)
        if not stat.S_ISREG(entry.st_mode):
            raise OSError(errno.EINVAL, "not a plain file")
        with open(opened, "rb", closefd=False) as file:
            return file.read() if entry.st_size <= most else b"", entry
    finally:
        os.close(opened)


def replace(path: Path, content: bytes) -> None:
    """Write a file whole, 0600, in place of what has its name. Raises OSError."""
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    opened = os.open(part, _MAKE, 0o600)
    try:
        with open(opened, "wb") as file:
            file.write(content)
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
