"""Ending a run on request: politely with a grace, or at once with all that it started."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from traindeck.core.base.process import Identity
from traindeck.core.devices.family import family
from traindeck.core.run.state import boottime
from traindeck.core.supervisor import cgroup
from traindeck.core.supervisor.reach import Reach
from traindeck.core.supervisor.sending import kill_all, send


class Request:
    """What was asked of a run.

    A command (`is_command`) may only wrap what trains: all its programs are told at half the grace.
    A recipe is asked itself, and ends what it has started.

    asked  nothing, `stop`, `force` (the grace of a stop is over) or `kill`
    at     when, in seconds since the boot
    """

    def __init__(self, grace: float, *, is_command: bool) -> None:
        self.asked = ""
        self.at = 0.0
        self._grace = grace
        self._is_command = is_command
        self._reach = Reach()

    def ask(self, what: str) -> None:
        """Ask for `stop` or `kill`; what was asked first counts, but for a kill."""
        if not self.asked or what == "kill":
            self.asked = what
            self.at = boottime()

    def enforce(self, keeper: Identity | None, child: Identity | None, group: Path | None) -> bool:
        """Carry on with what was asked; False when the run may not be sent a signal."""
        running = child is not None and child.alive()
        waited = boottime() - self.at
        if running and self.asked == "stop" and waited > self._grace:
            self.asked = "force"
        if self.asked in ("force", "kill"):
            _kill(keeper, child, group)
        elif child and running:
            there = [child.pid, *family(child.pid)]
            if keeper and keeper.alive():
                there += set(family(keeper.pid)) - set(there)
            late = self._is_command and waited > self._grace / 2
            return self._reach.tell(there, child.pid, all_programs=late)
        return child is None or not running or send(child.pid, 0)


def _kill(keeper: Identity | None, child: Identity | None, group: Path | None) -> None:
    if keeper and keeper.alive():
        kill_all(keeper.pid, signal.SIGKILL)
    elif child:
        if group:
            cgroup.kill(group)
        kill_all(child.pid, signal.SIGKILL)
        kill_all(os.getpid(), signal.SIGKILL)
        if child.alive():
            send(child.pid, signal.SIGKILL)
