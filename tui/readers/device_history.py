"""What the supervisor sampled of a run's process tree, kept short enough to draw."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from traindeck.core.run.follow import Batch

if TYPE_CHECKING:
    from collections.abc import Sequence

RECENT = 240
OF_PROCESSES = (
    *("cpu_percent", "memory_pss_bytes", "memory_rss_bytes"),
    *("threads", "processes"),
)
"""Series that are 0 when no process is left; the others are totals, or are the machine's."""
RATES = {"io_read_bytes": "io_read_rate", "io_write_bytes": "io_write_rate"}


@dataclass(frozen=True, slots=True)
class Measure:
    """One series of device.bin: its newest value, its greatest, and the last `RECENT` ones."""

    last: float
    peak: float
    recent: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class DeviceHistory:
    """All measures by series name. `sampled` is the newest sample's unix time."""

    measures: dict[str, Measure] = field(default_factory=dict)
    sampled: float | None = None
    samples: int = 0

    def while_alive(self) -> DeviceHistory:
        """Without the last samples of a tree that was gone: their zeros say nothing of the run."""
        counts = self.measures["processes"].recent if "processes" in self.measures else ()
        dead = next((n for n, count in enumerate(reversed(counts)) if count), 0)
        if not dead:
            return self
        ended = {
            name: Measure(measure.recent[-1 - dead], measure.peak, measure.recent[:-dead])
            for name, measure in self.measures.items()
            if name in OF_PROCESSES and len(measure.recent) > dead
        }
        return replace(self, measures=self.measures | ended)


class DeviceCollector:
    """Takes batches of device.bin and keeps what `DeviceHistory` shows."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._recent: dict[str, deque[float]] = {}
        self._peak: dict[str, float] = {}
        self._before: dict[str, tuple[float, float]] = {}
        self._sampled: float | None = None
        self._samples = 0

    def take(self, batch: Batch, names: Sequence[str]) -> bool:
        """Add a batch; True if that changed anything.

        Of a long history only the end and the peaks are kept.
        """
        if batch.restarted:
            self._forget()
        if not batch.data:
            return batch.restarted
        import numpy as np

        points = np.frombuffer(
            batch.data, dtype=[("t", "<f8"), ("step", "<i8"), ("series", "<u4"), ("value", "<f8")]
        )
        for series in np.unique(points["series"]):
            if series >= len(names):
                continue
            mine = points[points["series"] == series]
            times, values = mine["t"].astype(float), mine["value"].astype(float)
            name = names[series]
            self._keep(name, values)
            if name in RATES:
                then, value = self._before.get(name, (float(times[0]), float(values[0])))
                self._before[name] = float(times[-1]), float(values[-1])
                seconds = np.diff(times, prepend=then)
                with np.errstate(divide="ignore", invalid="ignore"):
                    rates = np.diff(values, prepend=value) / seconds
                self._keep(RATES[name], np.maximum(rates[seconds > 0], 0.0))
        self._sampled = float(points["t"][-1])
        self._samples = max(self._samples, int(points["step"].max()) + 1)
        return True

    def _keep(self, name: str, values: np.ndarray) -> None:  # type: ignore[name-defined]  # noqa: F821
        import numpy as np

        recent = self._recent.setdefault(name, deque(maxlen=RECENT))
        recent.extend(values[-RECENT:].tolist())
        finite = values[np.isfinite(values)]
        if len(finite):
            self._peak[name] = max(self._peak.get(name, float("-inf")), float(finite.max()))

    def history(self) -> DeviceHistory:
        """What is known now, safe to hand to another thread."""
        measures = {
            name: Measure(recent[-1], self._peak.get(name, recent[-1]), tuple(recent))
            for name, recent in self._recent.items()
            if recent
        }
        return DeviceHistory(measures, self._sampled, self._samples)
