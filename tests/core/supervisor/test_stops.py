"""Whom a stop reaches: all who must end well, and none whose end would spoil another's."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import PATIENCE, until, wait_for_state
from traindeck.core import control
from traindeck.core.run.folder import RunFolder

pytestmark = pytest.mark.slow

TRAIN = """
import os, signal, sys, time
def save(*_):
    print("saving", flush=True)
    time.sleep(0.5)
    print("checkpoint saved", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print("training", flush=True)
for _ in range(6000): time.sleep(0.1)
"""
WORKERS = """
import multiprocessing, os, signal, sys, time
def work():
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    time.sleep(600)
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
workers = [multiprocessing.get_context(how).Process(target=work) for how in ("fork", "spawn")]
if __name__ == "__main__":
    for worker in workers: worker.start()
    print("training", flush=True)
    while not stopped: time.sleep(0.05)
    time.sleep(1.5)
    print("workers alive:", sum(worker.is_alive() for worker in workers), flush=True)
    for worker in workers: worker.kill()
    print("checkpoint saved", flush=True)
"""
PASSES = (
    "import subprocess, sys; sys.exit(subprocess.run([sys.executable, sys.argv[1]]).returncode)"
)
SWALLOWS = f"import signal; signal.signal(signal.SIGTERM, lambda *_: None); {PASSES}"
SHELLS = {
    "trap": "trap 'echo trapped' TERM; {train}; echo over",
    "ignoring": "trap '' HUP; trap : TERM; {train}",
    "trap in a function": "f() {{ {train}; }}; trap : TERM; f; echo over",
    "subshell": "trap : TERM; ( {train}; true ); echo over",
    "script in a script": "trap : TERM; bash -c '{train}; true'; echo over",
    "untrapped": "{train}; true",
    "piped": "trap : TERM; {train} | tee copy; echo over",
    "piped, untrapped": "{train} | cat; true",
    "passing it on": "trap 'kill $job' TERM; {train} & job=$!; wait $job; wait $job",
    "waiting": "trap 'exit 3' TERM; {train} & wait",
    "Python that swallows": 'exec {python} -c "{swallows}" {script}',
}


@pytest.mark.parametrize("kind", SHELLS)
def test_a_stop_lets_the_training_save_its_state_once(
    start: Callable[..., RunFolder],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    words = {
        "train": f"{sys.executable} {script}",
        "python": sys.executable,
        "script": script,
        "swallows": SWALLOWS,
    }
    grace = 6.0 if kind.startswith("Python") else PATIENCE
    run = start(shell=SHELLS[kind].format(**words), grace=grace)
    log = run.path / "output.log"
    until(lambda: log.exists() and b"training" in log.read_bytes())
    control.stop(run.path)
    doc = wait_for_state(run)
    assert log.read_bytes().count(b"checkpoint saved") == 1
    assert doc["state"] == "stopped"


@pytest.mark.parametrize("wrapped", [False, True], ids=["alone", "in a shell"])
def test_a_stop_does_not_end_a_trainings_own_workers(
    start: Callable[..., RunFolder], tmp_path: Path, wrapped: bool
) -> None:
    script = tmp_path / "train.py"
    script.write_text(WORKERS)
    train = f"{sys.executable} {script}"
    run = start(shell=f"trap : TERM; {train}; true" if wrapped else f"exec {train}", grace=2.0)
    log = run.path / "output.log"
    until(lambda: log.exists() and b"training" in log.read_bytes())
    control.stop(run.path)
    wait_for_state(run)
    assert b"workers alive: 2\ncheckpoint saved" in log.read_bytes()
