"""The words for hardware: what there is, and what it is doing right now.

Plain frozen data. A value that a driver does not tell is None, never a guess and never zero.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal, Protocol

Kind = Literal["gpu", "tpu"]
Vendor = Literal["nvidia", "amd", "google", "apple"]


@dataclass(frozen=True, slots=True)
class Accelerator:
    """A GPU, a slice of one (MIG), or a TPU chip.

    index   as `--on gpu:0` counts: over all vendors, NVIDIA first, in the order of nvidia-smi
    slice   the number of a MIG slice within its GPU, None for a whole device
    split   a GPU in MIG mode: only its slices can be trained on
    memory_used_bytes   when it was looked at
    """

    kind: Kind
    vendor: Vendor
    index: int
    uuid: str
    name: str
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None
    slice: int | None = None
    split: bool = False

    @property
    def label(self) -> str:
        """How people and `--on` name it: gpu:0, gpu:0:1 (slice 1 of GPU 0), tpu:0."""
        return _label(self.kind, self.index, self.slice)

    @property
    def slot(self) -> str:
        """The name of its claim, safe as a file name."""
        return f"{self.kind}-{self.uuid}".replace("/", "_")


@dataclass(frozen=True, slots=True)
class DeviceProcess:
    """A process on an accelerator, in the numbering of the pid namespace the driver reports."""

    pid: int
    memory_bytes: int | None = None
    utilization_percent: float | None = None


@dataclass(frozen=True, slots=True)
class AcceleratorUse:
    """What one accelerator is doing. `processes` is None when the driver cannot list them."""

    kind: Kind
    index: int
    uuid: str
    slice: int | None = None
    utilization_percent: float | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    temperature_celsius: float | None = None
    processes: tuple[DeviceProcess, ...] | None = None

    @property
    def label(self) -> str:
        """As of the `Accelerator` with the same uuid."""
        return _label(self.kind, self.index, self.slice)


def _label(kind: Kind, index: int, slice_: int | None) -> str:
    return f"{kind}:{index}" if slice_ is None else f"{kind}:{index}:{slice_}"


class Driver(Protocol):
    """What the inventory asks of each maker's library. No method raises or prints."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Single lines for people: what was looked for and not found, what cannot be told."""

    def accelerators(self) -> list[Accelerator]:
        """What there is, numbered from 0 within this driver."""

    def use(self, only: Collection[str] | None = None) -> list[AcceleratorUse]:
        """What it is doing now, in the same order; of these UUIDs alone if any are given."""

    def close(self) -> None:
        """Let go of the library. The driver then finds nothing."""


def to_plain(value: Any) -> Any:
    """Dataclasses to dicts and tuples to lists, all the way down: what json can write.

    Accelerators gain their label, by which `--on` takes them.
    """
    if is_dataclass(value) and not isinstance(value, type):
        plain = {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
        if isinstance(value, (Accelerator, AcceleratorUse)):
            plain["label"] = value.label
        return plain
    if isinstance(value, (tuple, list)):
        return [to_plain(item) for item in value]
    return value
