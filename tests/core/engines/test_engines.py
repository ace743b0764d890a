"""Launch, control and the list of runs reach a run through its engine, and only so."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from traindeck.core import control
from traindeck.core.base.errors import ControlError
from traindeck.core.base.files import write_json
from traindeck.core.base.home import Home
from traindeck.core.base.process import Identity
from traindeck.core.catalogue.document import document
from traindeck.core.catalogue.library import Library
from traindeck.core.engines import choose
from traindeck.core.engines.boot import Boot
from traindeck.core.engines.local import Local
from traindeck.core.launch import LaunchError, LaunchRequest, launch
from traindeck.core.queue.slots import Claim
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.spec import Spec, new_spec
from traindeck.core.run.state import Verdict


def a_run(home: Home, **said: Any) -> RunFolder:
    """A run whose supervisor was killed, as its folder has it."""
    folder = home.runs / "2aaaaaaa"
    folder.mkdir()
    gone = Identity("", 1, 1).to_json()
    spec = new_spec(
        id=folder.name, name="x", framework="other", on="cpu", params={}, command=[], argv=[],
        cwd="/", grace=1.0, claim={}, supervisor=gone, state="running",
    )  # fmt: skip
    write_json(folder / "run.json", {**spec, **said})
    return RunFolder(folder)


class Elsewhere:
    """An engine that only keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.sees: Verdict | None = None
        self.fails: dict[str, BaseException] = {}

    def claim(self, on: str, kinds: Collection[str]) -> Claim:
        self._ask("claim", on, tuple(kinds))
        return Claim(("far-1",), 1)

    def prepare(self) -> None:
        self._ask("prepare")

    def start(self, folder: Path, mode: str) -> None:
        self._ask("start", folder.name, mode)

    def signal(self, folder: Path, ask: str) -> None:
        self._ask("signal", folder.name, ask)

    def look(self, run: RunFolder, spec: Spec) -> Verdict | None:
        return self.sees

    def _ask(self, what: str, *more: object) -> None:
        self.asked.append((what, *more))
        if what in self.fails:
            raise self.fails[what]


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    made = Elsewhere()
    monkeypatch.setattr(choose, "_local", made)
    return made


def test_a_launch_asks_its_engine_for_room_and_hands_the_folder_over(
    home: Home, elsewhere: Elsewhere
) -> None:
    elsewhere.sees = Verdict("running", "far away", None)
    doc = launch(home, LaunchRequest(command=["true"], on="far:1"))
    assert elsewhere.asked == [
        ("claim", "far:1", ()),
        ("prepare",),
        ("start", doc["id"], "start"),
    ]
    assert (doc["state"], doc["reason"]) == ("running", "far away")
    spec = RunFolder(home.runs / doc["id"]).spec()
    assert spec is not None
    assert spec["claim"]["slots"] == ["far-1"]


@pytest.mark.parametrize(
    ("step", "error", "kept"),
    [
        ("prepare", OSError("no process"), False),
        ("prepare", KeyboardInterrupt(), False),
        ("start", OSError("nobody there"), False),
        ("start", KeyboardInterrupt(), True),  # it may have been started by then
    ],
)
def test_what_was_not_started_leaves_no_folder(
    home: Home, elsewhere: Elsewhere, step: str, error: BaseException, kept: bool
) -> None:
    elsewhere.fails[step] = error
    with pytest.raises(LaunchError if isinstance(error, OSError) else KeyboardInterrupt):
        launch(home, LaunchRequest(command=["true"]))
    assert bool(os.listdir(home.runs)) == kept


def test_what_is_asked_of_a_run_goes_through_its_engine(home: Home, elsewhere: Elsewhere) -> None:
    run = a_run(home)
    control.stop(run.path)
    control.kill(run.path)
    assert elsewhere.asked == [("signal", run.id, "stop"), ("signal", run.id, "kill")]


def test_a_run_that_lost_its_supervisor_is_given_another_by_its_engine(
    home: Home, elsewhere: Elsewhere
) -> None:
    run = a_run(home)
    library = Library(home)
    library.runs()
    library.tend()
    assert elsewhere.asked == [("start", run.id, "adopt")]


def test_an_engine_is_believed_until_the_files_say_how_the_run_ended(
    home: Home, elsewhere: Elsewhere
) -> None:
    run = a_run(home)
    elsewhere.sees = Verdict("queued", "place 3 of the cluster", None)
    assert choose.verdict(run) == elsewhere.sees
    with pytest.raises(ControlError, match="is queued: stop it first"):
        control.trash(home, run.id)
    write_json(run.path / "exit.json", {"state": "finished", "exit_code": 0})
    assert choose.verdict(run).state == "finished"


class TestARunOfAnotherMachineThatSharesTheHome:
    @pytest.fixture
    def far(self, home: Home) -> RunFolder:
        return a_run(home, boot_id="another", host="far")

    def test_it_is_shown_to_be_out_of_reach(self, home: Home, far: RunFolder) -> None:
        doc = document(far)
        assert doc is not None
        assert doc["state"] == "unreachable"
        assert doc["reason"] == "runs on far; it was running when last heard of"

    def test_another_container_of_this_boot_is_out_of_reach_too(self, home: Home) -> None:
        me = Identity.of(os.getpid())
        assert me is not None and me.namespace.startswith("pid:")
        other = replace(me, namespace="pid:[1]")
        run = a_run(home, supervisor=other.to_json())
        doc = document(run)
        assert doc is not None and doc["state"] == "unreachable"
        assert doc["reason"].startswith("runs in another container of this machine")
        with pytest.raises(ControlError, match="delete it there"):
            control.trash(home, run.id)

    def test_it_can_be_neither_asked_nor_deleted_here(self, home: Home, far: RunFolder) -> None:
        with pytest.raises(ControlError, match=r"run 2aaaaaaa runs on far.*: ask there"):
            control.stop(far.path)
        with pytest.raises(ControlError, match="delete it there"):
            control.trash(home, far.id)

    def test_nobody_here_takes_it_over(
        self, home: Home, far: RunFolder, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delattr(Local, "start")
        library = Library(home)
        [doc] = library.runs()
        library.tend()
        assert doc["state"] == "unreachable"

    def test_how_it_ended_is_known_all_the_same(self, home: Home, far: RunFolder) -> None:
        write_json(far.path / "exit.json", {"state": "failed", "reason": "exit code 1"})
        doc = document(far)
        assert doc is not None
        assert (doc["state"], doc["reason"]) == ("failed", "exit code 1")


def test_an_interpreter_that_was_started_early_gets_the_next_run(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Boot] = []
    given: list[Boot] = []
    monkeypatch.setattr(Boot, "__init__", lambda self: made.append(self))
    monkeypatch.setattr(Boot, "supervise", lambda self, folder, mode: given.append(self))
    local = Local()
    local.prepare()
    local.prepare()
    local.start(home.runs, "start")
    local.start(home.runs, "start")
    assert given == made
    assert len(made) == 2
