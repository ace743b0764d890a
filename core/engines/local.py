"""The engine of this machine: the supervisor is a process beside us, asked by signals.

It is imported before anything is known of a run, for the supervisor's interpreter to start at once;
so each method imports what it needs.
"""

from __future__ import annotations

import signal
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from traindeck.core.engines.base import Ask, Mode
    from traindeck.core.engines.boot import Boot
    from traindeck.core.queue.slots import Claim
    from traindeck.core.run.folder import RunFolder
    from traindeck.core.run.spec import Spec
    from traindeck.core.run.state import Verdict


class Local:
    """Starts runs on this machine."""

    def __init__(self) -> None:
        self._ready: list[Boot] = []

    def claim(self, on: str, kinds: Collection[str]) -> Claim:
        """The slots of this machine that the run must hold."""
        from traindeck.core.queue.placement import claim

        return claim(on, kinds)

    def prepare(self) -> None:
        """Start an interpreter for the supervisor."""
        from traindeck.core.engines.boot import Boot

        if not self._ready:
            self._ready.append(Boot())

    def start(self, folder: Path, mode: Mode) -> None:
        """Give a run to the interpreter that is ready, or to a new one."""
        from traindeck.core.engines.boot import Boot

        try:
            boot = self._ready.pop()  # no other thread gets the same
        except IndexError:
            boot = Boot()
        boot.supervise(folder, mode)

    def signal(self, folder: Path, ask: Ask) -> None:
        """Signal the run's supervisor; a run that has lost its own gets another first.

        Where none can be had, and of a run that has ended, what is left of it is killed from here.
        """
        from traindeck.core.base.errors import ControlError
        from traindeck.core.engines.signals import ask as ask_supervisor

        number = {"stop": signal.SIGTERM, "kill": signal.SIGUSR1}[ask]
        try:
            ask_supervisor(folder, self, number)
        except ControlError:
            from traindeck.core.engines.leftovers import end_left_over

            if ask != "kill" or not end_left_over(folder):
                raise

    def look(self, run: RunFolder, spec: Spec) -> Verdict | None:
        """A run of another machine or container that shares this home is out of reach."""
        from traindeck.core.base.process import boot_id
        from traindeck.core.run.spec import is_elsewhere
        from traindeck.core.run.state import UNREACHABLE, Verdict

        if not is_elsewhere(spec) or run.deserted(spec):
            return None
        here = spec["boot_id"] == boot_id()
        where = f"in another container of this machine ({spec['host']})" if here else spec["host"]
        how = "runs" if here else "runs on"
        why = f"{how} {where}; it was {spec['state']} when last heard of"
        return Verdict(UNREACHABLE, why, None)
