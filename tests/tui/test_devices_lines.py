"""What the devices panel says about machines that are not at hand."""

from __future__ import annotations

from typing import Any

import pytest

from traindeck.core.catalogue.document import RunDoc
from traindeck.core.devices.cpu import CpuInfo, CpuUse
from traindeck.core.devices.inventory import Inventory, MachineSnapshot
from traindeck.core.devices.model import Accelerator, AcceleratorUse
from traindeck.tui.panels import machine_lines
from traindeck.tui.readers.device_history import DeviceHistory, Measure
from traindeck.tui.readers.machine import Machine

GB = 10**9


def a_machine(core_count: int = 2, **more: Any) -> Machine:
    """A processor that is ever busier from core to core."""
    cores = tuple(range(core_count))
    loads = tuple((core, 100.0 * core / max(1, core_count - 1)) for core in cores)
    info = CpuInfo("Example CPU", "x86_64", core_count, core_count, cores, cores, None, 32 * GB)
    use = CpuUse(50.0, loads, (1.5, 1.25, 1.0), 32 * GB, 24 * GB)
    fields: dict[str, Any] = {"inventory": Inventory(info), "now": MachineSnapshot(0.0, use, ())}
    return Machine(**(fields | more))


def with_gpus() -> Machine:
    """One whole GPU, one split into slices, one that has fallen off the bus."""
    gpus = (
        Accelerator("gpu", "nvidia", 0, "GPU-a", "Example H100", 80 * GB),
        Accelerator("gpu", "nvidia", 1, "GPU-b", "Example H100", 80 * GB, split=True),
        Accelerator("gpu", "nvidia", 1, "MIG-c", "Example MIG 1g.10gb", 10 * GB, slice=0),
        Accelerator("gpu", "amd", 2, "GPU-d", "Example MI300", None),
    )
    uses = (
        AcceleratorUse("gpu", 0, "GPU-a", None, 87.0, 12 * GB, 80 * GB, 412.0, 700.0, 61.0),
        AcceleratorUse("gpu", 1, "GPU-b", None, None, 2 * GB, 80 * GB, 99.0, None, 40.0),
        AcceleratorUse("gpu", 1, "MIG-c", 0, None, 2 * GB, 10 * GB),
    )
    plain = a_machine()
    return Machine(
        Inventory(plain.inventory.cpu, gpus),
        MachineSnapshot(0.0, plain.now.cpu, uses),
        {"GPU-a": (10.0, 50.0, 87.0), "cpu": (50.0,)},
        {"gpu-GPU-a": "2q4mv8qz", "cpu-1": "2q4mvb2f"},
    )


def a_run(**more: Any) -> RunDoc:
    fields: dict[str, Any] = {
        "id": "2q4mv8qz",
        "name": "mnist",
        "device": "gpu:0",
        "on": "gpu",
        "queue": None,
    }
    return RunDoc(**(fields | more))  # type: ignore[typeddict-item]


@pytest.mark.parametrize("width", [24, 40, 77, 117, 197])
@pytest.mark.parametrize("core_count", [1, 8, 9, 64, 65, 256])
def test_no_line_is_wider_than_the_panel(width: int, core_count: int) -> None:
    machine = a_machine(core_count)
    contents = [
        machine_lines.machine(machine, width),
        machine_lines.cores(machine, {}, width),
        machine_lines.accelerators(with_gpus(), {"2q4mv8qz": "n" * 300}, width),
        machine_lines.run_heading(width),
        machine_lines.run_line(a_run(name="n" * 300), None, width),
        machine_lines.queue_line(a_run(queue={"place": 1, "reason": "r" * 300}), width),
    ]
    for content in contents:
        assert all(line.cell_length <= width for line in content.split("\n")), content.plain


def test_the_machine_in_three_lines() -> None:
    lines = machine_lines.machine(a_machine(), 117).plain.splitlines()
    assert lines[0] == "Example CPU  2 cores · x86_64 · load 1.50  1.25  1.00"
    assert lines[1].startswith("cpu     ━━━") and " 50%" in lines[1]
    assert lines[2].endswith(" 25%  8 GB of 32 GB")


def test_what_a_container_allows_is_told() -> None:
    info = CpuInfo("Example CPU", "x86_64", 4, 8, (0, 1), (0, 1), 1.5, 32 * GB)
    machine = a_machine(inventory=Inventory(info))
    text = machine_lines.machine(machine, 150).plain
    assert "8 cores on 4 physical · x86_64 · 2 usable here" in text
    assert "limited to 1.5 cores' worth of time" in text


def test_each_core_says_who_holds_it() -> None:
    lines = machine_lines.cores(with_gpus(), {"2q4mvb2f": "digits"}, 117).plain.splitlines()
    assert [line[:6] for line in lines] == ["core 0", "core 1"]
    assert "digits" not in lines[0]
    assert lines[1].endswith("● digits 2q4mvb2f")


def test_many_cores_stay_few_lines() -> None:
    assert len(machine_lines.cores(a_machine(64), {}, 117).plain.splitlines()) <= 16
    blocks = machine_lines.cores(a_machine(256), {}, 77).plain.splitlines()
    assert [line.split()[0] for line in blocks] == ["0", "64", "128", "192"]
    assert blocks[-1][6] > blocks[0][6]


def test_accelerators_tell_what_their_driver_tells_and_no_more() -> None:
    lines = machine_lines.accelerators(with_gpus(), {"2q4mv8qz": "mnist"}, 117).plain.splitlines()
    assert lines[0].split() == [
        *("gpu:0", "Example", "H100", "80", "GB", "●", "mnist", "2q4mv8qz"),
    ]
    assert lines[1].endswith("12 GB of 80 GB  412 of 700 W  61 °C")
    assert " 87%" in lines[1]
    assert "split into slices" in lines[2]
    assert "   –" in lines[3] and lines[3].endswith("2 GB of 80 GB  99 W  40 °C")
    assert lines[4].startswith("gpu:1:0 Example MIG 1g.10gb")
    assert lines[5].endswith("2 GB of 10 GB")
    assert lines[7].strip() == "does not answer"


def test_a_run_says_what_its_memory_figure_is() -> None:
    series = {
        "cpu_percent": 187.0,
        "memory_rss_bytes": 1.25 * GB,
        "threads": 14.0,
        "processes": 3.0,
        "io_read_rate": 0.0,
        "io_write_rate": 1.2e6,
    }
    measures = {name: Measure(value, value, (value,)) for name, value in series.items()}
    figures = machine_lines.run_figures(a_run(), DeviceHistory(measures, 0.0, 1))
    assert figures == ["gpu:0", "187%", "1.25 GB RSS", "14", "3", "0 B/s", "1.2 MB/s"]
    assert machine_lines.run_figures(a_run(), None) == ["gpu:0", *"––––––"]


def test_who_waits_says_for_what() -> None:
    run = a_run(queue={"place": 2, "reason": "gpu:0 is in use"})
    line = machine_lines.queue_line(run, 100).plain
    assert line == " 2  mnist 2q4mv8qz  for gpu  gpu:0 is in use"


def test_names_are_never_obeyed() -> None:
    line = machine_lines.run_line(a_run(name="\x1b[31m[red]x[/]"), None, 117).plain
    assert "\x1b" not in line and "[red]" in line
