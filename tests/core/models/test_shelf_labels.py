"""The shelf of models: labels go on and back, versions go to the trash and come back."""

from __future__ import annotations

from pathlib import Path

import pytest

from traindeck.core.base.errors import NotFoundError
from traindeck.core.base.home import Home
from traindeck.core.models.shelf import Shelf, numbered


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    home = Home(tmp_path / "home")
    home.make()
    made = Shelf(home)
    for _ in range(3):
        _, part = made.begin("digits")
        (part / "model.onnx").write_text("bytes")
        made.finish(part)
    return made


def test_a_label_goes_back_to_where_it_was_and_forth_again(shelf: Shelf) -> None:
    with pytest.raises(NotFoundError, match="was on no other version"):
        shelf.roll_back("digits")
    shelf.label("digits", "stable", 1)
    shelf.label("digits", "stable", 3)
    assert shelf.before("digits") == {"stable": 1}
    assert shelf.roll_back("digits") == 1
    assert shelf.labels("digits") == {"stable": 1}
    assert shelf.roll_back("digits") == 3


def test_a_label_never_goes_back_to_what_is_gone(shelf: Shelf) -> None:
    shelf.label("digits", "stable", 1)
    shelf.label("digits", "stable", 2)
    shelf.trash("digits", 1)
    with pytest.raises(NotFoundError, match="still there"):
        shelf.roll_back("digits")


def test_what_was_removed_comes_back(shelf: Shelf) -> None:
    shelf.trash("digits", 2)
    assert shelf.trashed() == [("digits", 2)]
    assert shelf.restore("digits", 2) == [2]
    shelf.trash("digits")
    assert shelf.names() == [] and len(shelf.trashed()) == 3
    with pytest.raises(NotFoundError, match="no model digits/9 in the trash"):
        shelf.restore("digits", 9)
    assert shelf.restore("digits") == [1, 2, 3]
    assert shelf.versions("digits") == [1, 2, 3] and shelf.trashed() == []


def test_only_folders_that_are_numbers_are_versions(tmp_path: Path) -> None:
    for name in ("10", "2", ".3.part", "x", "٣"):
        (tmp_path / name).mkdir()
    (tmp_path / "4").write_text("a file")
    assert list(numbered(tmp_path)) == [2, 10]
