"""AMD, Google and Apple: absent on most machines, so these tests stand in FAKE modules for theirs.

The fakes answer as the documentation of amdsmi 7 and tpu-info 0.14 says. What this cannot show:
that the hardware does.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from traindeck.core.devices import amd, apple, inventory, tpu
from traindeck.core.devices.amd import AmdDriver
from traindeck.core.devices.apple import AppleDriver
from traindeck.core.devices.assignment import Assignment, environment
from traindeck.core.devices.inventory import discover
from traindeck.core.devices.model import Accelerator
from traindeck.core.devices.request import assign, parse_request
from traindeck.core.devices.tpu import TpuDriver

GIB = 1 << 30


@pytest.fixture
def rocm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with AMD's kernel driver; the folder stands before others on the import path."""
    device = tmp_path / "kfd"
    device.touch()
    monkeypatch.setattr(amd, "KERNEL_DRIVER", device)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "amdsmi", raising=False)
    return tmp_path


class AmdSmiException(Exception):
    pass


def fake_amdsmi(*, refuse: tuple[str, ...] = (), **replaced: Any) -> Any:
    module: Any = ModuleType("amdsmi")
    answers: dict[str, Any] = {
        "amdsmi_init": None,
        "amdsmi_shut_down": None,
        "amdsmi_get_processor_handles": ["first", "second"],
        "amdsmi_get_gpu_asic_info": {"market_name": "FAKE MI300X"},
        "amdsmi_get_gpu_enumeration_info": {"hip_uuid": "GPU-feedfacefeedface", "hip_id": 0},
        "amdsmi_get_gpu_device_uuid": "b4ff74a0-0000-1000-80a6-0123456789ab",
        "amdsmi_get_gpu_memory_total": 192 * GIB,
        "amdsmi_get_gpu_memory_usage": 5 * GIB,
        "amdsmi_get_gpu_activity": {"gfx_activity": 40, "umc_activity": 3, "mm_activity": "N/A"},
        "amdsmi_get_power_info": {"current_socket_power": 151, "average_socket_power": "N/A"},
        "amdsmi_get_power_cap_info": {"power_cap": 750_000_000},
        "amdsmi_get_temp_metric": 47,
        "amdsmi_get_gpu_process_list": [
            {"pid": 77, "mem": 1, "memory_usage": {"vram_mem": 3 * GIB}},
            {"pid": 78, "mem": 1, "memory_usage": {"vram_mem": "N/A"}},
        ],
    } | replaced
    for name, answer in answers.items():

        def function(*_: Any, name: str = name, answer: Any = answer) -> Any:
            if name in refuse:
                raise AmdSmiException(f"{name} is not supported")
            return answer

        setattr(module, name, function)
    module.AmdSmiMemoryType = SimpleNamespace(VRAM=0)
    module.AmdSmiTemperatureType = SimpleNamespace(EDGE=0, HOTSPOT=1)
    module.AmdSmiTemperatureMetric = SimpleNamespace(CURRENT=0)
    return module


def test_amd_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amd, "KERNEL_DRIVER", Path("/dev/kfd-that-is-not"))
    driver = AmdDriver()
    assert driver.notes == ("AMD: no driver (looked for /dev/kfd-that-is-not)",)
    assert driver.accelerators() == []
    assert driver.use() == []
    driver.close()


@pytest.mark.parametrize(
    ("source", "note"),
    [
        # What the real package does where ROCm is missing: it prints, then raises KeyError.
        ("print('Unable to find')\nraise KeyError('libamd_smi.so')", "KeyError: 'libamd_smi.so'"),
        ("import sys\nprint('no', file=sys.stderr)\nraise OSError('two\\nlines')", "OSError: two"),
        ("", "AttributeError"),
    ],
)
def test_amdsmi_that_does_not_work_is_one_quiet_line(
    rocm: Path, source: str, note: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (rocm / "amdsmi.py").write_text(source)
    driver = AmdDriver()
    sys.modules.pop("amdsmi", None)
    assert len(driver.notes) == 1
    assert note in driver.notes[0]
    assert "\n" not in driver.notes[0]
    assert [*driver.accelerators(), *driver.use()] == []
    assert capfd.readouterr() == ("", "")


def test_amdsmi_not_installed(rocm: Path) -> None:
    (note,) = AmdDriver().notes
    assert "amdsmi is not" in note


def test_amd_figures(rocm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "amdsmi", fake_amdsmi())
    driver = AmdDriver()
    assert driver.notes == ()
    first, second = driver.accelerators()
    assert (first.label, second.label) == ("gpu:0", "gpu:1")
    assert (first.name, first.uuid) == ("FAKE MI300X", "GPU-feedfacefeedface")
    assert (first.memory_total_bytes, first.memory_used_bytes) == (192 * GIB, 5 * GIB)
    use = driver.use()[0]
    assert use.utilization_percent == 40
    assert (use.power_watts, use.power_limit_watts) == (151, 750)
    assert use.temperature_celsius == 47
    assert use.processes is not None
    assert [(p.pid, p.memory_bytes) for p in use.processes] == [(77, 3 * GIB), (78, None)]
    assert driver.use(["another"]) == []
    driver.close()
    assert [*driver.accelerators(), *driver.use()] == []


def test_amd_figures_that_are_refused(rocm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every = tuple(name for name in vars(fake_amdsmi()) if name.startswith("amdsmi_get_gpu"))
    module = fake_amdsmi(
        refuse=(*every, "amdsmi_get_temp_metric", "amdsmi_get_power_cap_info"),
        amdsmi_get_power_info={"current_socket_power": 0xFFFFFFFF, "average_socket_power": 0xFFFF},
    )
    monkeypatch.setitem(sys.modules, "amdsmi", module)
    driver = AmdDriver()
    first = driver.accelerators()[0]
    assert (first.name, first.uuid, first.memory_total_bytes) == ("AMD GPU", "amd-0", None)
    use = driver.use()[0]
    assert use.power_watts is None
    assert use.power_limit_watts is None
    assert use.utilization_percent is None
    assert use.temperature_celsius is None
    assert use.processes is None


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with a TPU's device file."""
    (tmp_path / "accel0").touch()
    monkeypatch.setattr(tpu, "DEVICE_FILES", (str(tmp_path / "accel*"),))
    for name in ("tpu_info", "tpu_info.device", "tpu_info.metrics"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def fake_tpu_info(monkeypatch: pytest.MonkeyPatch, chips: Any, usages: Any) -> None:
    package: Any = ModuleType("tpu_info")
    package.device = ModuleType("tpu_info.device")
    package.metrics = ModuleType("tpu_info.metrics")
    package.device.get_local_chips = chips
    package.metrics.get_chip_usage = usages
    for module in (package, package.device, package.metrics):
        monkeypatch.setitem(sys.modules, module.__name__, module)


class Chip:
    """As tpu_info.device.TpuChip: two devices a chip, as v2, v3 and 7x have."""

    value = SimpleNamespace(hbm_gib=16, devices_per_chip=2)

    def __str__(self) -> str:
        return "FAKE TPU v3 chip"


@pytest.fixture
def metrics_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.create_server(("localhost", 0)) as server:
        monkeypatch.setattr(tpu, "_METRICS_PORT", server.getsockname()[1])
        yield server


def test_tpu_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tpu, "DEVICE_FILES", ("/dev/accel-that-is-not*",))
    driver = TpuDriver()
    assert driver.notes == ("TPU: none (looked for /dev/accel* and /dev/vfio/*)",)
    assert [*driver.accelerators(), *driver.use()] == []


def test_tpu_info_not_installed(pod: Path) -> None:
    (note,) = TpuDriver().notes
    assert "tpu-info is not" in note


def test_tpu_info_that_does_not_work(pod: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def chips() -> None:
        raise AssertionError("Expected one chip type")

    fake_tpu_info(monkeypatch, chips, None)
    (note,) = TpuDriver().notes
    assert "Expected one chip type" in note


def test_another_makers_card_behind_vfio(pod: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tpu_info(monkeypatch, lambda: (None, 0), None)
    driver = TpuDriver()
    assert driver.notes == ("TPU: none (looked for Google's chips on the PCI bus)",)
    assert driver.accelerators() == []


def test_tpu_figures(
    pod: Path, monkeypatch: pytest.MonkeyPatch, metrics_server: socket.socket
) -> None:
    def usages(_: Chip) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(
                device_id=n, memory_usage=n * GIB, total_memory=8 * GIB, duty_cycle_pct=50.0 + n
            )
            for n in range(4)
        ]

    fake_tpu_info(monkeypatch, lambda: (Chip(), 2), usages)
    driver = TpuDriver()
    assert [chip.label for chip in driver.accelerators()] == ["tpu:0", "tpu:1"]
    assert driver.accelerators()[0].name == "FAKE TPU v3 chip"
    first, second = driver.use()
    assert (first.memory_used_bytes, first.memory_total_bytes) == (1 * GIB, 16 * GIB)
    assert (second.memory_used_bytes, second.utilization_percent) == (5 * GIB, 53.0)


def test_a_tpu_on_which_nobody_trains(pod: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_tpu_info(monkeypatch, lambda: (Chip(), 1), lambda _: pytest.fail("nothing listens"))
    monkeypatch.setattr(tpu, "_METRICS_PORT", 1)
    (use,) = TpuDriver().use()
    assert use.memory_used_bytes is None
    assert use.memory_total_bytes == 16 * GIB


def test_apple_absent() -> None:
    if os.uname().sysname == "Darwin":
        pytest.skip("this is a Mac")
    (note,) = AppleDriver().notes
    assert note.startswith("Apple: not an Apple silicon Mac (looked at the platform: ")


def test_apple(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        os, "uname", lambda: SimpleNamespace(sysname="Darwin", machine="arm64", release="")
    )
    monkeypatch.setattr(
        apple, "sysctl", {"machdep.cpu.brand_string": "FAKE M4", "hw.memsize": "17179869184"}.get
    )
    driver = AppleDriver()
    (gpu,) = driver.accelerators()
    assert gpu.name == "FAKE M4 GPU (shares the machine's memory)"
    assert gpu.memory_total_bytes == 16 * GIB
    assert "root" in driver.notes[0]
    assert [use.label for use in driver.use()] == ["gpu:0"]
    assert driver.use(["another"]) == []


def test_two_makers_are_numbered_on(rocm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Fakes:
        """Stands in for NvidiaDriver: one GPU, number 0."""

        notes = ()

        def accelerators(self) -> list[Accelerator]:
            return [Accelerator("gpu", "nvidia", 0, "GPU-nvidia", "FAKE H200")]

        def use(self, only: Any = None) -> list[Any]:
            return []

        def close(self) -> None:
            pass

    monkeypatch.setattr("traindeck.core.devices.nvidia.NvidiaDriver", Fakes)
    monkeypatch.setitem(sys.modules, "amdsmi", fake_amdsmi(amdsmi_get_processor_handles=["only"]))
    machine = discover()
    assert [gpu.label for gpu in machine.gpus] == ["gpu:0", "gpu:1"]

    given = assign(parse_request("gpu:1"), {machine.gpus[1].slot}, machine)
    assert isinstance(given, Assignment)
    variables = environment(given, machine)
    assert variables["ROCR_VISIBLE_DEVICES"] == "GPU-feedfacefeedface"
    assert variables["HIP_VISIBLE_DEVICES"] == variables["CUDA_VISIBLE_DEVICES"] == "0"

    inventory._open_once.cache_clear()
    series = inventory.sample_gpus(["GPU-feedfacefeedface"])
    inventory._open_once.cache_clear()
    assert series["gpu1/power_watts"] == 151
