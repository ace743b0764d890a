"""Reads what the parties of a federated run say, again and again while it goes on.

<run>/federation/                           see `status` for the files in it
<run>/federation/owners/<name>/inbox/       see `inbox`
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from traindeck.core.base.files import read_bounded
from traindeck.core.federation.inbox import (
    MOST_OWNERS,
    InboxReader,
    ScriptRequest,
    Stamp,
    names,
    stamp,
)
from traindeck.core.federation.status import (
    UNKNOWN,
    FederationStatus,
    OwnerStatus,
    federation_of,
    owner_of,
)

MAX_COORDINATOR, MAX_STATUS = 16 << 20, 256 << 10
CPU_SECONDS = 0.5
"""An owner's load is measured over at least so many seconds."""
_FINAL = ("refused", "lost")


class FederationReader:
    """Reads what a run's federation says, and only those of its files that changed.

    run  the run's folder
    """

    def __init__(self, run: Path) -> None:
        self._run = run
        self._folder = run / "federation"
        self._coordinator = _File(self._folder / "coordinator.json", MAX_COORDINATOR)
        self._central = FederationStatus()
        self._central_owners: dict[str, tuple[str, str]] = {}
        self._owners_seen: Stamp | None = None
        self._owners: dict[str, _OwnerReader] = {}
        self._latest: FederationStatus | None = None

    def read(self) -> FederationStatus | None:
        """What is known now, the same object while nothing changed; None unless federated."""
        if stamp(self._folder) is None:
            return None
        changed = self._latest is None
        if self._coordinator.read():
            said = self._coordinator.value
            if said is not None:
                self._central, self._central_owners = federation_of(said)
                changed = True
        seen = stamp(self._folder / "owners")
        if seen != self._owners_seen:
            self._owners_seen, changed = seen, True
            there = names(self._folder / "owners", MOST_OWNERS)
            self._owners = {
                name: self._owners.get(name)
                or _OwnerReader(self._run.name, self._folder / "owners" / name)
                for name in there
            }
        for reader in self._owners.values():
            changed |= reader.read()
        if changed or self._latest is None:
            self._latest = self._joined()
        return self._latest

    def _joined(self) -> FederationStatus:
        every = dict.fromkeys((*self._central_owners, *self._owners))
        owners = []
        for name in list(every)[:MOST_OWNERS]:
            state, reason = self._central_owners.get(name, ("", ""))
            reader = self._owners.get(name)
            if reader is None:
                owners.append(OwnerStatus(name, state or UNKNOWN, reason))
            else:
                owners.append(reader.owner(state, reason))
        if self._central.rounds_total == 0:  # one job, and one result
            owners = [replace(owner, round=None) for owner in owners]
        return replace(self._central, owners=tuple(owners))


def read_federation(run: Path) -> FederationStatus | None:
    """What a run's federation says now; None for a run that is not federated."""
    return FederationReader(run).read()


class _File:
    """A JSON object in a file, parsed again only when the file is another.

    A file that is torn or gone leaves what it said before.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self.value: dict[str, Any] | None = None
        self.stamp: Stamp | None = None
        self._path, self._limit = path, limit

    def read(self) -> bool:
        """Look; True when it says something new."""
        now = stamp(self._path)
        if now == self.stamp:
            return False
        self.stamp = now
        try:
            value = json.loads(read_bounded(self._path, self._limit))
        except (OSError, ValueError, RecursionError):
            return False
        if not isinstance(value, dict):
            return False
        self.value = value
        return True


class _OwnerReader:
    """One owner's status, the load it is under, and its inbox."""

    def __init__(self, run: str, folder: Path) -> None:
        self._name = folder.name
        self._status = _File(folder / "status.json", MAX_STATUS)
        self._inbox = InboxReader(run, folder)
        self._requests: tuple[ScriptRequest, ...] = ()
        self._own: dict[str, Any] = {}
        self._since: tuple[float, float] | None = None
        self._percent: float | None = None

    def read(self) -> bool:
        """Look at its files; True when there is something new."""
        changed = False
        if self._status.read() and self._status.value is not None:
            self._own = owner_of(self._status.value)
            self._measure()
            changed = True
        requests = self._inbox.read()
        if requests != self._requests:
            self._requests, changed = requests, True
        return changed

    def owner(self, state: str, reason: str) -> OwnerStatus:
        """The owner, of which the coordinator says this.

        What it says of itself is newer, but only others can tell that it was lost.
        """
        own = dict(self._own)
        if own and state not in _FINAL:
            state = own.pop("state")
            reason = own.pop("reason") or reason
        else:
            own.pop("state", None)
            reason = reason or own.pop("reason", "")
            own.pop("reason", None)
        if state == "lost":
            own["pid"] = None
        return OwnerStatus(
            self._name,
            state or UNKNOWN,
            reason,
            heard=bool(self._own),
            cpu_percent=self._percent,
            requests=self._requests,
            **own,
        )

    def _measure(self) -> None:
        used = self._own["cpu_seconds"]
        if used is None or self._status.stamp is None or not math.isfinite(used):
            return
        now = self._status.stamp[0] / 1e9
        if self._since is None or used < self._since[1]:
            self._since = (now, used)
        elif now - self._since[0] >= CPU_SECONDS:
            self._percent = 100 * (used - self._since[1]) / (now - self._since[0])
            self._since = (now, used)
