"""Seeing to it that what a run prints is written down, whichever of its helpers were killed.

The run holds its pipe's other end too: with nobody there to read, it waits where the pipe is full,
and is not ended for it. Whoever supervises it then opens the pipe anew, and forks another scribe.
"""

from __future__ import annotations

import contextlib
import os
import select
from pathlib import Path

from traindeck.core.base.files import opened
from traindeck.core.base.process import Identity, name_of
from traindeck.core.devices.family import family, is_supervisors
from traindeck.core.run.spec import Spec, identity
from traindeck.core.supervisor import scribe


class Output:
    """What a supervisor knows of its run's pipe, and of the process that reads it."""

    def __init__(self, folder: Path, spec: Spec) -> None:
        self._log = folder / "output.log"
        self._reader = identity(spec, "scribe")
        self._pipe = spec.get("pipe") or ""
        self._reading = -1
        child = identity(spec, "child")
        if self._pipe and child:
            self._open(child.pid)

    def tend(self, keeper: Identity | None) -> None:
        """Fork another scribe if there is none, and no keeper who would."""
        if self._reading < 0 or (keeper and keeper.alive()):
            return
        if not (self._reader and self._reader.alive()):
            self._reader = self._another() or self._fork()

    def end(self) -> None:
        """Wait for what is left, for some seconds, once nobody else will."""
        scribe.end(self._reader)
        if self._reading >= 0:
            with contextlib.suppress(OSError):
                if select.select([self._reading], [], [], 0)[0]:
                    scribe.end(self._fork())
            os.close(self._reading)
            self._reading = -1

    def _another(self) -> Identity | None:
        """One that the keeper had forked since."""
        for name in os.listdir("/proc"):
            mine = name.isdecimal() and name_of(int(name)) == scribe.NAME
            if mine and is_supervisors(int(name)) and self._held_by(int(name)):
                return Identity.of(int(name))
        return None

    def _open(self, child: int) -> None:
        for pid in (child, *family(child)):
            if held := self._held_by(pid):
                with contextlib.suppress(OSError):
                    self._reading = os.open(held, os.O_RDONLY | os.O_CLOEXEC)
                return

    def _fork(self) -> Identity | None:
        try:
            log = opened(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        except OSError:  # tried again
            return None
        try:
            return Identity.of(scribe.fork_scribe(self._reading, log))
        except OSError:
            return None
        finally:
            os.close(log)

    def _held_by(self, pid: int) -> str:
        """A path by which a process's descriptor of the pipe can be opened."""
        folder = f"/proc/{pid}/fd"
        try:
            for name in os.listdir(folder):
                if os.readlink(f"{folder}/{name}") == self._pipe:
                    return f"{folder}/{name}"
        except OSError:
            pass
        return ""
