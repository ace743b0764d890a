"""The processor of this machine, as described and as measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.devices.trees import script
from traindeck.core.devices.cpu import CpuSampler, describe, quota_cores
from traindeck.core.devices.inventory import DeviceSampler, discover
from traindeck.core.devices.ranges import format_ranges, parse_ranges

linux = pytest.mark.skipif(sys.platform != "linux", reason="affinity and cgroups")


def test_this_machine() -> None:
    cpu = describe()
    assert cpu.model
    assert cpu.logical_cores == psutil.cpu_count()
    assert cpu.physical_cores == psutil.cpu_count(logical=False)
    assert cpu.memory_total_bytes == psutil.virtual_memory().total
    assert len(cpu.siblings) == len(cpu.usable_cores) > 0
    assert 1 <= cpu.threads <= len(cpu.usable_cores)


@linux
def test_affinity_narrows_what_is_usable() -> None:
    core = max(os.sched_getaffinity(0))
    code = (
        f"import os; os.sched_setaffinity(0, [{core}])\n"
        "from traindeck.core.devices.cpu import describe\n"
        "print(describe().usable_cores, describe().threads)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"({core},) 1\n"


def group(root: Path, path: str, **files: str) -> None:
    folder = root / path
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("cpu_", "cpu.", 1)).write_text(text)


def test_quota_of_cgroup_version_2_is_the_strictest_on_the_way_up(tmp_path: Path) -> None:
    membership = tmp_path / "cgroup"
    membership.write_text("0::/user.slice/job/step\n")
    mount = tmp_path / "mount"
    group(mount, "user.slice/job/step", cpu_max="max 100000\n")
    group(mount, "user.slice/job", cpu_max="150000 100000\n")
    group(mount, "user.slice", cpu_max="400000 100000\n")
    assert quota_cores(membership, mount) == 1.5


def test_quota_of_cgroup_version_1(tmp_path: Path) -> None:
    membership = tmp_path / "cgroup"
    membership.write_text("7:memory:/\n4:cpu,cpuacct:/job\n0::/\n")
    mount = tmp_path / "mount"
    group(mount, "cpu,cpuacct/job", cpu_cfs_quota_us="250000", cpu_cfs_period_us="100000")
    group(mount, "cpu,cpuacct", cpu_cfs_quota_us="-1", cpu_cfs_period_us="100000")
    assert quota_cores(membership, mount) == 2.5


def test_no_quota(tmp_path: Path) -> None:
    membership = tmp_path / "cgroup"
    assert quota_cores(membership, tmp_path) is None
    membership.write_text("0::/a\n")
    group(tmp_path, "a", cpu_max="nonsense")
    assert quota_cores(membership, tmp_path) is None


@pytest.mark.slow
def test_load_rises_on_the_core_that_works() -> None:
    core = max(describe().usable_cores)
    sampler = CpuSampler()
    assert sampler.sample().percent == 0
    source = f"import os\nos.sched_setaffinity(0, [{core}])\nwhile True: pass"
    with script(source if sys.platform == "linux" else "while True: pass"):
        time.sleep(1)
        sampler.sample()
        time.sleep(1)
        use = sampler.sample()
    assert 0 < use.percent <= 100
    if sys.platform == "linux":
        assert dict(use.core_percent)[core] > 50
    assert 0 < use.memory_available_bytes < use.memory_total_bytes


def test_every_absent_driver_is_one_line() -> None:
    notes = discover().notes
    assert all("\n" not in note for note in notes)
    makers = [note.split(":")[0] for note in notes]
    assert len(makers) == len(set(makers))
    assert set(makers) <= {"NVIDIA", "AMD", "TPU", "Apple"}


def test_a_cpu_run_touches_no_driver() -> None:
    code = (
        "import sys\n"
        "from traindeck.core.devices.inventory import discover\n"
        "import traindeck.core.devices.request\n"
        "inventory = discover(accelerators=False)\n"
        "assert inventory.notes == () and inventory.accelerators == ()\n"
        "heavy = {'pynvml', 'psutil', 'numpy', 'ctypes', 'subprocess', 'socket'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_finding_out_is_quick_and_quiet() -> None:
    code = (
        "import time\n"
        "from traindeck.core.devices import amd, apple, nvidia, tpu\n"
        "from traindeck.core.devices.inventory import discover\n"
        "began = time.process_time()\n"
        "discover()\n"
        "print(time.process_time() - began)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert float(done.stdout) < 0.1


def test_snapshots_are_json() -> None:
    sampler = DeviceSampler()
    try:
        sampler.sample()
        snapshot = sampler.sample()
        plain = json.loads(json.dumps(snapshot.to_json()))
        assert plain["cpu"]["percent"] == snapshot.cpu.percent
        assert json.loads(json.dumps(sampler.inventory.to_json()))["cpu"]["model"]
    finally:
        sampler.close()


@given(st.sets(st.integers(0, 65535), min_size=1))
def test_ranges_round_trip(numbers: set[int]) -> None:
    assert parse_ranges(format_ranges(numbers)) == tuple(sorted(numbers))


def test_ranges_are_written_as_the_kernel_writes_them() -> None:
    assert format_ranges([5, 0, 1, 2, 7, 8]) == "0-2,5,7-8"
    assert format_ranges([]) == ""
