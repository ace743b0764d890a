"""NVIDIA GPUs and MIG slices, through NVML by way of nvidia-ml-py.

Every figure may be refused: by the model (no power sensor), the mode (no utilization under MIG),
the container or the permissions. Each is asked for by itself and is None when refused.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Collection, Iterator
from typing import Any

from traindeck.core.devices.model import Accelerator, AcceleratorUse, DeviceProcess

LIBRARY = "libnvidia-ml.so.1"
_INITIAL_PID_NAMESPACE = "pid:[4026531836]"  # PROC_PID_INIT_INO in the kernel's proc_ns.h


class NvidiaDriver:
    """The NVIDIA driver of this machine, if there is one. See `model.Driver`."""

    def __init__(self) -> None:
        self._nvml: Any = None
        self._sampled_until: dict[str, int] = {}
        self.notes: tuple[str, ...] = ()
        try:
            self._nvml = _open_nvml()
        except _NoDriver as missing:
            self.notes = (f"NVIDIA: {missing}",)
            return
        count = self._ask("nvmlDeviceGetCount")
        if not count:
            self.notes = ("NVIDIA: the driver is loaded but lists no GPU",)
        elif _in_container():
            self.notes = (
                "NVIDIA: inside a container the driver may not list the processes on a GPU, "
                "or number them as the host does",
            )

    def accelerators(self) -> list[Accelerator]:
        listed = []
        for index, number, handle in self._devices():
            total, used = self._memory(handle)
            listed.append(
                Accelerator(
                    kind="gpu",
                    vendor="nvidia",
                    index=index,
                    slice=number,
                    uuid=self._uuid(handle, index, number),
                    name=self._ask("nvmlDeviceGetName", handle) or "NVIDIA GPU",
                    memory_total_bytes=total,
                    memory_used_bytes=used,
                    split=number is None and self._is_split(handle),
                )
            )
        return listed

    def use(self, only: Collection[str] | None = None) -> list[AcceleratorUse]:
        uses = []
        for index, number, handle in self._devices():
            uuid = self._uuid(handle, index, number)
            if only is not None and uuid not in only:
                continue
            total, used = self._memory(handle)
            rates = self._ask("nvmlDeviceGetUtilizationRates", handle)
            power = self._ask("nvmlDeviceGetPowerUsage", handle)
            limit = self._ask("nvmlDeviceGetEnforcedPowerLimit", handle)
            uses.append(
                AcceleratorUse(
                    kind="gpu",
                    index=index,
                    slice=number,
                    uuid=uuid,
                    utilization_percent=None if rates is None else float(rates.gpu),
                    memory_used_bytes=used,
                    memory_total_bytes=total,
                    power_watts=None if power is None else power / 1000,
                    power_limit_watts=None if limit is None else limit / 1000,
                    temperature_celsius=self._temperature(handle),
                    processes=self._processes(handle, uuid),
                )
            )
        return uses

    def close(self) -> None:
        if self._nvml is not None:
            self._ask("nvmlShutdown")
            self._nvml = None

    def _ask(self, function: str, *arguments: Any) -> Any:
        """What an NVML function returns, or None when it refuses or this library lacks it."""
        if self._nvml is None:
            return None
        try:
            return getattr(self._nvml, function)(*arguments)
        except (self._nvml.NVMLError, self._nvml.NVMLLibraryMismatchError):
            return None
        except (AttributeError, UnicodeDecodeError):
            return None

    def _devices(self) -> Iterator[tuple[int, int | None, Any]]:
        """(index, slice, handle) of each GPU, followed by those of its slices.

        Listed afresh each time: slices come and go while a program runs.
        """
        for index in range(self._ask("nvmlDeviceGetCount") or 0):
            handle = self._ask("nvmlDeviceGetHandleByIndex", index)
            if handle is None:  # fallen off the bus, or not ours to open
                continue
            yield index, None, handle
            if not self._is_split(handle):
                continue
            for number in range(self._ask("nvmlDeviceGetMaxMigDeviceCount", handle) or 0):
                part = self._ask("nvmlDeviceGetMigDeviceHandleByIndex", handle, number)
                if part is not None:
                    yield index, number, part

    def _is_split(self, handle: Any) -> bool:
        mode = self._ask("nvmlDeviceGetMigMode", handle)
        return mode is not None and mode[0] == self._nvml.NVML_DEVICE_MIG_ENABLE

    def _uuid(self, handle: Any, index: int, number: int | None) -> str:
        uuid = self._ask("nvmlDeviceGetUUID", handle)
        return str(uuid or (index if number is None else f"{index}:{number}"))

    def _memory(self, handle: Any) -> tuple[int | None, int | None]:
        """(total, used) in bytes; by the second version of the call, used excludes the reserved."""
        if self._nvml is None:
            return None, None
        info = self._ask("nvmlDeviceGetMemoryInfo", handle, self._nvml.nvmlMemory_v2)
        info = info or self._ask("nvmlDeviceGetMemoryInfo", handle)
        return (None, None) if info is None else (int(info.total), int(info.used))

    def _temperature(self, handle: Any) -> float | None:
        if self._nvml is None:
            return None
        degrees = self._ask("nvmlDeviceGetTemperature", handle, self._nvml.NVML_TEMPERATURE_GPU)
        return None if degrees is None else float(degrees)

    def _processes(self, handle: Any, uuid: str) -> tuple[DeviceProcess, ...] | None:
        lists = [
            self._ask("nvmlDeviceGetComputeRunningProcesses_v3", handle),
            self._ask("nvmlDeviceGetGraphicsRunningProcesses_v3", handle),
        ]
        if lists == [None, None]:
            return None
        memory: dict[int, int | None] = {}
        for process in (process for listed in lists for process in listed or ()):
            memory.setdefault(process.pid, process.usedGpuMemory)
        busy = self._process_utilization(handle, uuid) if memory else {}
        return tuple(DeviceProcess(pid, size, busy.get(pid)) for pid, size in memory.items())

    def _process_utilization(self, handle: Any, uuid: str) -> dict[int, float]:
        """Percent of the multiprocessors, by pid, over what was sampled since the last call."""
        since = self._sampled_until.get(uuid, 0)
        samples = self._ask("nvmlDeviceGetProcessUtilization", handle, since) or ()
        latest: dict[int, tuple[int, float]] = {}
        for sample in samples:
            if sample.timeStamp > max(since, latest.get(sample.pid, (0, 0.0))[0]):
                latest[sample.pid] = (sample.timeStamp, float(sample.smUtil))
        if latest:
            self._sampled_until[uuid] = max(stamp for stamp, _ in latest.values())
        return {pid: percent for pid, (_, percent) in latest.items()}


class _NoDriver(Exception):
    """Why there are no NVIDIA GPUs here, for people."""


def _open_nvml() -> Any:
    """The pynvml module, initialized. Raises _NoDriver."""
    try:
        # Far cheaper than importing the bindings where there is nothing to bind to.
        ctypes.CDLL(LIBRARY)
    except OSError:
        raise _NoDriver(f"no driver (looked for {LIBRARY})") from None
    try:
        import pynvml
    except ImportError:
        raise _NoDriver(f"{LIBRARY} is here but the package nvidia-ml-py is not") from None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise _NoDriver(f"the driver does not answer: {_explain(pynvml, error)}") from None
    return pynvml


def _explain(nvml: Any, error: Exception) -> str:
    if isinstance(error, nvml.NVMLError_LibRmVersionMismatch):
        return "its library and its kernel module differ in version (a reboot mends that)"
    if isinstance(error, nvml.NVMLError_DriverNotLoaded):
        return "its kernel module is not loaded"
    if isinstance(error, nvml.NVMLError_NoPermission):
        return "no permission to use /dev/nvidia*"
    return str(error)


def _in_container() -> bool:
    try:
        return os.readlink("/proc/self/ns/pid") != _INITIAL_PID_NAMESPACE
    except OSError:
        return False
