"""Everything this machine can train on, and a sampler of what it is doing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from traindeck.core.devices.cpu import CpuInfo, CpuSampler, CpuUse, describe
from traindeck.core.devices.model import Accelerator, AcceleratorUse, Driver, to_plain


@dataclass(frozen=True, slots=True)
class Inventory:
    """What there is. `notes` has a line for each driver that is absent or cannot tell something."""

    cpu: CpuInfo
    accelerators: tuple[Accelerator, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def gpus(self) -> tuple[Accelerator, ...]:
        return tuple(found for found in self.accelerators if found.kind == "gpu")

    @property
    def tpus(self) -> tuple[Accelerator, ...]:
        return tuple(found for found in self.accelerators if found.kind == "tpu")

    def find(self, uuid: str) -> Accelerator | None:
        return next((found for found in self.accelerators if found.uuid == uuid), None)

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = to_plain(self)
        return plain


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What everything is doing. `time` is unix seconds."""

    time: float
    cpu: CpuUse
    accelerators: tuple[AcceleratorUse, ...]

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = to_plain(self)
        return plain


def discover(*, accelerators: bool = True) -> Inventory:
    """Look at the machine once. A CPU run needs no accelerators: then no driver is touched."""
    if not accelerators:
        return Inventory(describe())
    drivers = _open()
    try:
        return _inventory(drivers)
    finally:
        for driver in drivers:
            driver.close()


class DeviceSampler:
    """Live figures, for one thread at a time to ask for. Close it when the screen goes.

    `inventory` is what there was when it was made.
    """

    def __init__(self) -> None:
        self._drivers = _open()
        self._cpu = CpuSampler()
        self.inventory = _inventory(self._drivers)

    def sample(self) -> Snapshot:
        """What everything is doing now; loads are since the sample before."""
        uses = tuple(_numbered([driver.use() for driver in self._drivers]))
        return Snapshot(time.time(), self._cpu.sample(), uses)

    def close(self) -> None:
        for driver in self._drivers:
            driver.close()


def _open() -> list[Driver]:
    # A CPU run is started without any of them.
    from traindeck.core.devices.amd import AmdDriver
    from traindeck.core.devices.apple import AppleDriver
    from traindeck.core.devices.nvidia import NvidiaDriver
    from traindeck.core.devices.tpu import TpuDriver

    return [NvidiaDriver(), AmdDriver(), TpuDriver(), AppleDriver()]


def _inventory(drivers: Sequence[Driver]) -> Inventory:
    found = tuple(_numbered([driver.accelerators() for driver in drivers]))
    return Inventory(describe(), found, tuple(note for driver in drivers for note in driver.notes))


T = TypeVar("T", Accelerator, AcceleratorUse)


def _numbered(lists: list[list[T]]) -> Iterator[T]:
    """All of them, with the GPUs of the second maker numbered on from those of the first."""
    offset = 0
    for found in lists:
        for item in found:
            yield replace(item, index=item.index + offset) if item.kind == "gpu" else item
        offset += max((item.index + 1 for item in found if item.kind == "gpu"), default=0)
