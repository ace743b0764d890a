"""Whatever the files of a run hold, it is shown as far as they can be believed."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest

from traindeck.core.base import files
from traindeck.core.base.files import read_json, write_json
from traindeck.core.base.home import Home
from traindeck.core.catalogue.document import document
from traindeck.core.catalogue.library import AmbiguousRun, Library, RunNotFound
from traindeck.core.catalogue.store import Catalogue, CatalogueError
from traindeck.core.run.folder import DAMAGED, RunFolder
from traindeck.core.run.spec import new_spec

DEEP = "[" * 99_999


@pytest.fixture
def run(home: Home) -> RunFolder:
    """A run that has finished."""
    return make(home, "2aaaaaaa")


def make(home: Home, run_id: str, name: str = "x") -> RunFolder:
    folder = home.runs / run_id
    folder.mkdir()
    spec = new_spec(
        name=name, framework="other", state="finished", on="cpu", params={}, command=[], argv=[],
        cwd="/", grace=1.0, claim={}, exit_code=0,
    )  # fmt: skip
    write_json(folder / "run.json", spec)
    os.utime(folder, (0, 0))
    return RunFolder(folder)


@pytest.mark.parametrize(
    "damage",
    [
        {"created": 1e300},
        {"created": float("nan")},
        {"created": True},
        {"created": 10**400},
        {"state": "thinking"},
        {"device": 3},
        {"headline": ["loss"]},
        {"recipe": 7},
        {"argv": [1]},
        {"queue": {"place": 1}},
        {"started": "yesterday"},
    ],
)
def test_a_run_whose_record_is_damaged_is_lost(
    home: Home, run: RunFolder, damage: dict[str, Any]
) -> None:
    write_json(run.path / "run.json", {**(run.spec() or {}), **damage})
    os.utime(run.path, (0, 0))
    [doc] = Library(home).runs()
    assert (doc["state"], doc["reason"]) == ("lost", DAMAGED)


@pytest.mark.parametrize(
    "end",
    [
        '{"state": "finished"}',
        '{"state": "finished", "reason": "", "seconds": NaN}',
        '{"state": "asleep", "reason": ""}',
        '{"status": 4991, "seconds": 1e999}',
        '{"status": 127}',
        '{"status": 99999999999999999999}',
        DEEP,
    ],
)
def test_a_damaged_verdict_is_shown_as_far_as_it_goes(run: RunFolder, end: str) -> None:
    (run.path / "exit.json").write_text(end)
    doc = document(run)
    assert doc is not None
    assert doc["state"] == "finished"
    json.dumps(doc, allow_nan=False)


@pytest.mark.parametrize("user", ['{"tags": [1]}', '{"name": 3, "notes": []}', DEEP])
def test_damaged_notes_are_none(run: RunFolder, user: str) -> None:
    (run.path / "user.json").write_text(user)
    doc = document(run)
    assert doc is not None
    assert (doc["name"], doc["tags"], doc["notes"]) == ("x", [], "")


@pytest.mark.parametrize("damage", ["{}", '{"id": "2aaaaaaa"}', '{"id": []}', "id", "tags", "name"])
def test_a_catalogue_of_incomplete_documents_says_what_mends_it(
    home: Home, run: RunFolder, damage: str
) -> None:
    Catalogue(home).reindex()
    [doc] = Catalogue(home).all()
    held = {**doc, damage: {}} if damage.isalpha() else json.loads(damage)
    home.catalogue.write_text(json.dumps({"runs": {run.id: held}}))
    with pytest.raises(CatalogueError, match="traindeck reindex"):
        Library(home).runs()
    Catalogue(home).reindex()
    assert len(Library(home).runs()) == 1


def test_reindex_sweeps_what_killed_writers_left(home: Home, run: RunFolder) -> None:
    old, new = run.path / ".run.json.77-88", home.root / ".catalogue.json.77-88"
    for path in (old, new):
        path.write_text("")
    os.utime(old, (time.time() - 2 * files.TEMPORARY_SECONDS,) * 2)
    Catalogue(home).reindex()
    assert not old.exists()
    assert new.exists()
    assert read_json(run.path / "run.json") is not None


def test_a_waiting_run_whose_supervisor_dies_is_seen_to_be_lost(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    from traindeck.core.base.process import Identity

    run = make(home, "2bbbbbbb")
    me = Identity.of(os.getpid())
    assert me is not None
    queue = {"place": 1, "reason": "taken"}
    spec = {**(run.spec() or {}), "state": "queued", "queue": queue, "supervisor": me.to_json()}
    write_json(run.path / "run.json", spec)
    library = Library(home)
    assert [doc["state"] for doc in library.runs()] == ["queued"]
    version = library.version()
    assert library.version() == version
    monkeypatch.setattr(Identity, "alive", lambda self: False)
    assert library.version() != version
    assert [doc["state"] for doc in library.runs()] == ["lost"]


def test_runs_in_the_trash_are_found_as_others_are(home: Home) -> None:
    for run_id, name in (("2aaaaaaa", "one"), ("2aaaaaab", "two"), ("2bbbbbbb", "two")):
        make(home, run_id, name).path.rename(home.trash / run_id)
    library = Library(home)
    assert library.find_trashed("2B") == library.find_trashed("@last") == "2bbbbbbb"
    assert library.find_trashed("one") == "2aaaaaaa"
    for ref in ("two", "2a"):
        with pytest.raises(AmbiguousRun, match="2 runs"):
            library.find_trashed(ref)
    with pytest.raises(RunNotFound, match="in the trash"):
        library.find_trashed("three")
