"""Every way a run can end, each in the one true state with its reason, and nothing left behind."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import PATIENCE, process_of, until, wait_for_state
from tests.core.supervisor.runs_that_end import LOGGING, MINE, Gate, living, supervisor_that
from traindeck.core import control, launch
from traindeck.core.base.errors import ControlError
from traindeck.core.base.files import read_json
from traindeck.core.base.home import Home
from traindeck.core.base.process import STATE, stat_fields
from traindeck.core.catalogue.library import Library
from traindeck.core.catalogue.store import Catalogue
from traindeck.core.engines import signals
from traindeck.core.engines.leftovers import left_over
from traindeck.core.launch import LaunchRequest
from traindeck.core.run.folder import RunFolder

pytestmark = pytest.mark.slow


def test_finished(start: Callable[..., RunFolder]) -> None:
    doc = wait_for_state(start(shell="echo fine"))
    assert (doc["state"], doc["exit_code"], doc["reason"]) == ("finished", 0, "")


def test_failed_says_its_code_and_last_words(start: Callable[..., RunFolder]) -> None:
    doc = wait_for_state(start(python="raise ValueError('no such layer')"))
    assert (doc["state"], doc["exit_code"]) == ("failed", 1)
    assert doc["reason"] == "exit code 1: ValueError: no such layer"


def test_an_exit_code_like_a_signal_is_still_an_exit_code(start: Callable[..., RunFolder]) -> None:
    doc = wait_for_state(start(shell="exit 137"))
    assert (doc["state"], doc["exit_code"]) == ("failed", 137)


def test_a_command_that_does_not_exist(home: Home) -> None:
    doc = launch.launch(home, LaunchRequest(command=["no-such-command"]))
    doc = wait_for_state(RunFolder(Path(doc["path"])))
    assert doc["state"] == "failed"
    assert "could not be started: No such file or directory: no-such-command" in doc["reason"]


def test_stopped_within_the_grace(start: Callable[..., RunFolder]) -> None:
    run = start(python=LOGGING, grace=PATIENCE)
    until(lambda: (run.path / "points.bin").exists() and (run.path / "points.bin").stat().st_size)
    control.stop(run.path)
    doc = wait_for_state(run)
    assert (doc["state"], doc["exit_code"]) == ("stopped", 0)
    assert "on request" in doc["reason"]
    assert b"checkpoint saved" in (run.path / "output.log").read_bytes()


def test_killed_after_the_grace_with_all_it_started(start: Callable[..., RunFolder]) -> None:
    run = start(
        shell=f"trap '' TERM; setsid -f sleep {MINE}1; (setsid sleep {MINE}2 &); sleep {MINE}3; :"
    )
    until(lambda: len(living(f"^sleep {MINE}")) == 3)
    control.stop(run.path)
    doc = wait_for_state(run)
    assert doc["state"] == "killed"
    assert "SIGKILL" in doc["reason"]
    assert living(f"^sleep {MINE}") == []


def test_its_device_is_free_before_what_it_wrote_is_read(
    home: Home, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    on = {"command": ["true"], "on": "cpu:0"}
    with monkeypatch.context() as context:
        wait = f"while not os.path.exists({str(gate.path)!r}): s.time.sleep(0.01)"
        supervisor_that(context, f"def late(self, **_):\n    {wait}\ns.Intake.close = late")
        first = RunFolder(Path(launch.launch(home, LaunchRequest(**on))["path"]))
        until(lambda: (first.spec() or {}).get("child"), "its start")
    second = RunFolder(Path(launch.launch(home, LaunchRequest(**on))["path"]))
    assert wait_for_state(second)["state"] == "finished"
    assert (first.spec() or {})["state"] == "running"
    gate.open()
    assert wait_for_state(first)["state"] == "finished"


@pytest.mark.parametrize("late", [False, True], ids=["while it runs", "at its end"])
def test_a_supervisor_that_fails_sees_its_run_to_the_end(
    start: Callable[..., RunFolder], gate: Gate, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    part = "_verdict" if late else "_watch"
    broken = "def fail(*_):\n    s.Supervisor.{0} = really; raise ValueError('broken')"
    change = f"really = s.Supervisor.{part}\n{broken.format(part)}\ns.Supervisor.{part} = fail"
    with monkeypatch.context() as context:
        supervisor_that(context, change)
        run = start(shell=f"{gate.wait}; exit 3")
        process_of(run, "child")
    gate.open()
    doc = wait_for_state(run)
    assert (doc["state"], doc["exit_code"]) == ("failed", 3)


def test_what_a_finished_run_left_is_ended(start: Callable[..., RunFolder]) -> None:
    run = start(
        shell=f"setsid -f bash -c 'trap \"\" TERM; while :; do sleep 0.{MINE}; done'; exit 3"
    )
    doc = wait_for_state(run)
    assert (doc["state"], doc["exit_code"]) == ("failed", 3)
    assert living(f"sleep 0.{MINE}") == []


def test_kill_on_request(start: Callable[..., RunFolder]) -> None:
    run = start(python=LOGGING)
    process_of(run, "child")
    control.kill(run.path)
    doc = wait_for_state(run)
    assert doc["state"] == "killed"
    assert "on request" in doc["reason"]
    with pytest.raises(ControlError, match="does not run"):
        control.stop(run.path)


def test_killed_by_another_loses_no_flushed_point(start: Callable[..., RunFolder]) -> None:
    run = start(python=LOGGING)
    points = run.path / "points.bin"
    until(lambda: points.exists() and points.stat().st_size > 28 * 200)
    flushed = points.read_bytes()
    os.kill(process_of(run, "child").pid, signal.SIGKILL)
    doc = wait_for_state(run)
    assert doc["state"] == "killed"
    assert "SIGKILL, not sent by traindeck" in doc["reason"]
    assert points.read_bytes().startswith(flushed)
    assert doc["metrics"]["loss"]["count"] >= len(flushed) // 28


def test_a_crash_names_its_signal(start: Callable[..., RunFolder]) -> None:
    doc = wait_for_state(start(shell="kill -SEGV $$"))
    assert doc["state"] == "killed"
    assert "SIGSEGV" in doc["reason"]


def test_supervisor_killed_the_exit_code_is_still_recorded(
    home: Home, start: Callable[..., RunFolder], gate: Gate
) -> None:
    run = start(shell=f"{gate.wait}; exit 5")
    process_of(run, "child")
    os.kill(process_of(run, "supervisor").pid, signal.SIGKILL)
    until(lambda: not process_of(run, "supervisor").alive())
    assert run.state()[0] == "running"
    gate.open()
    doc = wait_for_state(run)
    assert (doc["state"], doc["exit_code"]) == ("failed", 5)
    library = Library(home)
    library.runs()
    library.tend()
    until(lambda: [doc["state"] for doc in Catalogue(home).all()] == ["failed"], "healing")
    assert read_json(run.path / "exit.json")["state"] == "failed"  # type: ignore[index]


def test_a_run_without_its_supervisor_can_be_stopped(start: Callable[..., RunFolder]) -> None:
    run = start(python=LOGGING, grace=PATIENCE)
    process_of(run, "child")
    first = process_of(run, "supervisor")
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: not first.alive())
    until(lambda: run.path.joinpath("points.bin").exists())
    control.stop(run.path)
    doc = wait_for_state(run)
    assert doc["state"] == "stopped"
    assert process_of(run, "supervisor") != first


def test_keeper_killed_the_exit_code_is_still_recorded(
    start: Callable[..., RunFolder], gate: Gate
) -> None:
    run = start(shell=f"{gate.wait}; exit 6")
    child = process_of(run, "child")
    os.kill(process_of(run, "keeper").pid, signal.SIGKILL)
    gate.open()
    doc = wait_for_state(run)
    assert (doc["state"], doc["exit_code"]) == ("failed", 6)
    assert not child.alive()


def test_lost_when_nobody_is_left_to_know(start: Callable[..., RunFolder]) -> None:
    run = start(shell=f"sleep {MINE}4")
    child = process_of(run, "child")
    for who in ("supervisor", "keeper"):
        os.kill(process_of(run, who).pid, signal.SIGKILL)
    until(lambda: not process_of(run, "keeper").alive())
    assert run.state()[0] == "running"
    os.kill(child.pid, signal.SIGKILL)
    doc = wait_for_state(run)
    assert doc["state"] == "lost"
    assert doc["exit_code"] is None


def test_what_a_dying_supervisor_did_not_hear_is_asked_of_the_next(
    start: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start(shell=f"sleep {MINE}5")
    process_of(run, "child")
    supervisor = process_of(run, "supervisor").pid
    monkeypatch.setattr(signals, "HEAR_SECONDS", PATIENCE)
    os.kill(supervisor, signal.SIGSTOP)
    until(lambda: (stat_fields(supervisor) or [b""])[STATE] == b"T")
    asking = threading.Thread(target=control.kill, args=(run.path,))
    asking.start()
    status = Path(f"/proc/{supervisor}/status")
    usr1 = 1 << (signal.SIGUSR1 - 1)
    until(lambda: int(status.read_text().split("ShdPnd:")[1].split()[0], 16) & usr1)
    os.kill(supervisor, signal.SIGKILL)
    asking.join(PATIENCE)
    assert wait_for_state(run)["state"] == "killed"
    assert living(f"^sleep {MINE}") == []


@pytest.mark.parametrize("groups", [True, False], ids=["group", "no-group"])
@pytest.mark.parametrize("ended", [False, True], ids=["running", "ended"])
def test_a_run_that_lost_both_is_killed_whole(
    start: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch, groups: bool, ended: bool
) -> None:
    if not groups:
        supervisor_that(monkeypatch, "cgroup.make = lambda name: None")
    run = start(shell=f"setsid -f sleep {MINE}6; sleep {MINE}8 & sleep {MINE}7")
    child = process_of(run, "child")
    until(lambda: len(living(f"^sleep {MINE}")) == 3)
    if groups and not (run.spec() or {}).get("group"):
        pytest.skip("needs a writable control group (v2)")
    for who in ("supervisor", "keeper"):
        os.kill(process_of(run, who).pid, signal.SIGKILL)
    for who in ("supervisor", "keeper"):
        until(lambda who=who: not process_of(run, who).alive())  # type: ignore[misc]
    if ended:
        os.kill(child.pid, signal.SIGKILL)
        until(lambda: not child.alive())
        assert run.state()[0] == "lost"
    control.kill(run.path)
    doc = wait_for_state(run)
    assert doc["state"] == "lost"
    assert "exit code" in doc["reason"]
    until(lambda: living(f"^sleep {MINE}") == [], "the end of all")


def test_what_a_lost_run_left_is_ended_when_it_is_settled(
    home: Home, start: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor_that(monkeypatch, "cgroup.make = lambda name: None")
    run = start(shell=f"setsid -f sleep {MINE}6; env -i sleep {MINE}9")
    until(lambda: len(living(f"^sleep {MINE}")) == 2)
    for who in ("supervisor", "keeper"):
        os.kill(process_of(run, who).pid, signal.SIGKILL)
    os.kill(process_of(run, "child").pid, signal.SIGKILL)
    until(lambda: run.state()[0] == "lost")
    library = Library(home)
    library.runs()
    library.tend()
    until(lambda: "state" in (run.exit() or {}), "its verdict")
    assert living(f"^sleep {MINE}") == []


def test_a_kill_ends_the_run_of_a_home_that_cannot_be_written(
    home: Home, start: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor_that(monkeypatch, "cgroup.make = lambda name: None")
    run = start(shell=f"setsid -f sleep {MINE}6; sleep {MINE}7")
    until(lambda: len(living(f"^sleep {MINE}")) == 2)
    for who in ("supervisor", "keeper"):
        os.kill(process_of(run, who).pid, signal.SIGKILL)
    until(lambda: not process_of(run, "keeper").alive())
    with monkeypatch.context() as context:
        supervisor_that(
            context,
            "from traindeck.core.supervisor import main as m\n"
            "def refuse(path): raise OSError(30, 'Read-only file system', str(path))\n"
            "m.take_charge = refuse",
        )
        control.kill(run.path)
    assert living(f"^sleep {MINE}") == []


def test_nobody_elses_processes_are_a_runs(
    start: Callable[..., RunFolder], gate: Gate, tmp_path: Path
) -> None:
    one, two = start(shell=gate.wait), start(shell=gate.wait)
    child = process_of(one, "child")
    other = process_of(two, "child")
    found = {process.pid for process in left_over(one.path)}
    assert child.pid in found
    assert other.pid not in found
    assert os.getpid() not in found
    gate.open()
    wait_for_state(one)
    wait_for_state(two)
    assert left_over(one.path) == []
    with pytest.raises(ControlError, match="does not run"):
        control.kill(one.path)
