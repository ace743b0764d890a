"""Files that are never seen half-written."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import json
import os
import re
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TEMPORARY_SECONDS = 3600.0  # older ones are nobody's any more
_TEMPORARY = re.compile(r"\..+\.\d+-\d+")


def write_atomic(path: Path, data: bytes) -> None:
    """Replace a file's contents in one step, safe against a crash at any moment.

    Raises OSError, which names the file; the old contents then still stand.
    """
    temporary = path.parent / f".{path.name}.{os.getpid()}-{threading.get_ident()}"
    try:
        _replace(path, temporary, data)
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise
    with contextlib.suppress(OSError):  # not every file system syncs folders
        _sync_folder(path.parent)


def _replace(path: Path, temporary: Path, data: bytes) -> None:
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def sweep(folder: Path) -> None:
    """Remove the temporaries of writers that were killed, in this very folder: behind no link."""
    if folder.is_symlink():
        return
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if _TEMPORARY.fullmatch(path.name):
                with contextlib.suppress(OSError):
                    if time.time() - path.stat().st_mtime > TEMPORARY_SECONDS:
                        path.unlink()


def sweep_of(folder: Path, pid: int) -> None:
    """Remove the temporaries that one process has left in a folder: it was killed, as is known."""
    if folder.is_symlink():
        return
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if re.fullmatch(rf"\..+\.{pid}-\d+", path.name):
                with contextlib.suppress(OSError):
                    path.unlink()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file in one step. Raises OSError."""
    write_atomic(path, json.dumps(value, indent=1, default=str).encode() + b"\n")


def opened(path: Path, flags: int = os.O_RDONLY, *, follow: bool = False) -> int:
    """A descriptor of a regular file, made with mode 0600 if `flags` say so.

    A pipe or device in its place is never waited for, and a symbolic link is one only if it is to
    be followed: what a run's folder or a ledger holds may be anybody's doing. Raises OSError.
    """
    flags |= os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags, 0o600)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "no regular file", str(path))
    os.set_blocking(descriptor, True)  # whoever inherits it is not to wonder
    return descriptor


def reading(path: Path, *, follow: bool = False) -> io.BufferedReader:
    """A regular file to read from, as `opened` has it. Raises OSError."""
    return os.fdopen(opened(path, follow=follow), "rb")


def read_json(path: Path, *, follow: bool = False) -> dict[str, Any] | None:
    """A JSON object from a file; None when there is no such file or it is not (yet) one."""
    try:
        with reading(path, follow=follow) as file:
            value = json.loads(file.read())
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def read_bounded(path: Path, limit: int, *, follow: bool = False) -> bytes:
    """The whole of a regular file of at most `limit` bytes; a pipe or device is never waited for.

    A symbolic link is one only if it is to be followed. Raises OSError.
    """
    with reading(path, follow=follow) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"longer than {limit:,} bytes", str(path))
    return data


def tail(path: Path, most: int) -> bytes:
    """The last bytes of a file, at most so many; none where it cannot be read."""
    try:
        with reading(path) as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - most))
            return file.read()
    except OSError:
        return b""


def is_held(path: Path) -> bool:
    """Whether some process of this kernel holds a lock on a file, in whichever container.

    Taking it for a moment is how that is known, so it is tried again: another may be asking too.
    True where the file cannot be looked at.
    """
    try:
        descriptor = opened(path)
    except OSError:
        return True
    try:
        for _ in range(3):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                time.sleep(0.005)
            else:
                return False
        return True
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold an exclusive lock on a file, made if needed; the kernel frees it if we die.

    Yields the descriptor. Raises OSError when the file cannot be opened.
    """
    descriptor = opened(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def disk_use(folder: Path) -> int:
    """Bytes on the disk of all that is in it, behind no link."""
    total = 0
    for place, folders, files in os.walk(folder, followlinks=False):
        for name in (*folders, *files):
            try:
                total += os.lstat(os.path.join(place, name)).st_blocks * 512
            except OSError:
                continue
    return total
