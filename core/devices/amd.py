"""AMD GPUs, through ROCm's own amdsmi package.

https://rocm.docs.amd.com/projects/amdsmi/en/latest/reference/amdsmi-py-api.html. The package prints
and raises all kinds of things where ROCm is absent or older than it, so nothing it does is trusted:
it is imported only where the kernel driver is, with its output swallowed.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Collection
from pathlib import Path
from typing import Any

from traindeck.core.devices.model import Accelerator, AcceleratorUse, DeviceProcess

KERNEL_DRIVER = Path("/dev/kfd")


class AmdDriver:
    """The AMD driver of this machine, if there is one. See `model.Driver`."""

    def __init__(self) -> None:
        self._smi: Any = None
        self._handles: list[Any] = []
        self.notes: tuple[str, ...] = ()
        if not KERNEL_DRIVER.exists():
            self.notes = (f"AMD: no driver (looked for {KERNEL_DRIVER})",)
            return
        try:
            with (
                contextlib.redirect_stdout(io.StringIO()),
                contextlib.redirect_stderr(io.StringIO()),
            ):
                import amdsmi

                amdsmi.amdsmi_init()
                self._handles = list(amdsmi.amdsmi_get_processor_handles())
        except ImportError:
            self.notes = (
                f"AMD: {KERNEL_DRIVER} is here but the Python package amdsmi is not: "
                "install the one in /opt/rocm/share/amd_smi",
            )
            return
        except Exception as error:  # KeyError, OSError, AttributeError, its own: see above
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            self.notes = (f"AMD: amdsmi does not work here ({reason})",)
            return
        self._smi = amdsmi
        if not self._handles:
            self.notes = ("AMD: the driver is loaded but lists no GPU",)

    def accelerators(self) -> list[Accelerator]:
        listed = []
        for index, handle in enumerate(self._handles):
            asic = self._ask("amdsmi_get_gpu_asic_info", handle) or {}
            name = str(asic.get("market_name", "N/A"))
            total, used = self._memory(handle)
            listed.append(
                Accelerator(
                    kind="gpu",
                    vendor="amd",
                    index=index,
                    uuid=self._uuid(handle, index),
                    name="AMD GPU" if name == "N/A" else name,
                    memory_total_bytes=total,
                    memory_used_bytes=used,
                )
            )
        return listed

    def use(self, only: Collection[str] | None = None) -> list[AcceleratorUse]:
        uses = []
        for index, handle in enumerate(self._handles):
            uuid = self._uuid(handle, index)
            if only is not None and uuid not in only:
                continue
            total, used = self._memory(handle)
            activity = self._ask("amdsmi_get_gpu_activity", handle) or {}
            power = self._ask("amdsmi_get_power_info", handle) or {}
            uses.append(
                AcceleratorUse(
                    kind="gpu",
                    index=index,
                    uuid=uuid,
                    utilization_percent=_number(activity.get("gfx_activity")),
                    memory_used_bytes=used,
                    memory_total_bytes=total,
                    # The first is told by MI300 and later, the second by what came before.
                    power_watts=_watts(power.get("current_socket_power"))
                    or _watts(power.get("average_socket_power")),
                    power_limit_watts=self._power_limit(handle),
                    temperature_celsius=self._temperature(handle),
                    processes=self._processes(handle),
                )
            )
        return uses

    def close(self) -> None:
        if self._smi is not None:
            self._ask("amdsmi_shut_down")
            self._smi, self._handles = None, []

    def _ask(self, function: str, *arguments: Any) -> Any:
        try:
            return getattr(self._smi, function)(*arguments)
        except Exception:  # an unsupported figure, whatever this release of it raises then
            return None

    def _uuid(self, handle: Any, index: int) -> str:
        """As ROCR_VISIBLE_DEVICES takes it where the library tells ("GPU-…"), else its own."""
        listed = self._ask("amdsmi_get_gpu_enumeration_info", handle) or {}
        rocr = str(listed.get("hip_uuid", ""))
        if rocr.startswith("GPU-") and not rocr.startswith("GPU-XX"):
            return rocr
        return str(self._ask("amdsmi_get_gpu_device_uuid", handle) or f"amd-{index}")

    def _memory(self, handle: Any) -> tuple[int | None, int | None]:
        """(total, used) in bytes. amdsmi_get_gpu_vram_usage counts in MiB, these two in bytes."""
        if self._smi is None:
            return None, None
        kinds = getattr(self._smi, "AmdSmiMemoryType", None)
        vram = getattr(kinds, "VRAM", None)
        total = _number(self._ask("amdsmi_get_gpu_memory_total", handle, vram))
        used = _number(self._ask("amdsmi_get_gpu_memory_usage", handle, vram))
        return None if total is None else int(total), None if used is None else int(used)

    def _power_limit(self, handle: Any) -> float | None:
        caps = self._ask("amdsmi_get_power_cap_info", handle) or {}
        microwatts = _number(caps.get("power_cap"))
        return None if microwatts is None else microwatts / 1_000_000

    def _temperature(self, handle: Any) -> float | None:
        sensors = getattr(self._smi, "AmdSmiTemperatureType", None)
        metrics = getattr(self._smi, "AmdSmiTemperatureMetric", None)
        for sensor in ("EDGE", "HOTSPOT"):
            degrees = _number(
                self._ask(
                    "amdsmi_get_temp_metric",
                    handle,
                    getattr(sensors, sensor, None),
                    getattr(metrics, "CURRENT", None),
                )
            )
            if degrees is not None:  # some releases pass on the kernel's thousandths
                return degrees / 1000 if degrees >= 1000 else degrees
        return None

    def _processes(self, handle: Any) -> tuple[DeviceProcess, ...] | None:
        listed = self._ask("amdsmi_get_gpu_process_list", handle)
        if listed is None:
            return None
        processes = []
        for process in listed:
            pid = _number(process.get("pid"))
            memory = _number((process.get("memory_usage") or {}).get("vram_mem"))
            if pid:
                processes.append(DeviceProcess(int(pid), None if memory is None else int(memory)))
        return tuple(processes)


def _watts(value: object) -> float | None:
    """Watts; some releases pass on the all-ones that the C library means "not told" by."""
    watts = _number(value)
    return None if watts is None or watts >= 0xFFFF else watts


def _number(value: object) -> float | None:
    """A figure, or None for the "N/A" that stands for an absent one."""
    return float(value) if isinstance(value, (int, float)) else None
