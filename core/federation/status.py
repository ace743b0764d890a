"""What the screen shows of a federation: files that the aggregator and each owner keep of itself.

`coordinator.json` is the aggregator's and `owners/<name>/status.json` each owner's own, of which
the aggregator reads only that the owner is up; `reader` reads both. Each is replaced whole, at most
ten times a second unless a state has changed.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

EVERY = 0.1  # seconds
STATES = ("warming", "waiting", "approved", "training", "sent", "refused", "lost", "ended")
CLASSES = ("ciphertext", "masked", "metadata", "mock", "raw")
"""Of bytes that leave an owner: sealed to one reader or CKKS; sealed and masked besides; plain
facts (names, versions, public keys, states of jobs); the public stand-in for the data; private
values in the clear, of which there are none unless encryption was switched off. Shares that jobs
send each other inside TLS are ciphertext, as the script's library counted them: the owner does not
see them leave."""


@dataclass
class _File:
    path: Path
    _at: float = field(default=0.0, init=False)

    def write(self, *, now: bool = True) -> None:
        """Replace the file; with now=False only if the last time is long enough ago.

        A full disk loses what is shown, not what is done.
        """
        if not now and time.monotonic() - self._at < EVERY:
            return
        self._at = time.monotonic()
        facts = {"v": 1, **asdict(self)}
        for own in ("path", "_at"):
            del facts[own]
        part = self.path.with_name(f".{self.path.name}")
        try:
            part.write_text(json.dumps(facts))
            os.replace(part, self.path)
        except OSError:
            part.unlink(missing_ok=True)


@dataclass
class Coordinator(_File):
    """The aggregator's view of all: phases are in words on the screen."""

    aggregation: str
    engine: str
    encryption: str
    visible: str
    rounds_total: int
    threshold: int = 0
    phase: str = "warming"
    waiting_for: list[str] = field(default_factory=list)
    reason: str = ""
    round: int = 0
    owners: list[dict[str, str]] = field(default_factory=list)
    rounds: list[dict[str, Any]] = field(default_factory=list)

    def owner(self, name: str, state: str, reason: str = "") -> None:
        """Set an owner's state, and why."""
        for owner in self.owners:
            if owner["name"] == name:
                owner.update(state=state, reason=reason or owner.get("reason", ""))

    def reason_of(self, name: str) -> str:
        """Why an owner is in its state, as far as it was told."""
        return next((owner["reason"] for owner in self.owners if owner["name"] == name), "")

    def enter(self, phase: str, waiting_for: list[str] | None = None, reason: str = "") -> None:
        """Go on to a phase, or say anew who is waited for in it."""
        now = (phase, waiting_for or []) != (self.phase, self.waiting_for)
        self.phase, self.waiting_for, self.reason = phase, waiting_for or [], reason
        self.write(now=now)


@dataclass
class OwnerFile(_File):
    """What one owner knows of itself.

    approval  of scripts: auto or hand; empty where nobody approves any
    privacy  of a run with differential privacy: whose it is (`unit`), what has left so far
             (`epsilon` at `delta`, an upper bound, and `steps`), what the whole run would come to
             (`epsilon_planned`, `steps_planned`; an infinite epsilon is null), and the owner's own
             `ledger`, if it has one
    """

    name: str
    pid: int = field(default_factory=os.getpid)
    started: float = field(default_factory=time.time)
    samples: int = 0
    state: str = "warming"
    reason: str = ""
    round: int = 0
    loss: float | None = None
    seconds: float | None = None
    bytes_out: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CLASSES, 0))
    bytes_round: dict[str, int] = field(default_factory=dict)
    cpu_seconds: float = 0.0
    memory: int = 0
    approval: str = "auto"
    sandbox: str = ""
    privacy: dict[str, Any] | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    job: dict[str, str] = field(default_factory=dict)

    def enter(self, state: str, reason: str = "") -> None:
        now = (state, reason) != (self.state, self.reason)
        self.state, self.reason = state, reason
        self.write(now=now)

    def left(self, kind: str, size: int) -> None:
        """Bytes of a class have left this owner."""
        self.bytes_out[kind] += size
        self.bytes_round[kind] = self.bytes_round.get(kind, 0) + size
