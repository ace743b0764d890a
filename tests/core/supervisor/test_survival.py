"""What a run survives: killed helpers, a closed terminal, a reboot, a full or read-only disk."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import COMMAND, process_of, until, wait_for_state
from tests.core.supervisor.runs_that_end import LOGGING, MINE, Gate, living, supervisor_that
from traindeck.core import launch
from traindeck.core.base.files import read_json, write_json
from traindeck.core.base.home import Home
from traindeck.core.catalogue.document import document
from traindeck.core.catalogue.library import Library
from traindeck.core.run.folder import RunFolder


@pytest.mark.parametrize("groups", [True, False], ids=["group", "no-group"])
def test_supervisor_killed_before_it_recorded_the_run(
    home: Home,
    start: Callable[..., RunFolder],
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
    groups: bool,
) -> None:
    with monkeypatch.context() as context:
        supervisor_that(
            context,
            "save = s.Supervisor.save\n"
            "def die(self, **changes):\n"
            "    if changes.get('state') == 'running': os.kill(os.getpid(), 9)\n"
            "    save(self, **changes)\n"
            "s.Supervisor.save = die\n" + ("" if groups else "cgroup.make = lambda name: None\n"),
        )
        run = start(shell=f"{gate.wait}; echo 'so far'; exit 5")
    process_of(run, "child")
    until(lambda: not process_of(run, "supervisor").alive())
    assert run.state()[0] == "running"
    library = Library(home)
    library.runs()
    library.tend()
    gate.open()
    doc = wait_for_state(run)
    assert (doc["state"], doc["exit_code"]) == ("failed", 5)
    assert "so far" in doc["reason"]


def test_supervisor_killed_before_its_keeper_was_known_starts_nothing(
    start: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor_that(
        monkeypatch,
        "k.encode_exit = lambda record: os.kill(os.getpid(), 9)",
    )
    run = start(shell=f"sleep {MINE}8")
    doc = wait_for_state(run)
    assert doc["state"] == "lost"
    assert living(f"^sleep {MINE}8") == []


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_keeper_that_is_killed_while_it_starts_the_run(
    start: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, moment: str
) -> None:
    die = (
        f"once = {str(tmp_path / 'once')!r}\n"
        + {
            "before": "keep = k._keep\n"
            "def die(*words):\n"
            "    if os.path.exists(once): return keep(*words)\n"
            "    open(once, 'w').close(); os.kill(os.getpid(), 9)\n"
            "k._keep = die",
            "after": "spawn = k._spawn\n"
            "def die(*words):\n"
            "    spawn(*words); os.kill(os.getpid(), 9)\n"
            "k._spawn = die",
        }[moment]
    )
    supervisor_that(monkeypatch, die)
    ran = tmp_path / "ran"
    doc = wait_for_state(start(shell=f"echo ran >> {ran}; sleep 0.5; exit 6"))
    assert (doc["state"], doc["exit_code"]) == ("failed", 6)
    assert ran.read_text() == "ran\n"


def test_a_keeper_that_is_killed_once_it_has_reaped_the_run_loses_no_exit_code(
    start: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor_that(monkeypatch, "k._record = lambda *_, **facts: os.kill(os.getpid(), 9)")
    doc = wait_for_state(start(shell="exit 6"))
    assert (doc["state"], doc["exit_code"]) == ("failed", 6)


def test_a_keeper_that_dies_before_the_run_is_named_alone(
    start: Callable[..., RunFolder], gate: Gate
) -> None:
    """The supervisor, which inherits the run, lives and knows how it ended."""
    run = start(shell=f"{gate.wait}; exit 7")
    keeper = process_of(run, "keeper")
    process_of(run, "child")
    os.kill(keeper.pid, signal.SIGKILL)
    until(lambda: not keeper.alive())
    gate.open()
    doc = wait_for_state(run)
    assert (doc["state"], doc["exit_code"]) == ("failed", 7)


def test_terminal_closed(home: Home) -> None:
    manager, terminal = pty.openpty()
    command = [COMMAND, "run", "--wait", "--", "bash", "-c", "sleep 1; echo survived"]
    shell = subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True
    )
    os.close(terminal)
    run = RunFolder(until(lambda: next(home.runs.iterdir(), None)))
    process_of(run, "child")
    os.close(manager)
    os.killpg(shell.pid, signal.SIGHUP)
    shell.wait()
    doc = wait_for_state(run)
    assert doc["state"] == "finished"
    assert (run.path / "output.log").read_bytes() == b"survived\n"


def test_machine_rebooted(start: Callable[..., RunFolder]) -> None:
    run = start(shell=f"sleep {MINE}5")
    process_of(run, "child")
    spec = run.spec()
    assert spec is not None
    for who in ("supervisor", "keeper", "child"):
        os.kill(process_of(run, who).pid, signal.SIGKILL)
        spec[who]["boot_id"] = "another"
    spec["boot_id"] = "another"
    write_json(run.path / "run.json", spec)
    (run.path / "exit.json").write_bytes(b" " * 100)
    assert run.state() == ("lost", "the machine was restarted while the run was running")


def test_pid_reused(start: Callable[..., RunFolder]) -> None:
    run = start(shell="exit 0")
    wait_for_state(run)
    until(lambda: not process_of(run, "supervisor").alive())
    spec = run.spec()
    assert spec is not None
    (run.path / "exit.json").unlink()
    for who in ("supervisor", "keeper", "child"):
        spec[who]["pid"] = os.getpid()
    spec["state"] = "running"
    write_json(run.path / "run.json", spec)
    assert run.state()[0] == "lost"


def test_clock_set_back(start: Callable[..., RunFolder]) -> None:
    run = start(shell="sleep 0.3")
    wait_for_state(run)
    end = read_json(run.path / "exit.json")
    assert end is not None
    end["ended"] -= 86400  # as if the clock had been set back a day while it ran
    write_json(run.path / "exit.json", end)
    doc = document(run)
    assert doc is not None
    assert doc["state"] == "finished"
    assert doc["seconds"] is not None
    assert 0.2 < doc["seconds"] < 60


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_disk_full(home: Home, start: Callable[..., RunFolder]) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", home.runs], check=True)
    try:
        run = start(python=LOGGING + "\nsys.exit(9)\n")
        points = run.path / "points.bin"
        until(lambda: points.exists() and points.stat().st_size > 28 * 20)
        filler = home.runs / "filler"
        with pytest.raises(OSError, match="No space"), filler.open("wb", buffering=0) as file:
            while file.write(b"x" * 4096):
                pass
        flushed = points.read_bytes()
        time.sleep(0.5)  # let it run against the full disk
        os.kill(process_of(run, "child").pid, signal.SIGKILL)
        doc = wait_for_state(run)
        assert (doc["state"], doc["exit_code"]) == ("killed", -9)
        assert points.read_bytes().startswith(flushed)
        filler.unlink()
        until(lambda: not process_of(run, "supervisor").alive())
    finally:
        subprocess.run(["umount", "-l", home.runs], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a folder read-only needs root")
def test_home_read_only(home: Home, start: Callable[..., RunFolder]) -> None:
    run = start(shell="exit 0")
    wait_for_state(run)
    until(lambda: not process_of(run, "supervisor").alive())
    subprocess.run(["mount", "--bind", "-o", "ro", home.root, home.root], check=True)
    try:
        assert Library(home).find("@last")["state"] == "finished"
        assert len(Library(home).runs()) == 1
        with pytest.raises(launch.LaunchError, match="cannot be recorded in"):
            start(shell="exit 0")
        by_hand = subprocess.run(
            [
                sys.executable,
                "-c",
                "from traindeck.core import track\n"
                "with track.Run(folder=__import__('pathlib').Path(r'%s')) as run:\n"
                "    run.log(1, loss=2.0)\n    print('trained')" % (home.runs / "x"),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "trained" in by_hand.stdout
        assert by_hand.stderr.count("training goes on") == 1
    finally:
        subprocess.run(["umount", home.root], check=True)


@pytest.mark.slow
def test_what_killed_clerks_and_supervisors_were_writing_is_swept(
    home: Home, start: Callable[..., RunFolder], gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    dies = (
        "from traindeck.core.base import files\n"
        "me = []\n"
        "fork = os.fork\n"
        "def forked():\n"
        "    pid = fork()\n"
        "    if not pid: me.append(1)\n"
        "    return pid\n"
        "os.fork = forked\n"
        "replace = os.replace\n"
        "def die(one, two):\n"
        "    if len(me) > 1 or os.path.exists({gate!r}): os.kill(os.getpid(), 9)\n"
        "    replace(one, two)\n"
        "os.replace = die\n"
    )
    with monkeypatch.context() as context:
        supervisor_that(context, dies.format(gate=str(gate.path)))
        run = start(shell=f"{gate.wait}; exit 5")
    process_of(run, "child")

    def left() -> list[str]:
        folders = (run.path, run.path / "source", home.root)
        return [path.name for folder in folders for path in folder.glob(".*.[0-9]*-[0-9]*")]

    until(lambda: not left(), "the sweeping after clerks")
    gate.open()
    until(lambda: not process_of(run, "supervisor").alive())
    assert left() != []
    library = Library(home)
    library.runs()
    library.tend()
    wait_for_state(run)
    until(lambda: left() == [], "the sweeping after the supervisor")
