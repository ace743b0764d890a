"""What run.json may hold follows from the types of `Spec`, and a new field is one line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NotRequired

import pytest

from traindeck.core.base.files import read_json, write_json
from traindeck.core.base.home import Home
from traindeck.core.base.installed import package_folder
from traindeck.core.base.schema import Schema
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.spec import SPEC, Spec, new_spec


def a_spec(**said: Any) -> dict[str, Any]:
    return dict(
        new_spec(
            name="x", framework="other", state="running", on="cpu", params={}, command=["true"],
            argv=["true"], cwd="/", grace=1.0, claim={}, **said,
        )
    )  # fmt: skip


@pytest.mark.parametrize("key", ["name", "state", "argv", "created", "boot_id", "claim"])
def test_what_every_run_has_may_not_be_missing(key: str) -> None:
    spec = a_spec()
    assert SPEC.fits(spec)
    del spec[key]
    assert not SPEC.fits(spec)


@pytest.mark.parametrize("key", ["recipe", "reason", "supervisor", "gpus", "started", "queue", "v"])
def test_what_homes_of_before_lack_may_be_missing(key: str) -> None:
    spec = a_spec()
    spec.pop(key, None)
    assert SPEC.fits(spec)


@pytest.mark.parametrize(
    ("key", "sound", "damaged"),
    [
        ("recipe", None, 7),
        ("params", {"lr": 1}, []),
        ("command", ["a"], ["a", 1]),
        ("follow", True, 1),
        ("oom_kills", 3, True),
        ("oom_kills", 3, 2**53),
        ("started", None, float("inf")),
        ("state", "queued", "unreachable"),
        ("queue", {"place": 1, "reason": "", "more": 0}, {"place": "1", "reason": ""}),
        ("supervisor", {"pid": 1}, None),
    ],
)
def test_each_field_is_checked_as_its_type_says(key: str, sound: Any, damaged: Any) -> None:
    assert SPEC.fits({**a_spec(), key: sound})
    assert SPEC.fits({**a_spec(), key: damaged}) == (key == "supervisor")


def test_a_field_that_is_added_is_checked() -> None:
    class More(Spec):
        seed: NotRequired[int]

    schema = Schema(More)
    assert schema.fits(a_spec())
    assert schema.fits({**a_spec(), "seed": 7})
    assert not schema.fits({**a_spec(), "seed": "seven"})


def test_what_a_later_version_wrote_is_kept(home: Home) -> None:
    from traindeck.core.control import note, rename

    folder = home.runs / "2aaaaaaa"
    folder.mkdir()
    write_json(folder / "run.json", {**a_spec(), "of_tomorrow": [1]})
    write_json(folder / "user.json", {"color": "red"})
    spec = RunFolder(folder).spec()
    assert spec is not None
    assert dict(spec)["of_tomorrow"] == [1]
    rename(home, folder.name, "y")
    note(home, folder.name, "z")
    assert read_json(folder / "user.json") == {"color": "red", "name": "y", "notes": "z"}


NEW_FIELD = """
import json, os, sys, time
from pathlib import Path
from traindeck.core.base.home import Home
from traindeck.core.catalogue.document import document
from traindeck.core.catalogue.store import Catalogue, CatalogueError
from traindeck.core.run.folder import RunFolder

home, spec = Home(Path(sys.argv[1])), json.loads(sys.argv[2])
home.make()
seen = []
for seed in (7, "seven"):
    folder = home.runs / "2aaaaaaa"
    folder.mkdir(exist_ok=True)
    (folder / "run.json").write_text(json.dumps({**spec, "seed": seed}))
    os.utime(folder, (0, 0))
    doc = document(RunFolder(folder))
    seen.append((doc["state"], doc["seed"]))
Catalogue(home).reindex()
home.catalogue.write_text(home.catalogue.read_text().replace('"seed":null', '"of_before":1'))
try:
    Catalogue(home).all()
except CatalogueError:
    seen.append("damaged")
print(json.dumps(seen))
"""


def test_a_new_field_costs_a_line_in_each_document_that_says_it(tmp_path: Path) -> None:
    package = tmp_path / "traindeck"
    shutil.copytree(package_folder() / "core", package / "core")
    (package / "__init__.py").touch()
    for file, line, added in (
        ("core/run/spec.py", "    reason: str\n    supervisor", "    seed: int\n"),
        ("core/catalogue/document.py", "    path: str\n", "    seed: int | None\n"),
    ):
        text = (package / file).read_text()
        assert text.count(line) == 1
        (package / file).write_text(text.replace(line, added + line))
    ended = json.dumps(a_spec() | {"state": "finished"})
    done = subprocess.run(
        [sys.executable, "-c", NEW_FIELD, tmp_path / "home", ended],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [["finished", 7], ["lost", None], "damaged"]
