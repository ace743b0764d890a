"""The processor and the memory: what there is, what this process may use, what is in use."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from traindeck.core.devices.apple import sysctl
from traindeck.core.devices.ranges import parse_ranges

MEASURED_SECONDS = 0.25

_CORES = Path("/sys/devices/system/cpu")


@dataclass(frozen=True, slots=True)
class CpuInfo:
    """One machine's processor, as this process may use it.

    usable_cores   numbers of the logical cores this process may run on
    siblings       for each usable core the lowest number among the logical cores that share its
                   physical core: two equal numbers are hyperthreads of one core
    quota_cores    how many cores' worth of time the cgroup grants, None for all
    """

    model: str
    architecture: str
    physical_cores: int | None
    logical_cores: int
    usable_cores: tuple[int, ...]
    siblings: tuple[int, ...]
    quota_cores: float | None
    memory_total_bytes: int

    @property
    def threads(self) -> int:
        """How many threads are worth starting: the usable cores, or the quota if that is less."""
        usable = len(self.usable_cores)
        return usable if self.quota_cores is None else max(1, min(usable, ceil(self.quota_cores)))


@dataclass(frozen=True, slots=True)
class CpuUse:
    """What the processor is doing. `core_percent` maps each online core's number to its load."""

    percent: float
    core_percent: tuple[tuple[int, float], ...]
    load_average: tuple[float, float, float]
    memory_total_bytes: int
    memory_available_bytes: int


def describe() -> CpuInfo:
    """Look at this machine's processor."""
    usable, online = _usable_cores(), _online_cores()
    siblings = {core: _first_sibling(core) for core in {*usable, *online}}
    return CpuInfo(
        model=_model(),
        architecture=os.uname().machine,
        physical_cores=_physical_cores(siblings),
        logical_cores=len(online),
        usable_cores=usable,
        siblings=tuple(siblings[core] for core in usable),
        quota_cores=quota_cores(),
        memory_total_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
    )


class CpuSampler:
    """Load since the sample before; zero on the first.

    A core's load is measured over at least `MEASURED_SECONDS`: of fewer clock ticks, one is a lot.
    Until so many have passed it is what it was.
    """

    def __init__(self) -> None:
        import psutil

        self._psutil = psutil
        self._before: dict[int, tuple[float, float]] = {}
        self._spent: dict[int, tuple[float, float]] = {}

    def sample(self) -> CpuUse:
        now = dict(zip(_online_cores(), self._core_seconds(), strict=False))
        spent: dict[int, tuple[float, float]] = {}
        for core, (busy, total) in now.items():
            busy_before, total_before = self._before.setdefault(core, (busy, total))
            if total - total_before >= MEASURED_SECONDS:
                spent[core] = busy - busy_before, total - total_before
                self._before[core] = busy, total
            elif core in self._spent:
                spent[core] = self._spent[core]
        self._before = {core: self._before[core] for core in now}
        self._spent = spent
        memory = self._psutil.virtual_memory()
        return CpuUse(
            percent=_percent(sum(b for b, _ in spent.values()), sum(t for _, t in spent.values())),
            core_percent=tuple((core, _percent(*spent.get(core, (0.0, 0.0)))) for core in now),
            load_average=os.getloadavg(),
            memory_total_bytes=int(memory.total),
            memory_available_bytes=int(memory.available),
        )

    def _core_seconds(self) -> list[tuple[float, float]]:
        """(busy, all) seconds since boot of each online core. Guests' time is within user's."""
        seconds = []
        for times in self._psutil.cpu_times(percpu=True):
            counted = times._asdict()
            counted.pop("guest", None)
            counted.pop("guest_nice", None)
            total = sum(counted.values())
            seconds.append((total - counted["idle"] - counted.get("iowait", 0.0), total))
        return seconds


def _percent(busy: float, total: float) -> float:
    return 0.0 if total <= 0 else max(0.0, min(100.0, 100.0 * busy / total))


def _usable_cores() -> tuple[int, ...]:
    if sys.platform == "linux":
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))


def _online_cores() -> tuple[int, ...]:
    try:
        return parse_ranges((_CORES / "online").read_text())
    except (OSError, ValueError):
        return tuple(range(os.cpu_count() or 1))


def _first_sibling(core: int) -> int:
    try:
        return parse_ranges((_CORES / f"cpu{core}/topology/thread_siblings_list").read_text())[0]
    except (OSError, ValueError):
        return core


def _physical_cores(siblings: dict[int, int]) -> int | None:
    if sys.platform == "linux":
        return len(set(siblings.values()))
    count = sysctl("hw.physicalcpu")
    return int(count) if count and count.isdecimal() else None


def _model() -> str:
    if sys.platform == "darwin":
        return sysctl("machdep.cpu.brand_string") or os.uname().machine
    try:
        with Path("/proc/cpuinfo").open(errors="replace") as lines:
            for line in lines:
                label, _, value = line.partition(":")
                if label.strip() in ("model name", "Model", "cpu") and value.strip():
                    return value.strip()
    except OSError:
        pass
    return os.uname().machine


def quota_cores(
    membership: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")
) -> float | None:
    """Cores' worth of CPU time granted by the cgroup this process is in, or None for no limit.

    The strictest of its own group's limit and those of all groups above, version 2 (cpu.max) and
    version 1 (cpu.cfs_quota_us) alike: admin-guide/cgroup-v2 and scheduler/sched-bwc in the
    kernel's documentation.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return None
    limits = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            bases = [mount, mount / "unified"]
        elif "cpu" in controllers.split(","):
            bases = [mount / "cpu", mount / "cpu,cpuacct"]
        else:
            continue
        group = Path(path.lstrip("/"))
        for base in bases:
            for level in (group, *group.parents):
                limits.append(_limit_v2(base / level) or _limit_v1(base / level))
    return min((limit for limit in limits if limit), default=None)


def _limit_v2(group: Path) -> float | None:
    try:
        quota, period = (group / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _limit_v1(group: Path) -> float | None:
    try:
        quota = int((group / "cpu.cfs_quota_us").read_text())
        return None if quota <= 0 else quota / int((group / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError, ZeroDivisionError):
        return None
