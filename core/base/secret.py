"""The home's secret: the key of what must be recognised here and tell nothing elsewhere.

Fingerprints of private data and the seals of checkpoints are HMACs under it. It is never exported:
whoever has it can test guesses of the data against them.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
from pathlib import Path

from traindeck.core.base.errors import TraindeckError
from traindeck.core.base.files import read_bounded

NAME = "secret.key"
SIZE = 32  # bytes


def home_secret(home_root: Path) -> bytes:
    """The 32 random bytes of a home, from `<home>/secret.key` (0600), made where there are none.

    Of several processes that make it at once all get the same. Raises TraindeckError when it is
    damaged, or cannot be read or made.
    """
    path = home_root / NAME
    try:
        if not os.path.lexists(path):
            _make(path)
        secret = read_bounded(path, SIZE)
    except OSError as error:
        why = error.strerror or str(error)
        raise TraindeckError(
            f"{path}, the home's secret, cannot be used: {why}. {_REMEDY}"
        ) from None
    if len(secret) != SIZE:
        raise TraindeckError(
            f"{path}, the home's secret, is damaged: {len(secret)} bytes, not {SIZE}. {_REMEDY}"
        )
    return secret


_REMEDY = (
    "Put back a copy of it; without one, remove it, and a new one is made, which knows none of the"
    " checkpoints and data fingerprints that were made under the old"
)


def _make(path: Path) -> None:
    """Make the file whole and once: a link under its name appears, or there was one before."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.parent / f".{NAME}.{os.getpid()}-{threading.get_ident()}"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(SIZE))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(part, path)
    finally:
        os.unlink(part)
