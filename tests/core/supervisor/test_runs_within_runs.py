"""A run that is started from within another, as by a sweep's script, is a run of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import COMMAND, process_of, until, wait_for_state
from tests.core.supervisor.runs_that_end import MINE, Gate, living, supervisor_that
from traindeck.core import control
from traindeck.core.base.home import Home
from traindeck.core.base.process import variable
from traindeck.core.catalogue.document import document
from traindeck.core.devices.family import family
from traindeck.core.run.folder import RunFolder

INNER = f"{COMMAND} run --name inner -- bash -c"


def inner_of(home: Home, outer: RunFolder) -> RunFolder:
    def look() -> RunFolder | None:
        names = (path.name for path in home.runs.iterdir() if path.name != outer.id)
        found = next((RunFolder(home.runs / name) for name in names), None)
        return found if found and (found.spec() or {}).get("child") else None

    run: RunFolder = until(look, "the inner run")
    return run


@pytest.mark.parametrize("groups", [True, False], ids=["group", "no-group"])
@pytest.mark.parametrize("end", ["by itself", "killed", "stopped"])
def test_it_goes_on_when_the_outer_one_ends(
    home: Home,
    start: Callable[..., RunFolder],
    gate: Gate,
    monkeypatch: pytest.MonkeyPatch,
    end: str,
    groups: bool,
) -> None:
    if not groups:
        supervisor_that(monkeypatch, "cgroup.make = lambda name: None")
    rest = "true" if end == "by itself" else f"sleep {MINE}1"
    outer = start(shell=f"{INNER} {gate.wait + '; echo done; exit 3'!r}; {rest}")
    inner = inner_of(home, outer)
    if end == "killed":
        control.kill(outer.path)
    elif end == "stopped":
        control.stop(outer.path)
    expected = {"by itself": "finished", "killed": "killed", "stopped": "stopped"}[end]
    assert wait_for_state(outer)["state"] == expected
    assert inner.state()[0] == "running"
    assert process_of(inner, "supervisor").alive()
    assert living(f"^sleep {MINE}") == []
    gate.open()
    doc = wait_for_state(inner)
    assert (doc["state"], doc["exit_code"]) == ("failed", 3)


def test_neither_has_the_others_processes_or_environment(
    home: Home, start: Callable[..., RunFolder], gate: Gate
) -> None:
    outer = start(shell=f"{INNER} {gate.wait!r}; {gate.wait}")
    inner = inner_of(home, outer)
    child = process_of(inner, "child")
    assert variable(child.pid, "TRAINDECK_RUN_FOLDER") == str(inner.path)
    assert variable(child.pid, "TRAINDECK_SUPERVISOR") is None
    assert variable(process_of(inner, "supervisor").pid, "TRAINDECK_RUN_FOLDER") is None
    assert child.pid not in family(process_of(outer, "keeper").pid)
    groups = [(run.spec() or {}).get("group") for run in (outer, inner)]
    if all(groups):
        assert Path(str(groups[0])).parent == Path(str(groups[1])).parent
    gate.open()
    wait_for_state(outer)
    wait_for_state(inner)
    doc = document(outer)
    assert doc is not None


def test_what_pretends_nothing_is_still_ended(start: Callable[..., RunFolder]) -> None:
    """Only other runs are left alone: not what was started without its environment."""
    run = start(shell=f"env -i /usr/bin/setsid -f /bin/sleep {MINE}2; exit 4")
    doc = wait_for_state(run)
    assert (doc["state"], doc["exit_code"]) == ("failed", 4)
    assert living(f"sleep {MINE}") == []


def test_it_survives_its_own_supervisor_within_the_outer_one(
    home: Home, start: Callable[..., RunFolder], gate: Gate
) -> None:
    outer = start(shell=f"{INNER} {gate.wait + '; exit 5'!r}")
    inner = inner_of(home, outer)
    os.kill(process_of(inner, "supervisor").pid, signal.SIGKILL)
    assert wait_for_state(outer)["state"] == "finished"
    assert process_of(inner, "child").alive()
    gate.open()
    doc = wait_for_state(inner)
    assert (doc["state"], doc["exit_code"]) == ("failed", 5)
