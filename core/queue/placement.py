"""Where a run goes: what it claims before it starts, and what it is given when it does."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from traindeck.core.base.errors import MissingError, UsageError
from traindeck.core.queue.slots import Claim

SHARED = "cpu"


@dataclass(frozen=True, slots=True)
class Placement:
    """What a run was given: cores to be pinned to (None: all), GPUs by UUID, and variables."""

    label: str
    cores: tuple[int, ...] | None
    gpus: tuple[str, ...]
    environment: dict[str, str]


def claim(on: str, kinds: Collection[str]) -> Claim:
    """What a run on this device must hold; `kinds` are those its recipe can use, all if empty.

    Raises UsageError for what is no device or not the recipe's, MissingError for what this
    machine does not have.
    """
    if on == SHARED and (not kinds or "cpu" in kinds):
        return Claim((), 0)
    from traindeck.core.devices.inventory import discover
    from traindeck.core.devices.request import parse_request

    request = parse_request(on)
    if kinds and request.kind not in kinds:
        raise UsageError(f"this recipe runs on {', '.join(kinds)}, not on {request.kind}")
    inventory = discover(accelerators=request.kind != "cpu")
    candidates = request.candidates(inventory)
    labels = {item.slot: item.label for item in (*inventory.gpus, *inventory.tpus)}
    return Claim(
        candidates.slots,
        candidates.count,
        tuple(labels.get(slot) or slot.replace("-", ":") for slot in candidates.slots),
    )


def place(on: str, slots: Collection[str]) -> Placement:
    """What the run gets with these slots. Raises MissingError when a device has gone."""
    from traindeck.core.devices.assignment import Wait, environment
    from traindeck.core.devices.inventory import discover
    from traindeck.core.devices.request import assign, parse_request

    request = parse_request(on)
    inventory = discover(accelerators=request.kind != "cpu")
    given = assign(request, slots, inventory)
    if isinstance(given, Wait):
        raise MissingError(f"{on} is not there any more: {given.reason}")
    return Placement(given.label, given.cores, given.gpus, environment(given, inventory))
