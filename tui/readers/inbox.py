"""A thread that looks for scripts that wait for a data owner's hand, while runs go on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from traindeck.tui.readers.watch import Watch

if TYPE_CHECKING:
    from traindeck.core.federation.inbox import RunInbox, ScriptRequest

LOOK_EVERY = 1.0
"""Seconds between two looks: one stat a run that is not federated, a few an owner else."""


class InboxWatch(Watch["tuple[ScriptRequest, ...]"]):
    """Looks for requests in the runs it is told to follow; begins with the first of them.

    runs    the folder of all runs
    """

    def __init__(
        self,
        runs: Path,
        *,
        ready: Callable[[tuple[ScriptRequest, ...]], object],
        failed: Callable[[Exception], object],
    ) -> None:
        super().__init__("inbox watch", ready=ready, failed=failed, interval=LOOK_EVERY)
        self._runs = runs
        self._ids: tuple[str, ...] = ()
        self._inboxes: dict[str, RunInbox] = {}
        self._seen = ()

    def follow(self, ids: Iterable[str]) -> None:
        """Look at these runs from now on; returns at once."""
        now = tuple(ids)
        if now == self._ids:
            return
        self._ids, self._parked = now, not now
        if not self._thread.ident:
            self.start()
        self.look_now()

    def _look(self) -> tuple[ScriptRequest, ...]:
        from traindeck.core.federation.inbox import RunInbox

        ids = self._ids
        self._inboxes = {
            run_id: self._inboxes.get(run_id) or RunInbox(self._runs / run_id) for run_id in ids
        }
        every = (request for inbox in self._inboxes.values() for request in inbox.read())
        return tuple(request for request in every if not request.decision)
