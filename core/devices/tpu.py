"""Google TPUs, through the library inside the tpu-info package.

The package tpu-info: `tpu_info.device` reads what chips there are, `tpu_info.metrics`
asks the libtpu of the process that trains on them, which therefore answers only while one does.
"""

from __future__ import annotations

import glob
import socket
from collections.abc import Collection
from typing import Any

from traindeck.core.devices.model import Accelerator, AcceleratorUse

DEVICE_FILES = ("/dev/accel[0-9]*", "/dev/vfio/[0-9]*")
_METRICS_PORT = 8431  # where libtpu serves its metrics


class TpuDriver:
    """The TPU chips of this machine, if any. See `model.Driver`."""

    def __init__(self) -> None:
        self._chip: Any = None
        self._count = 0
        self.notes: tuple[str, ...] = ()
        if not any(glob.glob(pattern) for pattern in DEVICE_FILES):
            self.notes = ("TPU: none (looked for /dev/accel* and /dev/vfio/*)",)
            return
        try:
            from tpu_info import device

            self._chip, self._count = device.get_local_chips()
        except ImportError:
            self.notes = (
                "TPU: /dev/accel* or /dev/vfio/* is here but the Python package tpu-info is not",
            )
        except Exception as error:  # it asserts, and reads /sys unguarded
            self.notes = (f"TPU: tpu-info does not work here ({type(error).__name__}: {error})",)
        else:
            if not self._count:
                self.notes = ("TPU: none (looked for Google's chips on the PCI bus)",)

    def accelerators(self) -> list[Accelerator]:
        return [
            Accelerator(
                kind="tpu",
                vendor="google",
                index=index,
                uuid=str(index),
                name=str(self._chip),
                memory_total_bytes=self._memory_per_chip(),
            )
            for index in range(self._count)
        ]

    def use(self, only: Collection[str] | None = None) -> list[AcceleratorUse]:
        per_chip: dict[int, list[Any]] = {}
        for usage in self._usages():
            per_chip.setdefault(usage.device_id // self._chip.value.devices_per_chip, []).append(
                usage
            )
        return [
            _chip_use(index, per_chip.get(index, []), self._memory_per_chip())
            for index in range(self._count)
            if only is None or str(index) in only
        ]

    def close(self) -> None:
        self._chip, self._count = None, 0

    def _memory_per_chip(self) -> int | None:
        gibibytes = getattr(getattr(self._chip, "value", None), "hbm_gib", None)
        return None if gibibytes is None else int(gibibytes) << 30

    def _usages(self) -> list[Any]:
        """One entry for each device (core) of each chip, or nothing while no program trains."""
        if not self._count or not _listens(_METRICS_PORT):
            return []
        try:
            from tpu_info import metrics

            return list(metrics.get_chip_usage(self._chip))
        except Exception:  # grpc's errors, asserts on partial answers
            return []


def _chip_use(index: int, cores: list[Any], total: int | None) -> AcceleratorUse:
    return AcceleratorUse(
        kind="tpu",
        index=index,
        uuid=str(index),
        utilization_percent=max((float(core.duty_cycle_pct) for core in cores), default=None),
        memory_used_bytes=sum(int(core.memory_usage) for core in cores) if cores else None,
        memory_total_bytes=sum(int(core.total_memory) for core in cores) if cores else total,
    )


def _listens(port: int) -> bool:
    # The library's call has no time limit of its own: ask only where something answers.
    try:
        socket.create_connection(("localhost", port), timeout=0.2).close()
    except OSError:
        return False
    return True
