"""GPUs on the screens, over the FAKE libnvidia-ml.so.1 of tests/devices.

What this cannot show: that a real driver answers as the fake does.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import COMMAND, wait_for_state
from tests.core.devices.test_nvidia import SOURCE
from traindeck.core.base.home import Home
from traindeck.core.devices.nvidia import LIBRARY
from traindeck.core.run.folder import RunFolder

ROOT = Path(__file__).parents[2]
LOOK = """
import asyncio, sys
from tests.tui.pilots import shown, until_shown
from tests.tui.recipe_files import open_form
from traindeck.core.base.home import Home
from traindeck.tui.app import TraindeckApp

async def look():
    app = TraindeckApp(Home.default())
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("3")
        await until_shown(pilot, "holder")
        await until_shown(pilot, "FAKE H200")
        print(shown(pilot))
        await pilot.press("2")
        await open_form(pilot, "torch-mnist")
        await until_shown(pilot, "taken by holder")
        print(shown(pilot))

asyncio.run(look())
"""


@pytest.mark.slow
def test_gpus_and_who_holds_them(home: Home, tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) to build the fake driver with")
    library = tmp_path / LIBRARY
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, SOURCE], check=True)
    machine = os.environ | {"LD_LIBRARY_PATH": str(tmp_path), "PYTHONPATH": str(ROOT)}
    command = [COMMAND, "run", "--on", "gpu:0", "--name", "holder", "--json", "--", "sleep", "600"]
    begun = subprocess.run(command, env=machine, capture_output=True, check=True)
    run = RunFolder(home.runs / json.loads(begun.stdout)["id"])
    wait_for_state(run, "running")
    looked = subprocess.run(
        [sys.executable, "-c", LOOK], env=machine, capture_output=True, text=True, timeout=120
    )
    assert looked.returncode == 0, looked.stderr[-3000:]
    devices, recipes = looked.stdout.split("2 Recipes  3 Devices")[1:]
    assert f"● holder {run.id}" in devices
    assert "% " in devices and "120 of 700 W  42 °C" in devices
    assert "gpu:1:0 FAKE H200 MIG" in devices and "split into slices" in devices
    offer = next(line for line in recipes.splitlines() if "taken by holder" in line)
    assert "gpu:0" in offer and run.id in offer
    assert "2 of 3 free" in recipes  # any GPU: two slices are left
