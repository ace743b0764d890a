"""The lines of the devices panel, as content for a given width. Pure: no widget, no file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from textual.content import Content

from traindeck.core.base.format import size
from traindeck.core.base.sanitize import plain
from traindeck.core.catalogue.document import RunDoc
from traindeck.core.devices.model import Accelerator, AcceleratorUse
from traindeck.tui.readers.device_history import DeviceHistory
from traindeck.tui.readers.machine import Machine
from traindeck.tui.widgets.rows import sparkline

DETAILED_CORES = 8
"""Up to so many cores each has a line of its own."""
_MOST_BARS = 64
"""Beyond so many cores a bar for each is more than anyone reads: one block each then."""

_TAKEN = "$text-success"
Names = Mapping[str, str]
"""Run names by id."""


def bar(percent: float | None, cells: int, *, tight: bool = False) -> Content:
    """A share of 0 to 100 as a line; dashes where it is not known.

    `tight`: being nearly full is bad news, as it is for memory and not for a processor.
    """
    if percent is None:
        return Content.styled("╌" * cells, "$foreground 30%")
    full = round(min(100.0, max(0.0, percent)) / 100 * cells * 2)
    line = "━" * (full // 2) + "╸" * (full % 2)
    style = "$warning" if tight and percent > 90 else "$primary"
    return Content.assemble((line, style), ("─" * (cells - len(line)), "$foreground 30%"))


def curve(values: Sequence[float | None], cells: int, top: float = 100.0) -> Content:
    """The course of a load, newest at the right; dots where there is no past yet."""
    if cells <= 0:
        return Content("")
    known = [math.nan if value is None else value for value in values][-cells:]
    return Content.assemble(
        ("·" * (cells - len(known)), "$foreground 20%"),
        (sparkline(known, len(known), top), "$text-primary"),
    )


def percent_text(value: float | None) -> str:
    return "   –" if value is None else f"{value:3.0f}%"


def who(run_id: str | None, names: Names) -> Content:
    """The run that holds something."""
    if not run_id:
        return Content("")
    name = plain(names.get(run_id, ""))
    return Content.assemble(("● ", _TAKEN), (f"{name} " if name else "", _TAKEN), (run_id, "dim"))


def machine(state: Machine, width: int) -> Content:
    """The processor's name, its load and the memory."""
    cpu, now = state.inventory.cpu, state.now.cpu
    cores = f"{cpu.logical_cores} cores" if cpu.logical_cores != 1 else "1 core"
    facts = [plain(cpu.model), cores, cpu.architecture]
    if cpu.physical_cores and cpu.physical_cores != cpu.logical_cores:
        facts[1] += f" on {cpu.physical_cores} physical"
    if len(cpu.usable_cores) != cpu.logical_cores:
        facts.append(f"{len(cpu.usable_cores)} usable here")
    if cpu.quota_cores is not None:
        facts.append(f"limited to {cpu.quota_cores:g} cores' worth of time")
    facts.append("load " + "  ".join(f"{value:.2f}" for value in now.load_average))
    used = now.memory_total_bytes - now.memory_available_bytes
    share = 100 * used / max(1, now.memory_total_bytes)
    lines = [
        Content.assemble((facts[0], "bold"), ("  " + " · ".join(facts[1:]), "dim")),
        _load_line("cpu", now.percent, state.loads.get("cpu", ()), width, Content("")),
        Content.assemble(
            ("memory  ", "dim"),
            bar(share, _bar_cells(width), tight=True),
            f" {percent_text(share)}  {size(used)} of {size(now.memory_total_bytes)}",
        ),
    ]
    return Content("\n").join(line.truncate(width, ellipsis=True) for line in lines)


def _load_line(
    label: str, load: float | None, past: Sequence[float | None], width: int, more: Content
) -> Content:
    """A bar, its number, its course where there is room for one, and what else is to be said."""
    head = Content.assemble(
        (label.ljust(8), "dim"), bar(load, _bar_cells(width)), " ", percent_text(load)
    )
    room = width - head.cell_length - 2
    if more:
        room -= more.cell_length + 2
    course = curve(past, min(room, 30, width // 5))
    parts = [part for part in (head, course, more) if part]
    return Content("  ").join(parts).truncate(width, ellipsis=True)


def cores(state: Machine, names: Names, width: int) -> Content:
    """Each core's load, in as much detail as the width and their number allow."""
    loads = state.now.cpu.core_percent
    if len(loads) <= DETAILED_CORES:
        return Content("\n").join(_core_lines(state, names, width))
    if len(loads) <= _MOST_BARS:
        return _core_grid(state, width)
    return _core_blocks(state, width)


def _core_lines(state: Machine, names: Names, width: int) -> Iterator[Content]:
    for core, load in state.now.cpu.core_percent:
        past = state.loads.get(f"cpu-{core}", ())
        holder = who(state.taken.get(f"cpu-{core}"), names)
        yield _load_line(f"core {core}", load, past, width, holder)


def _core_grid(state: Machine, width: int) -> Content:
    columns = max(1, width // 24)
    cells = max(4, width // columns - 13)
    parts = []
    for core, load in state.now.cpu.core_percent:
        held = "●" if f"cpu-{core}" in state.taken else " "
        parts.append(
            Content.assemble(
                (f"{core:>3} ", "dim"),
                bar(load, cells),
                f" {percent_text(load)}",
                (held, _TAKEN),
                "  ",
            )
        )
    return _table(parts, columns)


def _core_blocks(state: Machine, width: int) -> Content:
    """One block a core; those that a run holds are of another color."""
    columns = max(16, (width - 6) // 16 * 16)
    loads = state.now.cpu.core_percent
    lines = []
    for start in range(0, len(loads), columns):
        line = [(f"{loads[start][0]:>4}  ", "dim")]
        for core, load in loads[start : start + columns]:
            block = sparkline([load], 1, 100.0)
            line.append((block, _TAKEN if f"cpu-{core}" in state.taken else "$primary"))
        lines.append(Content.assemble(*line))
    return Content("\n").join(lines)


def _table(parts: Sequence[Content], columns: int) -> Content:
    """Cells in reading order down the columns, as cores are numbered."""
    rows = math.ceil(len(parts) / columns)
    return Content("\n").join(Content("").join(parts[row::rows]) for row in range(rows))


def accelerators(state: Machine, names: Names, width: int) -> Content:
    """Each GPU, MIG slice or TPU: two lines where it is narrow."""
    uses = {use.uuid: use for use in state.now.accelerators}
    lines: list[Content] = []
    for device in state.inventory.accelerators:
        lines += _accelerator(device, uses.get(device.uuid), state, names, width)
    return Content("\n").join(lines)


def _accelerator(
    device: Accelerator, use: AcceleratorUse | None, state: Machine, names: Names, width: int
) -> Iterator[Content]:
    memory = "" if device.memory_total_bytes is None else f"  {size(device.memory_total_bytes)}"
    split = "  split into slices" if device.split else ""
    head = Content.assemble(
        (f"{device.label:<7} ", "bold"),
        plain(device.name),
        (memory + split + "  ", "dim"),
        who(state.taken.get(device.slot), names),
    )
    yield head.truncate(width, ellipsis=True)
    if use is None:
        yield Content.styled("        does not answer", "$text-warning")
        return
    past = state.loads.get(use.uuid, ())
    facts = Content("  ".join(_accelerator_facts(use)))
    yield _load_line("", use.utilization_percent, past, width, facts)


def _accelerator_facts(use: AcceleratorUse) -> Iterator[str]:
    if use.memory_used_bytes is not None:
        of = f" of {size(use.memory_total_bytes)}" if use.memory_total_bytes else ""
        yield f"{size(use.memory_used_bytes)}{of}"
    if use.power_watts is not None:
        of = f" of {use.power_limit_watts:.0f}" if use.power_limit_watts else ""
        yield f"{use.power_watts:.0f}{of} W"
    if use.temperature_celsius is not None:
        yield f"{use.temperature_celsius:.0f} °C"


def _bar_cells(width: int) -> int:
    return max(8, min(40, width // 4))


_NUMBERS = (
    ("device", 9),
    ("CPU", 5),
    ("memory", 11),
    ("threads", 7),
    ("procs", 5),
    ("read", 9),
    ("write", 9),
)
"""Title and cells of a run's figures; its name gets some of the rest, a curve what is left."""

_LEFT = ("run", "device")


def run_heading(width: int) -> Content:
    cells = [
        title.ljust(room) if title in _LEFT else title.rjust(room)
        for title, room in _columns(width)
    ]
    return Content(" ".join(cells)).truncate(width)


def run_line(run: RunDoc, history: DeviceHistory | None, width: int) -> Content:
    """What one run's process tree uses."""
    columns = _columns(width)
    name = Content(plain(run["name"]))
    known = Content.assemble(name, (f" {run['id']}", "dim"))
    figures = map(Content, run_figures(run, history))
    values = [known if known.cell_length <= columns[0][1] else name, *figures]
    parts: list[Content] = []
    for (title, room), value in zip(columns, values, strict=True):
        cell = value.truncate(room, ellipsis=True)
        missing = Content(" " * (room - cell.cell_length))
        parts.append(cell + missing if title in _LEFT else missing + cell)
    left = width - sum(room + 1 for _, room in columns) - 1
    if history and "cpu_percent" in history.measures and left >= 8:
        cpu = history.measures["cpu_percent"]
        parts.append(Content(" ") + curve(cpu.recent, min(30, left), max(100.0, cpu.peak)))
    return Content(" ").join(parts).truncate(width)


def _columns(width: int) -> list[tuple[str, int]]:
    figures = sum(room + 1 for _, room in _NUMBERS)
    return [("run", max(12, min(32, width - figures))), *_NUMBERS]


def run_figures(run: RunDoc, history: DeviceHistory | None) -> list[str]:
    """Device, CPU, memory, threads, processes, read and write rates; dashes for the unknown."""
    measures = history.measures if history else {}

    def last(series: str) -> float | None:
        return measures[series].last if series in measures else None

    def text_of(value: float | None, shown: str) -> str:
        return "–" if value is None or not math.isfinite(value) else shown.format(value)

    memory = "–"
    for kind in ("pss", "rss"):
        if (value := last(f"memory_{kind}_bytes")) is not None:
            memory = f"{size(value)} {kind.upper()}"
    rates = [
        "–" if (rate := last(f"io_{way}_rate")) is None else f"{size(rate)}/s"
        for way in ("read", "write")
    ]
    return [
        plain(run["device"]),
        text_of(last("cpu_percent"), "{:.0f}%"),
        memory,
        text_of(last("threads"), "{:.0f}"),
        text_of(last("processes"), "{:.0f}"),
        *rates,
    ]


def queue_line(run: RunDoc, width: int) -> Content:
    """A run that waits: its place, and what for."""
    queue = run["queue"]
    place = f"{queue['place']:>2}" if queue else " –"
    why = plain(queue["reason"]) if queue else "not yet told"
    line = Content.assemble(
        (f"{place}  ", "bold"),
        plain(run["name"]),
        (f" {run['id']}", "dim"),
        f"  for {plain(run['on'])}",
        (f"  {why}", "dim"),
    )
    return line.truncate(width, ellipsis=True)
