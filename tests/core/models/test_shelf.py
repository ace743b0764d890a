"""Models by name and number: none is given twice, none disappears."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from traindeck.core.base.errors import NotFoundError, TraindeckError, UsageError
from traindeck.core.base.home import Home
from traindeck.core.models.shelf import Shelf


def made(home: Home, name: str) -> int:
    """A version with a file in it."""
    number, part = Shelf(home).begin(name)
    (part / "model.onnx").write_bytes(b"x")
    Shelf(home).finish(part)
    return number


def test_a_version_is_seen_when_it_is_whole(home: Home) -> None:
    shelf = Shelf(home)
    number, part = shelf.begin("digits")
    assert (number, part.name) == (1, ".1.part")
    assert shelf.names() == [] and shelf.versions("digits") == []
    place = shelf.finish(part)
    assert place == home.models / "digits" / "1" == shelf.folder("digits")
    assert shelf.names() == ["digits"]


def test_no_number_is_given_twice_whatever_is_removed(home: Home) -> None:
    assert [made(home, "digits") for _ in range(3)] == [1, 2, 3]
    shelf = Shelf(home)
    assert shelf.trash("digits", 3) == [3]
    assert made(home, "digits") == 4
    assert shelf.trash("digits") == [1, 2, 4]
    assert shelf.names() == []
    assert made(home, "digits") == 5
    assert sorted(os.listdir(home.trash / "models" / "digits")) == ["1", "2", "3", "4"]


def test_exports_at_once_get_numbers_of_their_own(home: Home) -> None:
    one, other = Shelf(home).begin("digits"), Shelf(home).begin("digits")
    assert (one[0], other[0]) == (1, 2)
    Shelf(home).finish(other[1])
    assert Shelf(home).versions("digits") == [2]


def test_what_a_killed_export_left_goes_after_a_day(home: Home) -> None:
    _, part = Shelf(home).begin("digits")
    Shelf(home).begin("digits")
    assert part.exists()
    long_ago = time.time() - 2 * 86400
    os.utime(part, (long_ago, long_ago))
    Shelf(home).begin("digits")
    assert not part.exists()


def test_a_label_stands_for_a_version(home: Home) -> None:
    made(home, "digits")
    made(home, "digits")
    shelf = Shelf(home)
    shelf.label("digits", "stable", 1)
    shelf.label("digits", "canary", 2)
    assert json.loads((home.models / "digits" / "labels.json").read_text()) == {
        "stable": 1,
        "canary": 2,
    }
    assert shelf.folder("digits", "stable").name == "1"
    with pytest.raises(TraindeckError, match="digits/1 is labelled stable"):
        shelf.trash("digits", 1)
    shelf.label("digits", "stable", 2)
    shelf.trash("digits", 1)
    shelf.label("digits", "canary", None)
    assert shelf.labels("digits") == {"stable": 2}
    shelf.trash("digits")
    made(home, "digits")
    assert shelf.labels("digits") == {}


def test_what_is_not_there_is_said_with_what_is(home: Home) -> None:
    shelf = Shelf(home)
    with pytest.raises(NotFoundError, match="there are none yet: `traindeck export RUN`"):
        shelf.folder("digits")
    made(home, "digits")
    with pytest.raises(NotFoundError, match="no model 'mnist'; there are digits"):
        shelf.folder("mnist")
    with pytest.raises(NotFoundError, match="digits has no version 7; it has 1"):
        shelf.folder("digits", 7)
    with pytest.raises(NotFoundError, match="digits has no label 'stable'; it has none"):
        shelf.folder("digits", "stable")
    with pytest.raises(UsageError, match="label '7'"):
        shelf.label("digits", "7", 1)


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a b", "x" * 65, "-x", "ä"])
def test_names_cannot_leave_the_shelf(home: Home, name: str) -> None:
    with pytest.raises(UsageError, match="is no name of a model"):
        Shelf(home).begin(name)
    with pytest.raises(NotFoundError):
        Shelf(home).folder(name)


def test_a_home_of_before_gets_the_folder(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.make()
    home.models.rmdir()
    (home.root / "notes.txt").touch()
    home.make()
    assert home.models.is_dir()
