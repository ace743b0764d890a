"""Whose a file below a run's working folder is: the run's, or somebody else's."""

from __future__ import annotations

import contextlib
import math
import os
import time
from pathlib import Path

from traindeck.core.base.ids import is_id
from traindeck.core.base.process import start_ticks
from traindeck.core.devices.family import family
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.state import ENDED

LOOK_SECONDS = 0.5
NEWEST = 1000  # runs: of older ones none is asked whether it shares our folder
SLACK_SECONDS = 5.0  # by which a file's first entry may seem older than the run


class Ownership:
    """Decides by who holds a file open, who made it, and when it was begun.

    In this order: a process of the run made it or holds it open: ours. Its first entry is older
    than the run, its maker lives and is none of the run's, another holds it open: not ours. Where
    nobody is known any more it is ours if the run was seen to hold it open, or no other run has
    worked in the folder meanwhile.
    """

    def __init__(self, folder: Path, cwd: Path, started: float, root: int, child: int) -> None:
        self._folder = folder
        self._cwd = cwd
        self._started = started
        self._root = root
        self._ours = {child}
        self._inside: set[int] = set()
        """What processes of ours are called in PID namespaces of their own."""
        self._shared = False
        self._look_at = 0.0
        self._live: list[int] = []
        self._left: dict[Path, str] = {}
        self._held: set[tuple[int, int]] = set()
        """The files, by device and inode, that a process of ours was seen to hold open."""

    def look_around(self, *, now: bool = False) -> None:
        """Remember which processes are ours, for when a file of theirs is found."""
        clock = time.monotonic()
        if not now and clock < self._look_at:
            return
        self._look_at = clock + LOOK_SECONDS
        # Below ourselves is what a killed keeper has left.
        ours = [self._root, *family(self._root), *family(os.getpid())]
        for pid in set(ours) - self._ours:
            self._inside.update(_other_names(pid))
        self._live = ours
        self._ours.update(ours)

    def notice(self, path: Path) -> None:
        """Remember whether a process of ours holds a file open that has nothing to read yet."""
        self.look_around()
        if (key := _key(path)) is not None:
            self._is_held(key)

    def why_not(self, path: Path, writer: int | None, begun: float | None) -> str:
        """Why a file is not the run's; empty if it is.

        writer  its maker by its name, in the maker's own view; None where nothing tells
        begun   the unix time of its first entry; None where nothing tells
        """
        if path not in self._left:
            why = self._why_not(path, writer, begun)
            if not why:
                return ""
            self._left[path] = why
        return self._left[path]

    def _why_not(self, path: Path, writer: int | None, begun: float | None) -> str:
        old = begun is not None and begun < self._started - SLACK_SECONDS
        if writer in self._ours:
            return ""
        self.look_around(now=True)
        if writer in self._ours or (writer in self._inside and not old):
            return ""
        key = _key(path)
        if key is None or self._is_held(key):
            return ""
        if old:
            assert begun is not None
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(begun))
            return f"its first entry is of {when}, before the run began"
        if writer is not None and not self._inside and start_ticks(writer) is not None:
            return f"process {writer} made it, which is none of this run's"
        if holder := _holder(key, self._ours):
            return f"process {holder}, which is none of this run's, holds it open"
        if key not in self._held and self._is_shared():
            return "another run works in this folder, and whose it is cannot be told"
        return ""

    def _is_held(self, key: tuple[int, int]) -> bool:
        held = any(_holds(pid, key) for pid in self._live)
        if held:
            self._held.add(key)
        return held

    def _is_shared(self) -> bool:
        """Whether another of the home's newest runs has worked in our folder since we began."""
        if not self._shared:
            runs = self._folder.parent
            newest = sorted((name for name in os.listdir(runs) if is_id(name)), reverse=True)
            others = (
                RunFolder(runs / name) for name in newest[:NEWEST] if name != self._folder.name
            )
            self._shared = any(self._meets(run) for run in others)
        return self._shared

    def _meets(self, other: RunFolder) -> bool:
        spec = other.spec()
        if spec is None:
            return False
        ended = (spec.get("ended") or 0.0) if spec["state"] in ENDED else math.inf
        theirs, ours = Path(spec["cwd"]), self._cwd
        same = theirs.is_relative_to(ours) or ours.is_relative_to(theirs)
        return same and ended >= self._started


def _other_names(pid: int) -> set[int]:
    """The numbers of a process in the PID namespaces within ours."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            for line in file:
                if line.startswith(b"NSpid:"):
                    return {int(number) for number in line.split()[2:]}
    except (OSError, ValueError):
        pass
    return set()


def _key(path: Path) -> tuple[int, int] | None:
    try:
        info = os.stat(path)
    except OSError:
        return None
    return info.st_dev, info.st_ino


def _holds(pid: int, key: tuple[int, int]) -> bool:
    """Whether a process has a file open for writing."""
    folder = f"/proc/{pid}/fd"
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                info = os.stat(f"{folder}/{name}")
                if (info.st_dev, info.st_ino) == key and _writes(pid, name):
                    return True
    return False


def _writes(pid: int, descriptor: str) -> bool:
    try:
        with open(f"/proc/{pid}/fdinfo/{descriptor}", "rb") as file:
            for line in file:
                if line.startswith(b"flags:"):
                    return bool(int(line.split()[1], 8) & (os.O_WRONLY | os.O_RDWR))
    except (OSError, ValueError):
        pass
    return True


def _holder(key: tuple[int, int], ours: set[int]) -> int | None:
    """A process, none of these, that has a file open for writing."""
    try:
        pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
    except OSError:
        return None
    return next((pid for pid in pids if pid not in ours and _holds(pid, key)), None)
