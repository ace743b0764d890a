"""Who may use which device: no daemon, only files and the kernel's locks.

A slot (one core, one GPU) is held by an exclusive flock on `locks/<slot>`, on a descriptor that the
supervisor, the keeper and the run itself share: the kernel frees it when the last of them has gone.
Whoever must wait keeps `queue/<run id>` locked and asks again; the queue is served in the order of
run ids, and nobody takes a slot that someone before them still needs.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from traindeck.core.base.files import locked
from traindeck.core.base.home import Home


@dataclass(frozen=True, slots=True)
class Claim:
    """`count` of these slots, any of them; none at all for a shared device.

    `labels` are what people call the slots (`cpu:0`, `gpu:1`), in the same order.
    """

    slots: tuple[str, ...]
    count: int
    labels: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        return {"slots": list(self.slots), "count": self.count, "labels": list(self.labels)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Claim:
        return cls(tuple(data["slots"]), int(data["count"]), tuple(data.get("labels", ())))

    @property
    def exact(self) -> bool:
        return self.count == len(self.slots)


@dataclass(frozen=True, slots=True)
class Granted:
    """The slots that are ours, and the descriptors that hold them."""

    slots: tuple[str, ...]
    descriptors: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Our place in the queue (1 is next), and why we wait."""

    place: int
    reason: str


class Place:
    """One run's place in the queue."""

    def __init__(self, home: Home, run_id: str, claim: Claim) -> None:
        self._home = home
        self._id = run_id
        self._claim = claim
        self.entry: int | None = None
        """The descriptor that holds our place while we wait."""

    def try_take(self) -> Granted | Waiting:
        """Take the slots if they are free and nobody before us needs them. Raises OSError."""
        if not self._claim.count:
            return Granted((), ())
        with locked(self._home.locks / "scheduler"):
            self._enter()
            before = self._before()
            held: dict[str, int] = {}
            taken_by: dict[str, str] = {}
            chosen: list[str] = []
            try:
                for slot in self._claim.slots:
                    descriptor = self._try_lock(slot)
                    if descriptor is None:
                        taken_by[slot] = _holder(self._home, slot)
                    else:
                        held[slot] = descriptor
                chosen = self._choose(list(held), [claim for _, claim in before])
            finally:  # whatever goes wrong, what was not taken is free again
                for slot in held.keys() - set(chosen):
                    os.close(held[slot])
            if not chosen:
                return Waiting(len(before) + 1, _why(self._claim, taken_by, before))
            for slot in chosen:
                with contextlib.suppress(OSError):  # a full disk: the lock counts, not the name
                    os.ftruncate(held[slot], 0)
                    os.pwrite(held[slot], self._id.encode(), 0)
            return Granted(tuple(chosen), tuple(held[slot] for slot in chosen))

    def leave(self) -> None:
        """Give up the place in the queue; slots that were granted stay ours."""
        if self.entry is not None:
            with contextlib.suppress(OSError):
                (self._home.queue / self._id).unlink()
            os.close(self.entry)
            self.entry = None

    def _enter(self) -> None:
        if self.entry is None:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            entry = os.open(self._home.queue / self._id, flags, 0o600)
            try:
                fcntl.flock(entry, fcntl.LOCK_EX)
                os.pwrite(entry, json.dumps(self._claim.to_json()).encode(), 0)
            except OSError:
                os.close(entry)
                raise
            self.entry = entry

    def _before(self) -> list[tuple[str, Claim]]:
        """Who waits before us for a slot that we could use."""
        before = []
        for run_id in sorted(os.listdir(self._home.queue)):
            if run_id >= self._id:
                break
            claim = _waiting_claim(self._home.queue / run_id)
            if claim and set(claim.slots) & set(self._claim.slots):
                before.append((run_id, claim))
        return before

    def _choose(self, free: list[str], before: list[Claim]) -> list[str]:
        needed = {slot for claim in before if claim.exact for slot in claim.slots}
        pooled = sum(claim.count for claim in before if not claim.exact)
        usable = [slot for slot in free if slot not in needed]
        if len(usable) - pooled < self._claim.count:
            return []
        return usable[: self._claim.count]

    def _try_lock(self, slot: str) -> int | None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._home.locks / slot, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                return None
            raise
        return descriptor


def holders(home: Home) -> dict[str, str]:
    """Which run holds each slot that is taken now: {slot: run id}."""
    held: dict[str, str] = {}
    try:
        with locked(home.locks / "scheduler"):
            for slot in os.listdir(home.locks):
                if slot != "scheduler" and _is_locked(home.locks / slot):
                    held[slot] = _holder(home, slot)
    except OSError:
        pass
    return held


def _waiting_claim(entry: Path) -> Claim | None:
    """What a queue entry asks for; None, and the entry is removed, when nobody waits there."""
    if not _is_locked(entry):
        with contextlib.suppress(OSError):
            entry.unlink()
        return None
    try:
        return Claim.from_json(json.loads(entry.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _holder(home: Home, slot: str) -> str:
    try:
        return (home.locks / slot).read_text("utf-8", "replace")[:64]
    except OSError:
        return ""


def _why(claim: Claim, taken_by: dict[str, str], before: list[tuple[str, Claim]]) -> str:
    if taken_by:
        labels = dict(zip(claim.slots, claim.labels or claim.slots, strict=True))
        held = ", ".join(
            f"{labels[slot]} is taken by {run or 'another'}" for slot, run in taken_by.items()
        )
        need = "" if claim.exact else f"{claim.count} needed, "
        free = "" if claim.exact else f"{len(claim.slots) - len(taken_by)} free; "
        return f"{need}{free}{held}"
    more = f" and {len(before) - 1} more" if len(before) > 1 else ""
    return f"waits behind {before[0][0]}{more}"
