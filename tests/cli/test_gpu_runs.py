"""Runs on GPUs, through the whole house, over the FAKE libnvidia-ml.so.1 of tests/devices.

What this cannot show: that a framework trains on a real GPU.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import wait_for_state
from tests.core.devices.test_nvidia import GPU0, GPU1, SOURCE
from traindeck.core.base.home import Home
from traindeck.core.devices.nvidia import LIBRARY
from traindeck.core.run.folder import RunFolder

pytestmark = pytest.mark.slow

Command = Callable[..., "subprocess.CompletedProcess[str]"]
SHOW = "echo $CUDA_VISIBLE_DEVICES $TRAINDECK_DEVICE $TF_FORCE_GPU_ALLOW_GROWTH"
UNTIL_OPEN = "; while [ ! -e gate ]; do sleep 0.05; done; sleep 1.1"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler for the fake driver")
    library = tmp_path / LIBRARY
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, SOURCE], check=True)
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{tmp_path}:{os.environ.get('LD_LIBRARY_PATH', '')}")


def test_a_taken_gpu_makes_the_next_run_wait(
    traindeck: Command, home: Home, fake: None, tmp_path: Path
) -> None:
    runs = []
    for _ in range(2):
        command = ("--", "bash", "-c", SHOW + UNTIL_OPEN)
        begun = traindeck("run", "--on", "gpu:0", "--json", *command, cwd=tmp_path)
        runs.append(RunFolder(home.runs / json.loads(begun.stdout)["id"]))
    waiting = wait_for_state(runs[1], "queued")
    assert waiting["queue"] is not None
    assert f"gpu:0 is taken by {runs[0].id}" in waiting["queue"]["reason"]
    listed = json.loads(traindeck("devices", "--json").stdout)
    assert listed["held"] == {f"gpu-{GPU0}": runs[0].id}
    (tmp_path / "gate").touch()
    for run in runs:
        doc = wait_for_state(run)
        assert (doc["state"], doc["device"]) == ("finished", "gpu:0")
        assert (run.path / "output.log").read_text() == f"{GPU0} gpu true\n"
        assert "gpu0/memory_bytes" in (run.path / "device.names").read_text()


def test_any_free_gpu(traindeck: Command, home: Home, fake: None) -> None:
    command = ("--", "bash", "-c", "echo $CUDA_VISIBLE_DEVICES")
    doc = json.loads(traindeck("run", "--on", "gpu", "--wait", "--json", *command).stdout)
    assert doc["device"].startswith("gpu:")
    printed = (Path(doc["path"]) / "output.log").read_text().strip()
    assert printed.startswith(("GPU-", "MIG-"))
    assert printed != GPU1  # that one is split: only its slices can be trained on
    cpu = json.loads(traindeck("run", "--wait", "--json", *command).stdout)
    assert (Path(cpu["path"]) / "output.log").read_text() == "-1\n"


def test_a_gpu_that_is_not_there(traindeck: Command, fake: None) -> None:
    refused = traindeck("run", "--on", "gpu:9", "--", "true", code=4).stderr
    assert "gpu:9 does not exist: this machine has gpu:0" in refused
