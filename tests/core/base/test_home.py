"""A home is made where nothing else lies, and a folder of somebody else's is left as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from traindeck.core.base.home import Home


@pytest.mark.parametrize(
    "there", ["", "cache", "recipes", "traindeck.log", "state.json", ".catalogue.json.7-8"]
)
def test_what_traindeck_itself_made_does_not_keep_it_from_making_the_rest(
    tmp_path: Path, there: str
) -> None:
    tmp_path.chmod(0o755)
    if there:
        (tmp_path / there).mkdir()
    home = Home(tmp_path)
    home.make()
    assert home.locks.is_dir()
    assert tmp_path.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("there", ["recipes", "runs"])
def test_a_project_is_no_home(tmp_path: Path, there: str) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / there).mkdir()
    (tmp_path / "pyproject.toml").write_text("")
    with pytest.raises(OSError, match="holds other things"):
        Home(tmp_path).make()
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    assert {path.name for path in tmp_path.iterdir()} == {there, "pyproject.toml"}


def test_a_home_stays_one_with_a_file_of_its_user_in_it(tmp_path: Path) -> None:
    Home(tmp_path).make()
    (tmp_path / "notes.txt").write_text("")
    Home(tmp_path).make()


def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o755)
    home = Home(tmp_path / "home")
    home.make()
    assert home.root.stat().st_mode & 0o077 == 0
