"""The catalogue's file: a line a run, of which only new ones are parsed again."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.catalogue.test_damage import make
from traindeck.core.base.home import Home
from traindeck.core.catalogue.document import document
from traindeck.core.catalogue.storage import AtomicStorage, CatalogueError


@pytest.fixture(scope="module")
def doc(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    home = Home(tmp_path_factory.mktemp("storage"))
    home.make()
    made = document(make(home, "2aaaaaaa"))
    assert made is not None
    return dict(made)


def runs(doc: dict[str, Any], *ids: str, name: str = "x") -> dict[str, Any]:
    return {"runs": {run_id: doc | {"id": run_id, "name": name} for run_id in ids}}


def test_a_line_holds_a_run_and_the_whole_is_json(tmp_path: Path, doc: dict[str, Any]) -> None:
    path = tmp_path / "catalogue.json"
    AtomicStorage(path).write(runs(doc, "2a", "2b", name="two\nlines\n,"))
    assert json.loads(path.read_bytes()) == runs(doc, "2a", "2b", name="two\nlines\n,")
    assert [line[:6] for line in path.read_text().splitlines()[1:]] == ['"2a":{', ',"2b":', "}}"]


def test_what_did_not_change_is_the_same_object(tmp_path: Path, doc: dict[str, Any]) -> None:
    path = tmp_path / "catalogue.json"
    reader, writer = AtomicStorage(path), AtomicStorage(path)
    writer.write(runs(doc, "2a", "2b"))
    before = (reader.read() or {})["runs"]
    changed = (writer.read() or {})["runs"]
    writer.write({"runs": {**changed, "2b": {**changed["2b"], "name": "y"}, "2c": changed["2a"]}})
    with pytest.raises(CatalogueError, match="traindeck reindex"):
        reader.read()  # 2c is another's document
    writer.write({"runs": {**changed, "2b": {**changed["2b"], "name": "y"}}})
    after = (reader.read() or {})["runs"]
    assert after["2a"] is before["2a"]
    assert (before["2b"]["name"], after["2b"]["name"]) == ("x", "y")


@pytest.mark.parametrize("line", ['"2b":{', '"2b":{}', "", "]"])
def test_a_line_that_is_damaged_is_told(tmp_path: Path, doc: dict[str, Any], line: str) -> None:
    path = tmp_path / "catalogue.json"
    storage = AtomicStorage(path)
    storage.write(runs(doc, "2a", "2b"))
    lines = path.read_text().split("\n")
    path.write_text("\n".join([*lines[:2], f",{line}", *lines[3:]]))
    with pytest.raises(CatalogueError, match="traindeck reindex"):
        storage.read()
    storage.write(runs(doc, "2a"))
    assert storage.read() == runs(doc, "2a")


HOW = st.sampled_from(["by us", "by another", "in one line"])
NAMES = st.dictionaries(st.sampled_from(["2a", "2b", "2c", "2d"]), st.text(max_size=4))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(NAMES, HOW), max_size=6))
def test_a_file_read_on_says_what_it_says_to_a_new_reader(
    doc: dict[str, Any], states: list[tuple[dict[str, str], str]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "catalogue.json"
        storage = AtomicStorage(path)
        for names, how in states:
            wanted = {"runs": {key: doc | {"id": key, "name": name} for key, name in names.items()}}
            if how == "in one line":
                path.write_text(json.dumps(wanted))
            else:
                writer = storage if how == "by us" else AtomicStorage(path)
                held = (writer.read() or {}).get("runs", {})
                kept = {key: held[key] for key in held if wanted["runs"].get(key) == held[key]}
                writer.write({"runs": wanted["runs"] | kept})
            assert storage.read() == AtomicStorage(path).read() == wanted
