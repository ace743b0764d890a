"""What runs is what was kept at the launch, though the script was changed while the run waited."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import process_of, until, wait_for_state
from tests.core.supervisor.runs_that_end import Gate
from traindeck.core import launch
from traindeck.core.base.home import Home
from traindeck.core.launch import LaunchRequest
from traindeck.core.recipe.read import read_recipe
from traindeck.core.run import events
from traindeck.core.run.folder import RunFolder

SCRIPT = '''# /// script
# [tool.traindeck]
# name = "kept"
# [tool.traindeck.params.lr]
# type = "float"
# default = 0.1
# ///
"""What it is."""
from __future__ import annotations
import multiprocessing, pathlib, pickle, sys
import beside
from traindeck.core import track

VERSION = "ONE"

class Thing:
    pass

def work(queue):
    queue.put(VERSION)

if __name__ == "__main__":
    with track.start() as run:
        print("version", VERSION, "lr", run.params.lr, "argv", sys.argv[0] == __file__)
        print("beside", beside.NAME, pathlib.Path(__file__).with_name("data.txt").read_text())
        print("module", __name__, pickle.loads(pickle.dumps(Thing())).__class__ is Thing)
        print("path", sys.path[0] == str(pathlib.Path(__file__).parent))
        for how in ("fork", "spawn"):
            context = multiprocessing.get_context(how)
            queue = context.Queue()
            process = context.Process(target=work, args=(queue,))
            process.start()
            print(how, queue.get())
            process.join()
    raise ValueError("the end of ONE")
'''
SAID = """version ONE lr 0.5 argv True
beside module some data
module __main__ True
path True
fork ONE
spawn ONE
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "beside.py").write_text("NAME = 'module'\n")
    (folder / "data.txt").write_text("some data")
    path = folder / "kept.py"
    path.write_text(SCRIPT)
    return path


def queued(home: Home, script: Path, gate: Gate, start: Callable[..., RunFolder]) -> RunFolder:
    first = LaunchRequest(command=["bash", "-c", gate.wait], on="cpu:0")
    holder = RunFolder(Path(launch.launch(home, first)["path"]))
    process_of(holder, "child")
    recipe = read_recipe(script, str(script))
    request = LaunchRequest(recipe=recipe, params={"lr": 0.5}, on="cpu:0")
    run = RunFolder(Path(launch.launch(home, request)["path"]))
    until(lambda: run.state()[0] == "queued")
    return run


def notes(run: RunFolder) -> list[str]:
    lines = (run.path / "events.jsonl").read_bytes().splitlines()
    return [event["text"] for line in lines if (event := events.parse(line)) and "text" in event]


@pytest.mark.parametrize("change", ["none", "edited", "its header too", "gone"])
def test_a_queued_run_is_what_was_launched(
    home: Home, script: Path, gate: Gate, start: Callable[..., RunFolder], change: str
) -> None:
    run = queued(home, script, gate, start)
    if change == "edited":
        script.write_text(SCRIPT.replace("ONE", "TWO"))
    elif change == "its header too":
        script.write_text(SCRIPT.replace("ONE", "TWO").replace("lr", "rate").replace("0.1", "0.2"))
    elif change == "gone":
        script.unlink()
    gate.open()
    doc = wait_for_state(run)
    log = (run.path / "output.log").read_text()
    assert log.startswith(SAID), log
    assert doc["reason"] == "exit code 1: ValueError: the end of ONE"
    assert 'raise ValueError("the end of ONE")' in log
    assert (run.path / "source" / script.name).read_text() == SCRIPT
    told = [note for note in notes(run) if "it runs as it was launched" in note]
    assert len(told) == (change != "none")


def test_the_copy_runs_under_another_interpreter(script: Path, tmp_path: Path) -> None:
    import subprocess

    from traindeck.core.supervisor.kept import START

    python = shutil.which("python3", path="/usr/local/bin:/usr/bin:/bin")
    if python is None:
        pytest.skip("there is no other Python")
    copy = tmp_path / "copy.py"
    copy.write_text("import sys; print(__file__, sys.argv, __name__)\n")
    done = subprocess.run(
        [python, str(START), str(script), str(copy), "--lr=3"], capture_output=True, text=True
    )
    assert done.stdout == f"{script} {[str(script), '--lr=3']} __main__\n", done.stderr
