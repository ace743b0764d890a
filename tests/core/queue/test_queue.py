"""A taken device makes runs wait, in order, and they start by themselves."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from pathlib import Path

import pytest

from tests.conftest import process_of, until, wait_for_state
from traindeck.core import control
from traindeck.core.base.errors import MissingError, UsageError
from traindeck.core.base.home import Home
from traindeck.core.catalogue.document import document
from traindeck.core.launch import LaunchError, LaunchRequest, launch
from traindeck.core.queue import slots
from traindeck.core.queue.slots import Claim, Granted, Place, Waiting, holders
from traindeck.core.run.folder import RunFolder

CORE = min(os.sched_getaffinity(0))
ON = f"cpu:{CORE}"


def start(home: Home, command: str, on: str = ON) -> RunFolder:
    doc = launch(home, LaunchRequest(command=["bash", "-c", command], on=on))
    return RunFolder(Path(doc["path"]))


def test_a_run_waits_for_its_device_and_starts_by_itself(home: Home) -> None:
    gate = home.root / "gate"
    first = start(home, f"until [ -e {gate} ]; do sleep 0.05; done")
    process_of(first, "child")
    second = start(home, f"taskset -cp $$; echo OMP=$OMP_NUM_THREADS; exit {CORE + 4}")
    third = start(home, "true")
    waiting = wait_for_state(third, "queued")
    until(lambda: (document(third) or {}).get("queue", {}).get("place") == 2, "place 2")
    assert waiting["queue"] is not None
    assert f"cpu:{CORE} is taken by {first.id}" in waiting["queue"]["reason"]
    assert holders(home) == {f"cpu-{CORE}": first.id}
    gate.touch()
    done = [wait_for_state(run) for run in (first, second, third)]
    assert [doc["exit_code"] for doc in done] == [0, CORE + 4, 0]
    assert done[0]["ended"] <= done[1]["started"]
    assert done[1]["ended"] <= done[2]["started"]
    printed = (second.path / "output.log").read_text()
    assert f"affinity list: {CORE}\n" in printed
    assert "OMP=1\n" in printed
    until(lambda: holders(home) == {})


def test_the_device_stays_taken_while_the_run_lives_without_its_supervisor(home: Home) -> None:
    run = start(home, "sleep 30")
    child = process_of(run, "child")
    for who in ("supervisor", "keeper"):
        os.kill(process_of(run, who).pid, signal.SIGKILL)
    assert holders(home) == {f"cpu-{CORE}": run.id}
    os.kill(child.pid, signal.SIGKILL)
    until(lambda: holders(home) == {})


def test_a_waiting_run_can_be_stopped_and_its_supervisor_killed(home: Home) -> None:
    first = start(home, "sleep 600")
    process_of(first, "child")
    second, third = start(home, "true"), start(home, "true")
    for run in (second, third):
        wait_for_state(run, "queued")
    control.stop(second.path)
    assert wait_for_state(second)["state"] == "stopped"
    os.kill(process_of(third, "supervisor").pid, signal.SIGKILL)
    doc = wait_for_state(third)
    assert doc["state"] == "lost"
    assert "nothing was started" in doc["reason"]
    control.kill(first.path)
    fourth = start(home, "true")
    assert wait_for_state(fourth)["state"] == "finished"


def test_shared_cpu_runs_never_wait(home: Home) -> None:
    process_of(start(home, "sleep 30"), "child")
    assert wait_for_state(start(home, "true", on="cpu"))["state"] == "finished"


def test_devices_that_are_not_there(home: Home) -> None:
    with pytest.raises(MissingError, match="core"):
        start(home, "true", on="cpu:999")
    with pytest.raises(MissingError, match="GPU"):
        start(home, "true", on="gpu:77")
    with pytest.raises(UsageError, match="not a device"):
        start(home, "true", on="toaster")
    with pytest.raises(LaunchError, match="no command"):
        launch(home, LaunchRequest())
    assert list(home.runs.iterdir()) == []


def test_nobody_overtakes_who_needs_the_same(home: Home) -> None:
    both = Claim(("a", "b"), 2)
    holder = Place(home, "00000001", Claim(("a",), 1))
    granted = holder.try_take()
    assert isinstance(granted, Granted)
    first = Place(home, "00000002", both)
    assert isinstance(first.try_take(), Waiting)
    later = Place(home, "00000003", Claim(("b", "c"), 1))
    answer = later.try_take()
    assert isinstance(answer, Granted)
    assert answer.slots == ("c",)
    later.leave()
    last = Place(home, "00000004", Claim(("b",), 1))
    assert last.try_take() == Waiting(2, "waits behind 00000002")
    for descriptor in granted.descriptors:
        os.close(descriptor)
    holder.leave()
    assert isinstance(first.try_take(), Granted)


@pytest.mark.parametrize("broken", ["pwrite", "ftruncate", "_holder"])
def test_a_disk_that_fails_leaves_no_slot_taken_by_nobody(
    home: Home, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    other = Place(home, "00000001", Claim(("b",), 1))
    assert isinstance(other.try_take(), Granted)
    place = Place(home, "00000002", Claim(("a", "b"), 1))
    with monkeypatch.context() as context:
        context.setattr(slots if broken == "_holder" else slots.os, broken, fail)
        with contextlib.suppress(OSError):
            answer = place.try_take()
            assert isinstance(answer, Granted)
            return
    assert holders(home).keys() == {"b"}
    assert isinstance(place.try_take(), Granted)
