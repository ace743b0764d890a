"""A home's disk that fails while runs go on: every end is known, nothing waits for it for ever."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import COMMAND, process_of, until, wait_for_state
from tests.core.supervisor.runs_that_end import MINE, Gate, living, supervisor_that
from traindeck.core import control
from traindeck.core.base.errors import ControlError
from traindeck.core.base.home import Home
from traindeck.core.base.process import Identity
from traindeck.core.run.folder import RunFolder

pytestmark = pytest.mark.slow

EIO = """
def refuse(*_): raise OSError(5, 'Input/output error')
def broken(really):
    return lambda *words: refuse() if os.path.exists({gate!r}) else really(*words)
from traindeck.core.base import files
for name in ('pwrite', 'fsync', 'replace'):
    setattr(os, name, broken(getattr(os, name)))
"""


@pytest.fixture
def disk(home: Home, tmp_path: Path) -> Iterator[Callable[[], None]]:
    """The home's runs on an ext4 of their own; called, its journal is aborted, as after errors."""
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(32 << 20)
    made = subprocess.run(["mkfs.ext4", "-q", str(image)], capture_output=True)
    words = ["mount", "-o", "loop", str(image), str(home.runs)]
    if made.returncode or subprocess.run(words, capture_output=True).returncode:
        pytest.skip("needs an ext4 that can be mounted")
    (home.runs / "lost+found").rmdir()
    folders = lambda: [RunFolder(path) for path in home.runs.iterdir()]  # noqa: E731

    def abort() -> None:
        subprocess.run(["mount", "-o", "remount,abort", str(home.runs)], check=True)

    yield abort
    guardians: list[Identity] = [process_of(run, "supervisor") for run in folders()]
    for guardian in guardians:
        guardian.send(signal.SIGKILL)
    subprocess.run(["umount", "-l", str(home.runs)], check=True)


@pytest.mark.parametrize(
    ("shell", "state", "code"),
    [("exit 3", "failed", 3), ("true", "finished", 0), ("kill -SEGV $$", "killed", -11)],
)
def test_the_end_of_a_run_is_told_though_its_disk_is_aborted(
    start: Callable[..., RunFolder],
    gate: Gate,
    disk: Callable[[], None],
    shell: str,
    state: str,
    code: int,
) -> None:
    run = start(shell=f"{gate.wait}; echo words; {shell}")
    keeper, child = process_of(run, "keeper"), process_of(run, "child")
    disk()
    gate.open()
    until(lambda: not child.alive())
    until(lambda: run.state()[0] == state, f"{state}, not {run.state()}")
    assert run.verdict().exit_code == code
    assert "cannot be written down" in run.state()[1]
    assert not keeper.alive()
    listed = subprocess.run([COMMAND, "ls"], capture_output=True, text=True)
    assert state in listed.stdout, listed
    with pytest.raises(ControlError, match="does not run"):
        control.stop(run.path)


def test_a_kill_works_on_an_aborted_disk_whoever_is_left(
    start: Callable[..., RunFolder], disk: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor_that(monkeypatch, "cgroup.make = lambda name: None")
    runs = [start(shell=f"setsid -f sleep {MINE}1; sleep {MINE}2") for _ in range(2)]
    until(lambda: len(living(f"^sleep {MINE}")) == 4)
    for run in runs:
        process_of(run, "child")
    disk()
    for who in ("supervisor", "keeper"):
        os.kill(process_of(runs[1], who).pid, signal.SIGKILL)
    for run in runs:
        control.kill(run.path)
    until(lambda: living(f"^sleep {MINE}") == [], "their end")
    until(lambda: runs[0].state()[0] == "killed")
    assert runs[1].state()[0] == "lost"


def test_what_could_not_be_written_is_once_the_disk_is_back(
    start: Callable[..., RunFolder],
    gate: Gate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fails = tmp_path / "fails"
    supervisor_that(monkeypatch, EIO.format(gate=str(fails)))
    run = start(shell=f"{gate.wait}; exit 4")
    child = process_of(run, "child")
    fails.touch()
    gate.open()
    until(lambda: not child.alive())
    until(lambda: run.state()[0] == "failed")
    assert "cannot be written down" in run.state()[1]
    assert "state" not in (run.exit() or {})
    fails.unlink()
    until(lambda: "state" in (run.exit() or {}), "its end")
    doc = wait_for_state(run)
    assert (doc["state"], doc["exit_code"]) == ("failed", 4)
    assert "cannot" not in doc["reason"]
    until(lambda: not process_of(run, "supervisor").alive())


def test_a_keeper_alone_with_a_broken_disk_waits_no_more_than_a_minute(
    start: Callable[..., RunFolder],
    gate: Gate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fails = tmp_path / "fails"
    supervisor_that(monkeypatch, EIO.format(gate=str(fails)) + "k.RECORD_SECONDS = 0.5\n")
    run = start(shell=f"{gate.wait}; exit 4")
    keeper = process_of(run, "keeper")
    process_of(run, "child")
    os.kill(process_of(run, "supervisor").pid, signal.SIGKILL)
    fails.touch()
    gate.open()
    until(lambda: not keeper.alive(), "its end")
