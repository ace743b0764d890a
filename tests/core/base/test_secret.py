"""The home's secret: made once, kept to its user, and never replaced behind anybody's back."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from traindeck.core.base.errors import TraindeckError
from traindeck.core.base.home import Home
from traindeck.core.base.secret import home_secret


def test_a_home_keeps_the_secret_that_was_made_for_it(tmp_path: Path) -> None:
    first = home_secret(tmp_path / "home")
    assert len(first) == 32
    assert home_secret(tmp_path / "home") == first
    assert home_secret(tmp_path / "another") != first
    assert os.listdir(tmp_path / "home") == ["secret.key"]


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        home_secret(tmp_path)
    finally:
        os.umask(old)
    assert (tmp_path / "secret.key").stat().st_mode & 0o777 == 0o600


def test_all_who_make_it_at_once_get_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(home_secret, [tmp_path] * 64))) == 1


@pytest.mark.parametrize("content", [b"", b"short", bytes(33)])
def test_a_damaged_one_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "secret.key"
    path.write_bytes(content)
    with pytest.raises(TraindeckError, match=r"secret\.key.*remove it"):
        home_secret(tmp_path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("kind", ["folder", "pipe", "link to nothing"])
def test_what_is_no_plain_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "secret.key"
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case _:
            path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TraindeckError, match=r"secret\.key"):
        home_secret(tmp_path)


def test_a_home_with_nothing_but_a_secret_is_one(tmp_path: Path) -> None:
    home_secret(tmp_path / "home")
    Home(tmp_path / "home").make()
