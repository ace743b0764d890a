"""A thread that looks for scripts that wait for a data owner's hand, while runs go on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from traindeck.core.inbox import Request, RunInbox

LOOK_EVERY = 1.0
"""Seconds between two looks: one stat a run that is not federated, a few an owner else."""


class InboxWatch:
    """Looks at the runs it is told to follow. Its thread begins with the first of them.

    runs    the folder of all runs
    ready   called on the thread with every request that waits, when they are others than before
    failed  called on the thread when a look failed, once for each different failure in a row
    """

    def __init__(
        self,
        runs: Path,
        *,
        ready: Callable[[tuple[Request, ...]], object],
        failed: Callable[[Exception], object],
        interval: float = LOOK_EVERY,
    ) -> None:
        self._runs, self._ready, self._failed = runs, ready, failed
        self._interval = interval
        self._ids: tuple[str, ...] = ()
        self._inboxes: dict[str, RunInbox] = {}
        self._told: tuple[Request, ...] = ()
        self._stopped = False
        self._wake = threading.Event()
        # A daemon: a mount that hangs must not keep the program from ending.
        self._thread = threading.Thread(target=self._watch, name="inbox watch", daemon=True)

    def follow(self, ids: Iterable[str]) -> None:
        """Look at these runs from now on; returns at once."""
        now = tuple(ids)
        if now == self._ids:
            return
        self._ids = now
        if self._thread.ident is None:
            self._thread.start()
        self._wake.set()

    def look_now(self) -> None:
        """Something was decided: look at once."""
        self._wake.set()

    def stop(self) -> None:
        """Ask the thread to end; returns at once."""
        self._stopped = True
        self._wake.set()

    def _watch(self) -> None:
        failure = ""
        while not self._stopped:
            try:
                found = self._look()
                failure = ""
            except Exception as error:  # whatever a file can do must reach the screen, not end us
                if failure != (failure := repr(error)) and not self._stopped:
                    self._failed(error)
            else:
                if found != self._told and not self._stopped:
                    self._told = found
                    self._ready(found)
            self._wake.wait(self._interval if self._ids else None)
            self._wake.clear()

    def _look(self) -> tuple[Request, ...]:
        from traindeck.core.inbox import RunInbox

        ids = self._ids
        self._inboxes = {
            run_id: self._inboxes.get(run_id) or RunInbox(self._runs / run_id) for run_id in ids
        }
        every = (request for inbox in self._inboxes.values() for request in inbox.read())
        return tuple(request for request in every if not request.decision)
