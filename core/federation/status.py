"""What a federation says of itself: the aggregator of all, and each owner of itself.

    <run>/federation/coordinator.json           the aggregator's view: phase, rounds, states
    <run>/federation/owners/<name>/status.json  the owner's own; the aggregator never sees it,
                                                but for whether the owner is up

Both are JSON objects, written by `Coordinator` and `OwnerFile`, and read by `federation_of` and
`owner_of`. Each is replaced whole, at most ten times a second unless a state has changed. What is
in them comes from several parties: all that is not as it should be counts as not said, and nothing
here raises for what a file holds.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from traindeck.core.base import tolerant
from traindeck.core.federation.inbox import MOST_OWNERS, ScriptRequest
from traindeck.core.federation.privacy import OwnerPrivacy

State = Literal["warming", "waiting", "approved", "training", "sent", "refused", "lost", "ended"]
"""Of an owner."""
Phase = Literal["warming", "peers", "approval", "keys", "training", "done", "failed"]
"""Of a federation."""
ByteClass = Literal["ciphertext", "masked", "metadata", "mock", "raw"]
"""Of bytes that leave an owner: sealed to one reader or CKKS; sealed and masked besides; plain
facts (names, versions, public keys, states of jobs); the public stand-in for the data; private
values in the clear, of which there are none unless encryption was switched off. Shares that jobs
send each other inside TLS are ciphertext, as the script's library counted them: the owner does not
see them leave."""
STATES: tuple[State, ...] = get_args(State)
PHASES: tuple[Phase, ...] = get_args(Phase)
CLASSES: tuple[ByteClass, ...] = get_args(ByteClass)
UNKNOWN = "unknown"
"""An owner's state while nobody has told one."""
EVERY = 0.1
"""Seconds between two writings in which no state has changed."""
MOST_ROUNDS = 10_000
_PRIVATE = ("loss", "facts")
_ACCOUNTED = (*_PRIVATE, "samples")
"""What owners of a private run computed from their data; how many records they have is of it."""


# Written


@dataclass
class _Replaced:
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
class Coordinator(_Replaced):
    """The aggregator's view of all: phases are in words on the screen."""

    aggregation: str
    engine: str
    encryption: str
    visible: str
    rounds_total: int
    threshold: int = 0
    phase: Phase = "warming"
    waiting_for: list[str] = field(default_factory=list)
    reason: str = ""
    round: int = 0
    owners: list[dict[str, str]] = field(default_factory=list)
    rounds: list[dict[str, Any]] = field(default_factory=list)

    def owner(self, name: str, state: State, reason: str = "") -> None:
        """Set an owner's state, and why."""
        for owner in self.owners:
            if owner["name"] == name:
                owner.update(state=state, reason=reason or owner.get("reason", ""))

    def reason_of(self, name: str) -> str:
        """Why an owner is in its state, as far as it was told."""
        return next((owner["reason"] for owner in self.owners if owner["name"] == name), "")

    def enter(self, phase: Phase, waiting_for: list[str] | None = None, reason: str = "") -> None:
        """Go on to a phase, or say anew who is waited for in it."""
        now = (phase, waiting_for or []) != (self.phase, self.waiting_for)
        self.phase, self.waiting_for, self.reason = phase, waiting_for or [], reason
        self.write(now=now)


@dataclass
class OwnerFile(_Replaced):
    """What one owner knows of itself.

    approval  of scripts: auto or hand; empty where nobody approves any
    privacy   what its part has cost so far; None without differential privacy
    job       fields of a `JobStatus`; none before there was one
    """

    name: str
    pid: int = field(default_factory=os.getpid)
    started: float = field(default_factory=time.time)
    samples: int = 0
    state: State = "warming"
    reason: str = ""
    round: int = 0
    loss: float | None = None
    seconds: float | None = None
    bytes_out: dict[ByteClass, int] = field(default_factory=lambda: dict.fromkeys(CLASSES, 0))
    bytes_round: dict[ByteClass, int] = field(default_factory=dict)
    cpu_seconds: float = 0.0
    memory: int = 0
    approval: str = "auto"
    sandbox: str = ""
    privacy: OwnerPrivacy | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    job: dict[str, str] = field(default_factory=dict)

    def enter(self, state: State, reason: str = "") -> None:
        """Go on to a state, or say anew why it is in it."""
        now = (state, reason) != (self.state, self.reason)
        self.state, self.reason = state, reason
        self.write(now=now)

    def left(self, kind: ByteClass, size: int) -> None:
        """Bytes of a class have left this owner."""
        self.bytes_out[kind] += size
        self.bytes_round[kind] = self.bytes_round.get(kind, 0) + size


# Read


@dataclass(frozen=True, slots=True)
class JobStatus:
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

    heard        whether it has said anything itself
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
    heard: bool = False
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
    job: JobStatus | None = None
    requests: tuple[ScriptRequest, ...] = ()

    @property
    def waiting(self) -> tuple[ScriptRequest, ...]:
        """Scripts that wait for its hand."""
        return tuple(request for request in self.requests if not request.decision)


@dataclass(frozen=True, slots=True)
class RoundStatus:
    """A finished round, as the aggregator saw it.

    clipping_norm  what updates were clipped to, where that moves by noisy counts
    """

    number: int
    seconds: float | None = None
    accuracy: float | None = None
    lost: tuple[str, ...] = ()
    states: Mapping[str, str] = field(default_factory=dict)
    clipping_norm: float | None = None


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

        No epsilon covers an owner's `loss` and `facts`, nor its `samples`, which are left out of a
        private run alone. An epsilon in its `privacy` is an upper
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
                    **({} if each.clipping_norm is None else {"clipping_norm": each.clipping_norm}),
                }
                for each in self.rounds
            ],
        }


def federation_of(said: dict[str, Any]) -> tuple[FederationStatus, dict[str, tuple[str, str]]]:
    """What a coordinator.json says, and of each owner its state and the reason for it."""
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
                tolerant.real(each.get("clipping_norm")),
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


def owner_of(said: dict[str, Any]) -> dict[str, Any]:
    """What a status.json says: fields of `OwnerStatus` by their names."""
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
        "job": JobStatus(
            **{key: tolerant.text(job.get(key)) for key in JobStatus.__dataclass_fields__}
        )
        if isinstance(job, dict)
        else None,
    }


def _owner_json(owner: OwnerStatus, private: bool) -> dict[str, Any]:
    keys = ("name", "pid", "state", "reason", "samples", "round", "loss", "seconds")
    more = ("cpu_seconds", "memory", "approval", "sandbox")
    job = owner.job
    facts = {
        **{key: getattr(owner, key) for key in keys},
        "bytes_out": {each: owner.bytes_out.get(each, 0) for each in CLASSES} | {**owner.bytes_out},
        "bytes_round": dict(owner.bytes_round),
        **{key: getattr(owner, key) for key in more},
        "privacy": owner.privacy.to_json() if owner.privacy else None,
        "facts": dict(owner.facts),
        "job": {key: getattr(job, key) for key in JobStatus.__dataclass_fields__} if job else None,
        "waiting": [request.to_json() for request in owner.waiting],
    }
    left_out = () if private else _ACCOUNTED if owner.privacy else _PRIVATE
    return {key: facts[key] for key in facts if key not in left_out}


def _ended(state: str) -> str:
    return state if state in ("refused", "lost", UNKNOWN) else "ended"


def _state(value: object) -> str:
    return value if isinstance(value, str) and value in STATES else UNKNOWN
