"""Everything this machine can train on, and a sampler of what it is doing."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import cache
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
        return tuple(each for each in self.accelerators if each.kind == "gpu")

    @property
    def tpus(self) -> tuple[Accelerator, ...]:
        return tuple(each for each in self.accelerators if each.kind == "tpu")

    def find(self, uuid: str) -> Accelerator | None:
        return next((each for each in self.accelerators if each.uuid == uuid), None)

    def to_json(self) -> dict[str, Any]:
        plain: dict[str, Any] = to_plain(self)
        return plain


@dataclass(frozen=True, slots=True)
class MachineSnapshot:
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
    drivers = _Drivers()
    try:
        return drivers.inventory()
    finally:
        drivers.close()


class DeviceSampler:
    """Live figures, for one thread at a time to ask for. Close it when the screen goes.

    `inventory` is what there was when it was made.
    """

    def __init__(self) -> None:
        self._drivers = _Drivers()
        self._cpu = CpuSampler()
        self.inventory = self._drivers.inventory()

    def sample(self) -> MachineSnapshot:
        """What everything is doing now; loads are since the sample before."""
        return MachineSnapshot(time.time(), self._cpu.sample(), tuple(self._drivers.use()))

    def close(self) -> None:
        self._drivers.close()


def sample_gpus(uuids: Collection[str]) -> dict[str, float]:
    """What these GPUs are doing, as the series of a run's device.bin; what is not told is absent.

    For the supervisor, once a second: the drivers stay open from the first call on. A slice bears
    the number of its GPU.
    """
    values = {}
    for use in _open_once().use(uuids):
        figures = {
            "utilization_percent": use.utilization_percent,
            "memory_bytes": use.memory_used_bytes,
            "power_watts": use.power_watts,
            "temperature_celsius": use.temperature_celsius,
        }
        for name, value in figures.items():
            if value is not None:
                values[f"gpu{use.index}/{name}"] = float(value)
    return values


class _Drivers:
    """All makers' drivers as one, their GPUs numbered on from maker to maker."""

    def __init__(self) -> None:
        # A CPU run is started without any of them.
        from traindeck.core.devices.amd import AmdDriver
        from traindeck.core.devices.apple import AppleDriver
        from traindeck.core.devices.nvidia import NvidiaDriver
        from traindeck.core.devices.tpu import TpuDriver

        self._numbered: list[tuple[int, Driver]] = []
        self._accelerators: list[Accelerator] = []
        first = 0
        drivers: list[Driver] = [NvidiaDriver(), AmdDriver(), AppleDriver(), TpuDriver()]
        for driver in drivers:
            accelerators = driver.accelerators()
            self._numbered.append((first, driver))
            self._accelerators += [_shift(each, first) for each in accelerators]
            first += max((each.index + 1 for each in accelerators if each.kind == "gpu"), default=0)

    def inventory(self) -> Inventory:
        notes = tuple(note for _, driver in self._numbered for note in driver.notes)
        return Inventory(describe(), tuple(self._accelerators), notes)

    def use(self, only: Collection[str] | None = None) -> Iterator[AcceleratorUse]:
        for first, driver in self._numbered:
            yield from (_shift(use, first) for use in driver.use(only))

    def close(self) -> None:
        for _, driver in self._numbered:
            driver.close()


_open_once = cache(_Drivers)

T = TypeVar("T", Accelerator, AcceleratorUse)


def _shift(item: T, first: int) -> T:
    return replace(item, index=item.index + first) if item.kind == "gpu" and first else item
