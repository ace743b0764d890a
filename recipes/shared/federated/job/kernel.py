"""System calls that Python has no function for, by ctypes."""

from __future__ import annotations

import ctypes
import os
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

DEATH_SIGNAL, DUMPABLE, SECCOMP, DROP_BOUND, SUBREAPER = 1, 4, 22, 24, 36
NO_NEW_PRIVILEGES, AMBIENT = 38, 47
"""Options of `prctl`."""


def call(number: int, *arguments: int | bytes | ctypes.Array[ctypes.c_char] | None) -> int:
    """A system call by its number. Raises OSError."""
    sized = [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in arguments]
    return _checked(int(_libc.syscall(ctypes.c_long(number), *sized)))


def prctl(option: int, *arguments: int) -> int:
    """A process's own setting, prctl(2). Raises OSError."""
    given = [ctypes.c_ulong(each) for each in (*arguments, 0, 0, 0, 0)[:4]]
    return _checked(int(_libc.prctl(option, *given)))


def unshare(flags: int) -> None:
    """Leave namespaces for new ones, unshare(2). Raises OSError."""
    _checked(_libc.unshare(flags))


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2). Raises OSError."""
    texts = [text.encode() or None for text in (source, target, kind)]
    _checked(_libc.mount(*texts, ctypes.c_ulong(flags), options.encode() or None))


def detach(target: str) -> None:
    """Take a mount away with all below it, umount2(2) with MNT_DETACH. Raises OSError."""
    _checked(_libc.umount2(target.encode(), 2))


def _checked(result: Any) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return int(result)
