"""What a run's processes use, as its supervisor sampled it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.widgets import Static

from traindeck.core.base.format import size
from traindeck.core.base.sanitize import plain
from traindeck.tui.keys import SCROLL_KEYS
from traindeck.tui.readers.device_history import DeviceHistory, Measure
from traindeck.tui.widgets.rows import sparkline
from traindeck.tui.widgets.run_columns import age as short_age

STALE_SECONDS = 5.0
_GPU = re.compile(r"gpu(\d+)/(utilization_percent|memory_bytes|power_watts|temperature_celsius)")
_GPU_ORDER = ("utilization_percent", "memory_bytes", "power_watts", "temperature_celsius")


@dataclass(frozen=True, slots=True)
class _Line:
    label: str
    value: str
    note: str = ""
    measure: Measure | None = None
    top: float | None = None


class RunDevicesPanel(VerticalScroll, inherit_bindings=False):
    """Figures and their recent course: CPU, memory, I/O, and each GPU the run holds."""

    BORDER_TITLE = "devices"
    DEFAULT_CSS = """
    RunDevicesPanel { height: auto; }
    RunDevicesPanel > Static { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = SCROLL_KEYS

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._history = DeviceHistory()
        self._device = ""
        self._live = False
        self._age: float | None = None
        self._height = 0

    def compose(self) -> ComposeResult:
        yield Static()

    def show(self, history: DeviceHistory, *, device: str, live: bool, now: float) -> None:
        """Take the samples of a run on `device`; `now` is the unix time ages are told from."""
        age = None if history.sampled is None else max(0.0, now - history.sampled)
        shown = (history.samples, device, live, _age_text(age))
        if shown != (self._history.samples, self._device, self._live, _age_text(self._age)):
            self._history, self._device, self._live, self._age = history, device, live, age
            self._draw()

    def on_resize(self, _: Resize) -> None:
        self._draw()

    def _draw(self) -> None:
        width = self.scrollable_content_region.width
        if width <= 0:
            return
        lines = [self._origin(width)]
        history = self._history if self._live else self._history.while_alive()
        measured = list(_lines(history))
        if measured:
            label = max(len(line.label) for line in measured) + 2
            value = max(len(line.value) for line in measured) + 2
            note = max(len(line.note) for line in measured) + 2
            if width - label - value - note < 12:
                note = 0
            room = width - label - value - note
            for line in measured:
                lines.append(_drawn(line, label, value, note, min(room, 120)))
        layout, self._height = len(lines) != self._height, len(lines)
        text = self.query_one(Static)
        text.update(Content("\n").join(lines), layout=layout)
        if layout:  # asked for while the screen is being laid out, it would be lost
            self.call_after_refresh(text.refresh, layout=True)

    def _origin(self, width: int) -> Content:
        device = f"{plain(self._device)} · " if self._device else ""
        if self._age is None:
            return Content.styled(
                f"{device}nothing was sampled {'yet' if self._live else ''}", "dim"
            )
        stale = self._live and self._age > STALE_SECONDS
        origin = "sampled by the supervisor, 1 Hz" if width >= 60 else "supervisor, 1 Hz"
        return Content.assemble(
            (f"{device}{origin} · ", "dim"),
            (f"{_age_text(self._age)} ago", "$text-warning" if stale else "dim"),
        )


def _age_text(age: float | None) -> str:
    return "" if age is None else short_age(age)


def _drawn(line: _Line, label: int, value: int, note: int, room: int) -> Content:
    parts: list[tuple[str, str]] = [
        (line.label.ljust(label), "dim"),
        (line.value.rjust(value - 2) + "  ", "bold"),
    ]
    if note:
        parts.append((line.note.ljust(note), "dim"))
    if line.measure is not None and room > 2:
        top = line.top if line.top is not None else line.measure.peak
        parts.append((sparkline(line.measure.recent, room, top), "$primary"))
    return Content.assemble(*parts)


def _lines(history: DeviceHistory) -> Iterator[_Line]:
    measures = dict(history.measures)

    def take(name: str) -> Measure | None:
        return measures.pop(name, None)

    if cpu := take("cpu_percent"):
        peak = f"peak {cpu.peak:.0f} %"
        yield _Line("CPU", f"{cpu.last:.0f} %", peak, cpu, max(100.0, cpu.peak))
    for name in ("memory_pss_bytes", "memory_rss_bytes"):
        if memory := take(name):
            label = f"memory {name.split('_')[1].upper()}"
            yield _Line(label, size(memory.last), f"peak {size(memory.peak)}", memory)
    if threads := take("threads"):
        yield _Line("threads", f"{threads.last:.0f}", f"peak {threads.peak:.0f}")
    if processes := take("processes"):
        yield _Line("processes", f"{processes.last:.0f}", f"peak {processes.peak:.0f}")
    for label, total_name, rate_name in (
        ("read", "io_read_bytes", "io_read_rate"),
        ("written", "io_write_bytes", "io_write_rate"),
    ):
        total, rate = take(total_name), take(rate_name)
        if total:
            speed = f"{size(rate.last)}/s" if rate else "–"
            yield _Line(label, speed, f"{size(total.last)} in all", rate)
    gpus = sorted({int(match[1]) for name in measures if (match := _GPU.fullmatch(name))})
    for gpu in gpus:
        for kind in _GPU_ORDER:
            if measure := take(f"gpu{gpu}/{kind}"):
                yield _gpu_line(gpu, kind, measure)
    for name in sorted(measures):
        measure = measures[name]
        yield _Line(plain(name), f"{measure.last:.4g}", f"peak {measure.peak:.4g}", measure)


def _gpu_line(gpu: int, kind: str, measure: Measure) -> _Line:
    label, last, peak = f"GPU {gpu} ", measure.last, measure.peak
    if kind == "utilization_percent":
        return _Line(label + "busy", f"{last:.0f} %", f"peak {peak:.0f} %", measure, 100.0)
    if kind == "memory_bytes":
        return _Line(label + "memory", size(last), f"peak {size(peak)}", measure)
    if kind == "power_watts":
        return _Line(label + "power", f"{last:.0f} W", f"peak {peak:.0f} W", measure)
    return _Line(label + "heat", f"{last:.0f} °C", f"peak {peak:.0f} °C")
