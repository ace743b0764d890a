"""The API recipes log through: by hand, managed, and when the disk lets it down."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import until
from traindeck.core.run import events
from traindeck.core.run.points import RECORD, summarize

SCRIPT = """\
# /// script
# [tool.traindeck]
# title = "A 100 % toy"
# description = "It trains nothing."
# devices = ["cpu", "gpu"]
# [tool.traindeck.params.epochs]
# type = "int"
# default = 2
# min = 1
# help = "how many"
# [tool.traindeck.params.mode]
# type = "choice"
# default = "eager"
# choices = ["eager", "graph"]
# [tool.traindeck.params.shuffle]
# type = "bool"
# default = true
# ///
import time

from traindeck.core import track

with track.start() as run:
    print(run.params, run.device, run.folder)
    for epoch in range(run.params.epochs):
        run.log(epoch, {"loss": 1.0}, accuracy=0.5)
        run.progress(epoch + 1, run.params.epochs)
        time.sleep(0.05)
        if run.should_stop():
            print("leaving early")
            break
    (run.artifacts / "model").write_text("x")
    run.artifact(run.artifacts / "model", "model")
"""


def run(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    script = folder / "toy.py"
    script.write_text(SCRIPT)
    return subprocess.run(
        [sys.executable, str(script), *words],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def test_help_is_made_from_the_header(tmp_path: Path) -> None:
    text = run(tmp_path, "--help").stdout
    for words in ("A 100 % toy. It trains nothing.", "--epochs INT", "how many; at least 1"):
        assert words in text
    assert "--shuffle" in text
    assert "--no-shuffle" in text


def test_by_hand_it_prints(tmp_path: Path) -> None:
    done = run(tmp_path, "--epochs", "1", "--mode=graph", "--no-shuffle", "--device", "gpu")
    assert "namespace(epochs=1, mode='graph', shuffle=False) gpu None" in done.stdout
    assert "step 0  loss 1  accuracy 0.5" in done.stdout
    [made] = tmp_path.glob("artifacts/toy-*")
    assert (made / "model").exists()
    assert done.stdout.count(f"checkpoints go to artifacts/{made.name}\n") == 1


def test_wrong_values_are_usage_errors(tmp_path: Path) -> None:
    for words in (["--epochs", "0"], ["--epochs", "x"], ["--mode", "lazy"], ["--epoch", "1"]):
        done = run(tmp_path, *words)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


def test_a_folder_if_asked(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    assert run(tmp_path, "--run-folder", str(folder)).returncode == 0
    assert summarize(folder)["accuracy"]["count"] == 2
    lines = (folder / "events.jsonl").read_bytes().splitlines()
    artifact = events.parse(lines[0])
    assert artifact is not None
    assert (artifact["type"], artifact["kind"]) == ("artifact", "model")
    assert (folder / "artifacts" / "model").exists()


def test_a_folder_that_cannot_be_written_never_stops_training(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    done = run(tmp_path, TRAINDECK_RUN_FOLDER=str(blocked / "run"))
    assert done.stderr.count("training goes on") == 1
    assert "FileNotFoundError" in done.stderr or done.returncode == 1


def test_ctrl_c_ends_it_politely(tmp_path: Path) -> None:
    script = tmp_path / "toy.py"
    script.write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(script), "--epochs=10000", "--run-folder", str(tmp_path / "out")],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    points = tmp_path / "out" / "points.bin"
    until(lambda: points.exists() and points.stat().st_size > 28 * 6)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=30)
    assert "leaving early" in printed
    assert process.returncode == 130


def test_points_reach_the_disk_while_the_recipe_sleeps(tmp_path: Path) -> None:
    text = (
        "import time; from pathlib import Path; from traindeck.core import track\n"
        f"run = track.Run(folder=Path({str(tmp_path)!r}), managed=True)\n"
        "run.log(1, loss=1.0)\nrun.log(2, loss=2.0)\ntime.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", text])
    try:
        until(lambda: summarize(tmp_path).get("loss", {}).get("count") == 2)
    finally:
        process.kill()
        process.wait()


def test_forked_workers_do_not_write_twice(tmp_path: Path) -> None:
    text = (
        "import os, time; from pathlib import Path; from traindeck.core import track\n"
        f"run = track.Run(folder=Path({str(tmp_path)!r}), managed=True)\n"
        "run.log(1, loss=1.0)\n"
        "pid = os.fork()\n"
        "if not pid:\n    run.log(2, loss=2.0)\n    run.close()\n    os._exit(0)\n"
        "os.waitpid(pid, 0)\nrun.close()\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", text], check=True)
    assert (tmp_path / "points.bin").stat().st_size == 2 * RECORD.size


@pytest.mark.parametrize("end", ["", "time.sleep(0.5); os._exit(0)"], ids=["returns", "goes on"])
def test_what_a_forked_worker_logs_is_recorded(tmp_path: Path, end: str) -> None:
    text = (
        "import multiprocessing, os, time; from pathlib import Path\n"
        "from traindeck.core import track\n"
        f"run = track.Run(folder=Path({str(tmp_path)!r}), managed=True)\n"
        "def work():\n"
        "    for step in range(3):\n"
        "        run.log(step, worker=1.0)\n"
        f"    {end}\n"
        "run.log(1, loss=1.0)\n"
        "worker = multiprocessing.get_context('fork').Process(target=work)\n"
        "worker.start(); worker.join()\n"
        "run.log(2, loss=1.0)\n"
        "run.close()\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", text], check=True)
    summary = summarize(tmp_path)
    assert (summary["worker"]["count"], summary["loss"]["count"]) == (3, 2)


def test_a_worker_thread_that_asks_first_keeps_nobody_from_hearing_a_stop(tmp_path: Path) -> None:
    text = (
        "import os, signal, threading; from traindeck.core import track\n"
        "run = track.Run()\n"
        "asking = threading.Thread(target=run.should_stop); asking.start(); asking.join()\n"
        "assert not run.should_stop()\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "assert run.should_stop()\n"
    )
    subprocess.run([sys.executable, "-c", text], check=True)
