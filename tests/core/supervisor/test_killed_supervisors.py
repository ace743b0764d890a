"""Whoever of supervisor and keeper is killed: what became of the run is known all the same."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from tests.conftest import PATIENCE, process_of, until, wait_for_state
from tests.core.supervisor.runs import LOGGING, MINE, Gate, living, supervisor_that
from traindeck.core import control
from traindeck.core.base.files import read_json, write_json
from traindeck.core.base.home import Home
from traindeck.core.catalogue.document import document
from traindeck.core.catalogue.library import Library
from traindeck.core.catalogue.store import Catalogue
from traindeck.core.run.folder import RunFolder


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


def test_a_run_that_lost_both_is_killed_whole(start: Callable[..., RunFolder]) -> None:
    run = start(shell=f"setsid -f sleep {MINE}6; sleep {MINE}7")
    process_of(run, "child")
    until(lambda: len(living(f"^sleep {MINE}")) == 2)
    if not (run.spec() or {}).get("group"):
        pytest.skip("needs a writable control group (v2)")
    for who in ("supervisor", "keeper"):
        os.kill(process_of(run, who).pid, signal.SIGKILL)
    until(lambda: not process_of(run, "keeper").alive())
    control.kill(run.path)
    assert wait_for_state(run)["state"] == "lost"
    assert living(f"^sleep {MINE}") == []


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


def test_what_was_printed_while_nobody_watched_is_not_lost(
    home: Home, start: Callable[..., RunFolder], gate: Gate
) -> None:
    text = (
        "import json, subprocess\n"
        "for step in range(60):\n"
        "    print(json.dumps({'step': step, 'loss': step / 2}), flush=True)\n"
        "    if step == 30:\n"
        f"        subprocess.run(['bash', '-c', {gate.wait!r}])\n"
    )
    run = start(python=text)
    until(lambda: (document(run) or {}).get("metrics"), "the first points")
    os.kill(process_of(run, "supervisor").pid, signal.SIGKILL)
    gate.open()
    wait_for_state(run)
    library = Library(home)
    library.runs()
    library.tend()
    until(lambda: "state" in (run.exit() or {}), "the verdict")
    doc = document(run)
    assert doc is not None
    assert doc["metrics"]["loss"]["count"] == 60
    assert (doc["state"], doc["exit_code"]) == ("finished", 0)


def test_out_of_memory_while_nobody_watched(
    home: Home, start: Callable[..., RunFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    count = "from traindeck.core.supervisor import oom\noom._kills = lambda: "
    with monkeypatch.context() as context:
        supervisor_that(context, f"{count}7")
        run = start(shell=f"sleep {MINE}9")
    child = process_of(run, "child")
    os.kill(process_of(run, "supervisor").pid, signal.SIGKILL)
    os.kill(child.pid, signal.SIGKILL)
    until(lambda: run.state()[0] == "killed")
    supervisor_that(monkeypatch, f"{count}8")
    library = Library(home)
    library.runs()
    library.tend()
    until(lambda: "state" in (run.exit() or {}), "the verdict")
    assert run.state()[0] == "out_of_memory"
