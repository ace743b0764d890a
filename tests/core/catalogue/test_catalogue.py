"""Many writers, one catalogue: every run recorded once, and readable at every moment."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import process_of, until
from traindeck.core import control
from traindeck.core.base.errors import ControlError
from traindeck.core.base.home import Home
from traindeck.core.catalogue.library import AmbiguousRun, Library, RunNotFound, trashed
from traindeck.core.catalogue.store import Catalogue, CatalogueError
from traindeck.core.launch import LaunchRequest, launch
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.state import ENDED

START = """
from traindeck.core.base.home import Home
from traindeck.core.launch import LaunchRequest, launch
for _ in range(16):
    launch(Home.default(), LaunchRequest(command=["sleep", "0.2"]))
"""


def ended(home: Home, count: int) -> bool:
    docs = Catalogue(home).all()
    return len(docs) == count and all(doc["state"] in ENDED for doc in docs)


@pytest.mark.slow
def test_64_runs_from_4_processes_are_all_recorded_once(home: Home) -> None:
    starters = [subprocess.Popen([sys.executable, "-c", START]) for _ in range(4)]
    while any(starter.poll() is None for starter in starters):
        Catalogue(home).all()
        time.sleep(0.01)
    assert [starter.returncode for starter in starters] == [0] * 4
    until(lambda: ended(home, 64), "the end of 64 runs")
    docs = Catalogue(home).all()
    assert {(doc["state"], doc["reason"]) for doc in docs} == {("finished", "")}
    assert len({doc["id"] for doc in docs}) == 64
    assert {doc["id"] for doc in docs} == set(os.listdir(home.runs))


def _sync_forever(root: Path, folder: Path) -> None:
    catalogue = Catalogue(Home(root))
    while True:
        catalogue.sync(folder)


@pytest.mark.slow
def test_killed_writers_never_leave_it_unreadable(home: Home) -> None:
    folder = Path(launch(home, LaunchRequest(command=["true"]))["path"])
    until(lambda: ended(home, 1))
    context = multiprocessing.get_context("fork")
    chance = random.Random(0)
    for _ in range(15):
        writers = [context.Process(target=_sync_forever, args=(home.root, folder)) for _ in "ab"]
        for writer in writers:
            writer.start()
        time.sleep(chance.uniform(0.0, 0.1))
        for writer in writers:
            os.kill(writer.pid or 0, signal.SIGKILL)
            writer.join()
        assert [doc["id"] for doc in Catalogue(home).all()] == [folder.name]


def test_reindex_makes_the_same_catalogue(home: Home) -> None:
    for _ in range(3):
        launch(home, LaunchRequest(command=["true"]))
    until(lambda: ended(home, 3))
    before = Catalogue(home).all()
    home.catalogue.write_text('{"runs": {"torn')
    with pytest.raises(CatalogueError, match="traindeck reindex"):
        Catalogue(home).all()
    assert Catalogue(home).reindex() == 3
    assert Catalogue(home).all() == before
    assert json.loads(home.catalogue.read_text())["runs"].keys() == {doc["id"] for doc in before}


def test_runs_are_found_by_id_start_name_and_last(home: Home) -> None:
    with pytest.raises(RunNotFound, match="no runs yet"):
        Library(home).find("@last")
    first = launch(home, LaunchRequest(command=["true"], name="first"))
    second = launch(home, LaunchRequest(command=["true"], name="second"))
    until(lambda: ended(home, 2))
    library = Library(home)
    assert library.find("@last")["id"] == second["id"] > first["id"]
    assert library.find(first["id"])["name"] == "first"
    assert library.find("second")["id"] == second["id"]
    with pytest.raises(AmbiguousRun, match="2 runs"):
        library.find(first["id"][:2])
    with pytest.raises(RunNotFound, match="traindeck ls"):
        library.find("nobody")


def test_trash_and_restore(home: Home) -> None:
    run_id = launch(home, LaunchRequest(command=["sleep", "1"]))["id"]
    with pytest.raises(ControlError, match="stop it first"):
        control.trash(home, run_id)
    until(lambda: ended(home, 1))
    control.rename(home, run_id, "keep me")
    control.tag(home, run_id, ["b", " a", "b"])
    control.trash(home, run_id)
    assert Library(home).runs() == []
    assert trashed(home) == [run_id]
    control.restore(home, run_id)
    [doc] = Library(home).runs()
    assert (doc["name"], doc["tags"]) == ("keep me", ["a", "b"])


def test_ids_sort_by_age_even_when_the_clock_goes_back(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    from traindeck.core.base import ids

    first = ids.new_folder(home.runs, home.trash)
    monkeypatch.setattr(ids.time, "time", lambda: 1.75e9)
    second = ids.new_folder(home.runs, home.trash)
    assert second.name > first.name


@pytest.mark.parametrize("damage", ["{}", "[]", '{"id": 3}', "", '{"state": "running"}'])
def test_one_damaged_folder_hides_no_other(home: Home, damage: str) -> None:
    doc = launch(home, LaunchRequest(command=["true"]))
    until(lambda: ended(home, 1))
    folder = home.runs / "2zzzzzzz"
    folder.mkdir()
    (folder / "run.json").write_text(damage)
    os.utime(folder, (0, 0))
    states = {doc["id"]: doc["state"] for doc in Library(home).runs()}
    assert states == {doc["id"]: "finished", "2zzzzzzz": "lost"}
    assert Catalogue(home).reindex() == 2
    control.trash(home, "2zzzzzzz")
    assert len(Library(home).runs()) == 1


def test_what_is_no_utf8_is_recorded_all_the_same(home: Home) -> None:
    odd = os.fsdecode(b"\xff")
    doc = launch(home, LaunchRequest(command=["echo", odd], tags=[odd]))
    until(lambda: ended(home, 1))
    assert Path(doc["path"], "output.log").read_bytes() == b"\xff\n"
    assert Catalogue(home).reindex() == 1


def test_a_lost_catalogue_comes_back(home: Home) -> None:
    launch(home, LaunchRequest(command=["true"]))
    until(lambda: ended(home, 1))
    home.catalogue.unlink()
    library = Library(home)
    library.runs()
    library.tend()
    assert len(Catalogue(home).all()) == 1


def test_a_run_that_nobody_has_settled_is_settled_even_if_it_was_looked_at_first(
    home: Home,
) -> None:
    run = RunFolder(Path(launch(home, LaunchRequest(command=["sleep", "60"]))["path"]))
    child = process_of(run, "child")
    os.kill(process_of(run, "supervisor").pid, signal.SIGKILL)
    os.kill(child.pid, signal.SIGKILL)
    until(lambda: run.state()[0] == "killed")
    Catalogue(home).sync(run.path)
    assert Catalogue(home).reindex() == 0
    library = Library(home)
    assert [doc["state"] for doc in library.runs()] == ["killed"]
    library.tend()
    until(lambda: "state" in (run.exit() or {}), "the verdict")
    until(lambda: ended(home, 1))
