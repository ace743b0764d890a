"""Where a run goes: what it claims, and what it is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from traindeck.core.scheduler import Claim


@dataclass(frozen=True, slots=True)
class Taken:
    label: str
    cores: tuple[int, ...] | None
    gpus: tuple[str, ...]
    environment: dict[str, str]


@dataclass(frozen=True, slots=True)
class Wanted:
    slots: tuple[str, ...] = ()
    count: int = 0

    def to_json(self) -> dict[str, Any]:
        return {"slots": list(self.slots), "count": self.count}


def claim(on: str, devices: tuple[str, ...]) -> Wanted:
    return Wanted()


def load_claim(data: dict[str, Any]) -> Claim:
    return Claim(tuple(data["slots"]), data["count"])


def placed(on: str, data: dict[str, Any], slots: tuple[str, ...]) -> Taken:
    return Taken(on, None, (), {})
