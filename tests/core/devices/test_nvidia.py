"""NVIDIA through the real nvidia-ml-py, talking to a FAKE libnvidia-ml.so.1 compiled here.

What this cannot show: that a real driver answers as the fake does.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from traindeck.core.devices.nvidia import LIBRARY

SOURCE = Path(__file__).with_name("fake_nvml.c")
GIB = 1 << 30
GPU0 = "GPU-00000000-fake-0000-0000-000000000000"
GPU1 = "GPU-11111111-fake-0000-0000-000000000000"
MIG0 = "MIG-aaaaaaaa-fake-0000-0000-000000000000"
MIG2 = "MIG-cccccccc-fake-0000-0000-000000000000"

REPORT = """
import json, sys
from traindeck.core.devices.model import to_plain
from traindeck.core.devices.nvidia import NvidiaDriver
driver = NvidiaDriver()
report = {
    "notes": driver.notes,
    "accelerators": to_plain(driver.accelerators()),
    "use": to_plain(driver.use()),
    "again": to_plain(driver.use()),
    "only": to_plain(driver.use(sys.argv[1:])),
}
driver.close()
report["closed"] = to_plain(driver.accelerators()) + to_plain(driver.use())
print(json.dumps(report))
"""

# Does a whole launch decision the way the scheduler does, in a fresh process.
DECIDE = """
import json, sys
from dataclasses import asdict
from traindeck.core.devices.assignment import environment
from traindeck.core.devices.inventory import discover
from traindeck.core.devices.request import assign, parse_request
inventory = discover()
request = parse_request(sys.argv[1])
given = assign(request, request.candidates(inventory).slots, inventory)
print(json.dumps([asdict(given), environment(given, inventory)]))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) to build the fake NVML with")
    folder = tmp_path_factory.mktemp("nvml")
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", folder / LIBRARY, SOURCE],
        check=True,
    )
    return folder


Run = Callable[..., Any]


@pytest.fixture
def run(library: Path) -> Run:
    """Run a script on the fake machine; what it printed, which must be JSON and nothing else."""

    def run(
        source: str, *arguments: str, mode: str = "", pid: int = 0, within: Sequence[str] = ()
    ) -> Any:
        done = subprocess.run(
            [*within, sys.executable, "-W", "error", "-c", source, *arguments],
            env=os.environ
            | {
                "LD_LIBRARY_PATH": str(library),
                "FAKE_NVML": mode,
                "FAKE_NVML_PID": str(pid or ""),
            },
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    return run


def test_gpus_and_slices_are_listed(run: Run) -> None:
    listed = run(REPORT)["accelerators"]
    assert [(a["label"], a["uuid"], a["split"]) for a in listed] == [
        ("gpu:0", GPU0, False),
        ("gpu:1", GPU1, True),
        ("gpu:1:0", MIG0, False),
        ("gpu:1:2", MIG2, False),
    ]
    assert listed[0]["name"] == "FAKE H200"
    assert listed[0]["memory_total_bytes"] == 141 * GIB
    assert listed[2]["memory_total_bytes"] == 18 * GIB


def test_figures_of_a_whole_gpu(run: Run) -> None:
    use = run(REPORT)["use"][0]
    assert use["label"] == "gpu:0"
    assert use["utilization_percent"] == 73
    assert use["memory_used_bytes"] == 20 * GIB
    assert use["power_watts"] == 120.5
    assert use["power_limit_watts"] == 700
    assert use["temperature_celsius"] == 42


def test_what_a_slice_cannot_tell_is_none(run: Run) -> None:
    use = run(REPORT)["use"][2]
    assert use["label"] == "gpu:1:0"
    assert use["memory_used_bytes"] == 2 * GIB
    for figure in ("utilization_percent", "power_watts", "power_limit_watts"):
        assert use[figure] is None
    assert use["temperature_celsius"] is None


def test_processes_and_what_of_them_is_not_told(run: Run) -> None:
    report = run(REPORT, pid=os.getpid())
    whole, _, first, second = (use["processes"] for use in report["use"])
    assert whole == [
        {"pid": os.getpid(), "memory_bytes": 2 * GIB, "utilization_percent": 64},
        {"pid": 4194000, "memory_bytes": None, "utilization_percent": None},
    ]
    assert [process["pid"] for process in first] == [os.getpid()]
    assert second == []
    # Nothing newer was sampled: NVML says NOT_FOUND, which is no error.
    assert report["again"][0]["processes"][0]["utilization_percent"] is None


def test_no_processes(run: Run) -> None:
    assert [use["processes"] for use in run(REPORT, mode="idle")["use"]] == [[], [], [], []]


def test_one_device_alone_can_be_asked_for(run: Run) -> None:
    assert [use["uuid"] for use in run(REPORT, MIG0)["only"]] == [MIG0]


def test_once_closed_there_is_nothing(run: Run) -> None:
    assert run(REPORT)["closed"] == []


def test_a_driver_that_refuses_every_figure(run: Run) -> None:
    report = run(REPORT, mode="bare")
    assert [a["label"] for a in report["accelerators"]] == ["gpu:0", "gpu:1"]
    for use in report["use"]:
        assert {use[name] for name in use if name not in ("kind", "index", "uuid", "label")} == {
            None
        }


def test_an_old_driver(run: Run) -> None:
    use = run(REPORT, mode="old")["use"][0]
    assert use["memory_used_bytes"] == 20 * GIB + GIB // 2
    assert use["power_watts"] == 120.5
    assert use["power_limit_watts"] is None


def test_a_gpu_that_fell_off_the_bus_hides_no_other(run: Run) -> None:
    report = run(REPORT, mode="lost")
    assert [a["label"] for a in report["accelerators"]] == ["gpu:1", "gpu:1:0", "gpu:1:2"]


@pytest.mark.parametrize(
    ("mode", "note"),
    [
        ("not-loaded", "kernel module is not loaded"),
        ("mismatch", "differ in version"),
        ("forbidden", "no permission"),
        ("empty", "lists no GPU"),
    ],
)
def test_why_there_is_no_gpu(run: Run, mode: str, note: str) -> None:
    report = run(REPORT, mode=mode)
    assert report["accelerators"] == report["use"] == []
    assert len(report["notes"]) == 1
    assert report["notes"][0].startswith("NVIDIA: ")
    assert note in report["notes"][0]
    assert "\n" not in report["notes"][0]


def test_without_the_library_one_line_says_what_was_looked_for() -> None:
    code = "from traindeck.core.devices.nvidia import NvidiaDriver as D; print(*D().notes)"
    environment = {k: v for k, v in os.environ.items() if k != "LD_LIBRARY_PATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60
    )
    if "looked for" not in done.stdout:
        pytest.skip("this machine has the real library")
    assert done.stdout == "NVIDIA: no driver (looked for libnvidia-ml.so.1)\n"
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("on", "label", "visible"),
    [
        ("gpu:0", "gpu:0", GPU0),
        ("gpu", "gpu:1:2", MIG2),  # the only one on which nobody uses memory
        ("gpu:1:2", "gpu:1:2", MIG2),
        (f"gpu:{MIG2}", "gpu:1:2", MIG2),
        ("gpu:gpu-0000", "gpu:0", GPU0),
    ],
)
def test_a_run_sees_its_gpu_by_uuid(run: Run, on: str, label: str, visible: str) -> None:
    assignment, environment = run(DECIDE, on)
    assert assignment["label"] == label
    assert assignment["gpus"] == [visible]
    assert assignment["slots"] == [f"gpu-{visible}"]
    assert environment["CUDA_VISIBLE_DEVICES"] == visible
    assert environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert environment["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    assert environment["TRAINDECK_DEVICE"] == "gpu"


def test_inside_a_container_processes_may_be_missing(run: Run) -> None:
    unshare = ["unshare", "--pid", "--fork", "--mount-proc"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"]).returncode:
        pytest.skip("a pid namespace of its own needs unshare and the right to use it")
    notes = run(REPORT, within=unshare)["notes"]
    assert len(notes) == 1
    assert "container" in notes[0]


def test_the_series_of_a_run(run: Run) -> None:
    source = """
import json, sys
from traindeck.core.devices.inventory import sample_gpus
print(json.dumps([sample_gpus([uuid]) for uuid in sys.argv[1:]]))
"""
    whole, piece, nothing = run(source, GPU0, MIG0, "GPU-of-another-machine")
    assert whole == {
        "gpu0/utilization_percent": 73,
        "gpu0/memory_bytes": 20 * GIB,
        "gpu0/power_watts": 120.5,
        "gpu0/temperature_celsius": 42,
    }
    assert piece == {"gpu1/memory_bytes": 2 * GIB}
    assert nothing == {}


def test_the_whole_inventory_is_json_and_quick(run: Run) -> None:
    source = """
import json, time
import pynvml
from traindeck.core.devices import amd, apple, nvidia, tpu
from traindeck.core.devices.inventory import DeviceSampler, discover
began = time.process_time()
inventory = discover()
spent = time.process_time() - began
sampler = DeviceSampler()
print(json.dumps([spent, inventory.to_json(), sampler.sample().to_json()]))
sampler.close()
"""
    spent, inventory, snapshot = run(source)
    assert spent < 0.1
    assert [a["label"] for a in inventory["accelerators"]] == [
        "gpu:0",
        "gpu:1",
        "gpu:1:0",
        "gpu:1:2",
    ]
    assert [u["uuid"] for u in snapshot["accelerators"]] == [GPU0, GPU1, MIG0, MIG2]
    assert snapshot["cpu"]["memory_available_bytes"] > 0
