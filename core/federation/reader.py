"""What a federated run says of itself: its coordinator, and each owner for itself.

    <run>/federation/coordinator.json           the aggregator's view: phase, rounds, states
    <run>/federation/owners/<name>/status.json  the owner's own; the aggregator never sees it
    <run>/federation/owners/<name>/inbox/       see `inbox`

The files are replaced while they are read, and what is in them comes from several parties: all that
is not as it should be counts as not said. Nothing here raises for what a file holds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from traindeck.core.base import tolerant
from traindeck.core.base.files import read_bounded
from traindeck.core.federation.inbox import (
    MOST_OWNERS,
    InboxReader,
    ScriptRequest,
    Stamp,
    names,
    stamp,
)
from traindeck.core.federation.privacy import OwnerPrivacy

STATES = ("warming", "waiting", "approved", "training", "sent", "refused", "lost", "ended")
PHASES = ("warming", "peers", "approval", "keys", "training", "done", "failed")
UNKNOWN = "unknown"
CLASSES = ("ciphertext", "masked", "metadata", "mock", "raw")
"""What bytes that leave an owner are counted as."""
MOST_ROUNDS = 10_000
MAX_COORDINATOR, MAX_STATUS = 16 << 20, 256 << 10
CPU_SECONDS = 0.5
"""An owner's load is measured over at least so many seconds."""
_FINAL = ("refused", "lost")
_PRIVATE = ("loss", "facts")


@dataclass(frozen=True, slots=True)
class Job:
    """The script that an owner was asked to run, and what became of the request."""

    id: str = ""
    script: str = ""
    sha256: str = ""
    submitted_by: str = ""
    decision: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class OwnerStatus:
    """A party that holds data. All but `name`, `state` and `reason` is its own status.

    told         whether it has said anything itself
    pid          of its process, while the run goes on and the owner is not lost
    round        the round it is in, if there are any; `seconds` is what its training took there
    bytes_out    what left it so far by class, `bytes_round` in this round
    cpu_percent  of one core, since it last said what it used
    memory       bytes of its processes
    approval     whether scripts are approved by hash (auto) or by hand
    sandbox      what confines its jobs, in words
    privacy      what its part has cost so far; None without differential privacy
    facts        whatever its job logged
    """

    name: str
    state: str = UNKNOWN
    reason: str = ""
    told: bool = False
    pid: int | None = None
    samples: int | None = None
    round: int | None = None
    loss: float | None = None
    seconds: float | None = None
    bytes_out: Mapping[str, int] = field(default_factory=dict)
    bytes_round: Mapping[str, int] = field(default_factory=dict)
    cpu_seconds: float | None = None
    cpu_percent: float | None = None
    memory: int | None = None
    approval: str = ""
    sandbox: str = ""
    privacy: OwnerPrivacy | None = None
    facts: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    job: Job | None = None
    requests: tuple[ScriptRequest, ...] = ()

    @property
    def waiting(self) -> tuple[ScriptRequest, ...]:
        """Scripts that wait for its hand."""
        return tuple(request for request in self.requests if not request.decision)


@dataclass(frozen=True, slots=True)
class RoundStatus:
    """A finished round, as the aggregator saw it."""

    number: int
    seconds: float | None = None
    accuracy: float | None = None
    lost: tuple[str, ...] = ()
    states: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FederationStatus:
    """A federated run as it is now. `heard` is whether its coordinator has said anything."""

    heard: bool = False
    aggregation: str = ""
    engine: str = ""
    encryption: str = ""
    visible: str = ""
    phase: str = ""
    waiting_for: tuple[str, ...] = ()
    reason: str = ""
    round: int | None = None
    rounds_total: int | None = None
    threshold: int | None = None
    owners: tuple[OwnerStatus, ...] = ()
    rounds: tuple[RoundStatus, ...] = ()

    @property
    def waiting(self) -> tuple[ScriptRequest, ...]:
        """Scripts that wait for the hand of any owner."""
        return tuple(request for owner in self.owners for request in owner.waiting)

    def over(self) -> FederationStatus:
        """The same once its run has ended: nobody trains or waits any more, whatever was said."""
        owners = tuple(
            replace(owner, requests=(), pid=None, cpu_percent=None, state=_ended(owner.state))
            for owner in self.owners
        )
        return replace(self, owners=owners, waiting_for=())

    def to_json(self, *, private: bool = True) -> dict[str, Any]:
        """For scripts; without `private` all but what owners computed from their data.

        No epsilon covers an owner's `loss` and `facts`. An epsilon in its `privacy` is an upper
        bound: see `OwnerPrivacy`.
        """
        plain = ("aggregation", "engine", "encryption", "visible", "phase", "waiting_for")
        numbers = ("reason", "round", "rounds_total", "threshold")
        return {
            **{key: getattr(self, key) for key in (*plain, *numbers)},
            "owners": [_owner_json(owner, private) for owner in self.owners],
            "rounds": [
                {
                    "number": each.number,
                    "seconds": each.seconds,
                    "accuracy": each.accuracy,
                    "lost": list(each.lost),
                }
                for each in self.rounds
            ],
        }


class FederationReader:
    """Reads what a run's federation says, and only those of its files that changed.

    Args:
        run: the run's folder.
    """

    def __init__(self, run: Path) -> None:
        self._run = run
        self._folder = run / "federation"
        self._coordinator = _File(self._folder / "coordinator.json", MAX_COORDINATOR)
        self._central = FederationStatus()
        self._central_owners: dict[str, tuple[str, str]] = {}
        self._owners_seen: Stamp | None = None
        self._owners: dict[str, _OwnerReader] = {}
        self._found: FederationStatus | None = None

    def read(self) -> FederationStatus | None:
        """What is known now, the same object while nothing changed; None unless federated."""
        if stamp(self._folder) is None:
            return None
        changed = self._found is None
        if self._coordinator.read():
            said = self._coordinator.value
            if said is not None:
                self._central, self._central_owners = _coordinator(said)
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
        if changed or self._found is None:
            self._found = self._joined()
        return self._found

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
            self._own = _status(self._status.value)
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
            told=bool(self._own),
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


def _coordinator(said: dict[str, Any]) -> tuple[FederationStatus, dict[str, tuple[str, str]]]:
    owners: dict[str, tuple[str, str]] = {}
    for each in tolerant.records(said.get("owners"), MOST_OWNERS):
        if name := tolerant.text(each.get("name")):
            owners.setdefault(name, (_state(each.get("state")), tolerant.text(each.get("reason"))))
    rounds: dict[int, RoundStatus] = {}
    listed = said.get("rounds")
    for each in tolerant.records(
        listed[-MOST_ROUNDS:] if isinstance(listed, list) else (), MOST_ROUNDS
    ):
        if (number := tolerant.count(each.get("number"))) is not None:
            states = each.get("states")
            rounds[number] = RoundStatus(
                number,
                tolerant.real(each.get("seconds")),
                tolerant.real(each.get("accuracy")),
                tolerant.texts(each.get("lost")),
                {
                    name: _state(state)
                    for name, state in list(states.items())[:MOST_OWNERS]
                    if name in owners
                }
                if isinstance(states, dict)
                else {},
            )
    central = FederationStatus(
        heard=True,
        aggregation=tolerant.text(said.get("aggregation")),
        engine=tolerant.text(said.get("engine")),
        encryption=tolerant.text(said.get("encryption")),
        visible=tolerant.text(said.get("visible")),
        phase=tolerant.text(said.get("phase")),
        waiting_for=tolerant.texts(said.get("waiting_for")),
        reason=tolerant.text(said.get("reason")),
        round=tolerant.count(said.get("round")),
        rounds_total=tolerant.count(said.get("rounds_total")),
        threshold=tolerant.count(said.get("threshold")),
        rounds=tuple(rounds[number] for number in sorted(rounds)),
    )
    return central, owners


def _status(said: dict[str, Any]) -> dict[str, Any]:
    job = said.get("job")
    facts = said.get("facts")
    return {
        "state": _state(said.get("state")),
        "reason": tolerant.text(said.get("reason")),
        "pid": tolerant.count(said.get("pid")),
        "samples": tolerant.count(said.get("samples")),
        "round": tolerant.count(said.get("round")),
        "loss": tolerant.real(said.get("loss")),
        "seconds": tolerant.real(said.get("seconds")),
        "bytes_out": tolerant.counts(said.get("bytes_out")),
        "bytes_round": tolerant.counts(said.get("bytes_round")),
        "cpu_seconds": tolerant.real(said.get("cpu_seconds")),
        "memory": tolerant.count(said.get("memory")),
        "approval": tolerant.text(said.get("approval")),
        "sandbox": tolerant.text(said.get("sandbox")),
        "privacy": OwnerPrivacy.read(said.get("privacy")),
        "facts": tolerant.facts(facts) if isinstance(facts, dict) else {},
        "job": Job(**{key: tolerant.text(job.get(key)) for key in Job.__dataclass_fields__})
        if isinstance(job, dict)
        else None,
    }


def _owner_json(owner: OwnerStatus, private: bool) -> dict[str, Any]:
    keys = ("name", "pid", "state", "reason", "samples", "round", "loss", "seconds")
    more = ("cpu_seconds", "memory", "approval", "sandbox")
    job = owner.job
    told = {
        **{key: getattr(owner, key) for key in keys},
        "bytes_out": {each: owner.bytes_out.get(each, 0) for each in CLASSES} | {**owner.bytes_out},
        "bytes_round": dict(owner.bytes_round),
        **{key: getattr(owner, key) for key in more},
        "privacy": owner.privacy.to_json() if owner.privacy else None,
        "facts": dict(owner.facts),
        "job": {key: getattr(job, key) for key in Job.__dataclass_fields__} if job else None,
        "waiting": [request.to_json() for request in owner.waiting],
    }
    return told if private else {key: told[key] for key in told if key not in _PRIVATE}


def _ended(state: str) -> str:
    return state if state in ("refused", "lost", UNKNOWN) else "ended"


def _state(value: object) -> str:
    return value if isinstance(value, str) and value in STATES else UNKNOWN
