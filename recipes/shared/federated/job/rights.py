"""Whom a job runs as: without capabilities, and where that can be as a user of its own.

A root that gives its capabilities up still owns what is root's. So the owner's root gives the job's
folder to a number that nobody else has, and the job becomes that; the data it may read as a group.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

from traindeck.recipes.shared.federated.job import kernel

_CAPSET = {"x86_64": 126, "aarch64": 91}
_STATUS = "/proc/self/status"
_VERSION_3 = 0x20080522
_NEEDED = (0, 1, 3, 6, 7)  # to change owners, pass over modes, and become another
_NOBODY = 65534

FIRST = 1_000_000_000
"""Users of jobs' own have numbers from here, or `nobody`'s."""


def capabilities() -> int:
    """This process's effective capabilities, a bit each."""
    return _status("CapEff")


def gone() -> bool:
    """Whether this process has no capability, nor can get one by what it starts."""
    kinds = ("CapInh", "CapPrm", "CapEff", "CapAmb")
    return os.path.exists(_STATUS) and not any(_status(kind) for kind in kinds)


def hand_over(number: int, read: Iterable[Path], write: Iterable[Path]) -> tuple[int, str]:
    """Give files to a user of the job's own; gives its number, or 0 and why there is none.

    number  one that no other job of this machine has, as of a process
    read    what it may read, with what is right below; write: folders that become its own
    """
    if os.geteuid() != 0:
        return 0, ""
    held = capabilities()
    if not all(held >> each & 1 for each in _NEEDED):
        return 0, "this root may not become another"
    why = ""
    for user in (FIRST + number, _NOBODY):
        try:
            for path in write:
                os.chown(path, user, user)
            for path in read:
                inner = [] if not path.is_dir() else sorted(path.iterdir())
                for each in (path, *(one for one in inner if one not in write)):
                    os.chown(each, -1, user, follow_symlinks=False)
                    os.chmod(
                        each, os.stat(each).st_mode & 0o777 | (0o050 if each.is_dir() else 0o040)
                    )
            return user, ""
        except OSError as error:
            why = f"its files cannot be given to another: {error.strerror}"
    return 0, why


def become(user: int, needed: Iterable[Path], own: Iterable[Path]) -> str:
    """Be that user for good, if it can read what is needed; else why this stays root.

    own: folders that were given to it, and are taken back then.
    """
    os.setegid(user)
    os.seteuid(user)
    missing = next(
        (path for path in needed if not os.access(path, os.R_OK, effective_ids=True)), None
    )
    os.seteuid(0)
    if missing is not None:
        os.setegid(0)
        for path in own:
            os.chown(path, 0, 0)
        return f"another user cannot read {missing}"
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    kernel.prctl(kernel.DUMPABLE, 1)  # its own /proc/self is its own again
    return ""


def bound() -> None:
    """Let no program that is started bring a capability back, as far as this may say so."""
    try:
        for capability in range(64):
            kernel.prctl(kernel.DROP_BOUND, capability)
    except OSError:  # the first that there is not, or no right to: then there are none to lose
        pass


def drop(machine: str) -> None:
    """Give all capabilities up. Raises OSError."""
    if sys.platform == "linux" and machine in _CAPSET:
        head, none = struct.pack("<Ii", _VERSION_3, 0), bytes(24)
        kernel.call(_CAPSET[machine], head, none)


def _status(name: str) -> int:
    try:
        lines = Path(_STATUS).read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1], 16) for line in lines if line.startswith(f"{name}:")), 0)
