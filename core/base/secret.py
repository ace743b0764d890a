"""The home's two keys, each 32 random bytes that never leave it.

secret.key     of what must be recognised here and tell nothing elsewhere: fingerprints of private
               data and the seals of checkpoints are HMACs under it; whoever has it can test
               guesses of the data against them
statement.key  an Ed25519 key, by which privacy statements are signed
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
SIGNING = "statement.key"
SIZE = 32  # bytes


def home_secret(home_root: Path) -> bytes:
    """The 32 random bytes of a home, from `<home>/secret.key` (0600), made where there are none.

    Of several processes that make it at once all get the same. Raises TraindeckError when it is
    damaged, or cannot be read or made.
    """
    return _kept(home_root / NAME, "the home's secret", _SECRET_LOST)


def signing_key(home_root: Path) -> bytes:
    """Likewise the 32 bytes of a home's Ed25519 private key, from `<home>/statement.key`."""
    return _kept(home_root / SIGNING, "the key that signs the home's statements", _SIGNING_LOST)


_SECRET_LOST = (
    "which knows none of the checkpoints and data fingerprints that were made under the old"
)
_SIGNING_LOST = "whose fingerprint nobody knows yet"


def _kept(path: Path, what: str, lost: str) -> bytes:
    """What the file holds; `lost` is what a new one comes to."""
    remedy = f"Put back a copy of it; without one, remove it, and a new one is made, {lost}"
    try:
        if not os.path.lexists(path):
            _make(path)
        key = read_bounded(path, SIZE)
    except OSError as error:
        why = error.strerror or str(error)
        raise TraindeckError(f"{path}, {what}, cannot be used: {why}. {remedy}") from None
    if len(key) != SIZE:
        raise TraindeckError(f"{path}, {what}, is damaged: {len(key)} bytes, not {SIZE}. {remedy}")
    return key


def _make(path: Path) -> None:
    """Make the file whole and once: a link under its name appears, or there was one before."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.parent / f".{path.name}.{os.getpid()}-{threading.get_ident()}"
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
