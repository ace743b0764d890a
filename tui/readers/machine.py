"""What the machine and the runs on it are doing, read by one thread, handed over as values."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from traindeck.core.base.home import Home
from traindeck.core.catalogue.document import RunDoc
from traindeck.core.devices.cpu import MEASURED_SECONDS
from traindeck.core.devices.inventory import DeviceSampler, Inventory, MachineSnapshot
from traindeck.core.queue.slots import holders
from traindeck.core.run.follow import PointTail
from traindeck.tui.readers.device_history import DeviceCollector, DeviceHistory

HISTORY = 60
"""Samples kept for the small curves: a minute's worth."""

_FIRST_LOOK = 1.2 * MEASURED_SECONDS
"""Seconds to measure a load over before anything is shown."""


@dataclass(frozen=True, slots=True)
class Machine:
    """One look at everything.

    loads   percent, oldest first: of all cores under "cpu", of a core under "cpu-<number>", of an
            accelerator under its UUID; None where the driver does not tell
    taken   for each slot that is held, the run's id
    use     what the supervisors sampled of the live runs' process trees, by run id
    """

    inventory: Inventory
    now: MachineSnapshot
    loads: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    taken: Mapping[str, str] = field(default_factory=dict)
    use: Mapping[str, DeviceHistory] = field(default_factory=dict)


class MachineReader:
    """Takes the looks. Belongs to one thread; close it when nobody looks any more."""

    def __init__(self, home: Home, history: int = HISTORY) -> None:
        self._home = home
        self._sampler = DeviceSampler()
        self._loads: dict[str, deque[float | None]] = {}
        self._history = history
        self._runs: dict[str, tuple[PointTail, DeviceCollector]] = {}
        self._sampler.sample()  # loads are since the sample before

    def read(self, runs: Sequence[RunDoc]) -> Machine:
        """Look once; `runs` are those whose processes to look at."""
        now = self._sampler.sample()
        self._remember("cpu", now.cpu.percent)
        for core, percent in now.cpu.core_percent:
            self._remember(f"cpu-{core}", percent)
        for use in now.accelerators:
            self._remember(use.uuid, use.utilization_percent)
        return Machine(
            self._sampler.inventory,
            now,
            {name: tuple(loads) for name, loads in self._loads.items()},
            holders(self._home),
            self._follow(runs),
        )

    def close(self) -> None:
        self._sampler.close()

    def _remember(self, name: str, load: float | None) -> None:
        self._loads.setdefault(name, deque(maxlen=self._history)).append(load)

    def _follow(self, runs: Sequence[RunDoc]) -> dict[str, DeviceHistory]:
        live = {run["id"]: Path(run["path"]) for run in runs}
        for gone in self._runs.keys() - live.keys():
            del self._runs[gone]
        histories = {}
        for run_id, folder in live.items():
            if run_id not in self._runs:
                self._runs[run_id] = PointTail(folder, "device"), DeviceCollector()
            tail, collector = self._runs[run_id]
            while collector.take(batch := tail.read(), tail.names) and batch.data:
                pass
            histories[run_id] = collector.history()
        return histories


class MachineWatch:
    """A thread that takes a look every so often, until it is stopped.

    ready    called on the thread with each look
    failed   called on the thread when a look failed, once for each different failure in a row
    """

    def __init__(
        self,
        home: Home,
        *,
        interval: float,
        ready: Callable[[Machine], object],
        failed: Callable[[Exception], object],
    ) -> None:
        self.runs: Sequence[RunDoc] = ()
        self._home = home
        self._interval = interval
        self._ready = ready
        self._failed = failed
        self._stopped = threading.Event()
        # A daemon: a driver that hangs must not keep the program from ending.
        self._thread = threading.Thread(target=self._watch, name="machine watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; returns at once."""
        self._stopped.set()

    def _watch(self) -> None:
        failure = ""
        try:
            reader = MachineReader(self._home)
        except Exception as error:  # whatever a driver does must reach the screen, not end us
            self._failed(error)
            return
        pause = _FIRST_LOOK
        while not self._stopped.wait(pause):
            pause = self._interval
            try:
                machine = reader.read(self.runs)
                failure = ""
            except Exception as error:
                if failure != (failure := repr(error)):
                    self._failed(error)
            else:
                if not self._stopped.is_set():
                    self._ready(machine)
        reader.close()
