"""Files that are replaced in one step."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from traindeck.core.base import files
from traindeck.core.base.files import sweep, tail, write_atomic


def test_a_replaced_file_is_there_after_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    monkeypatch.setattr(
        files.os, "fsync", lambda file: synced.append(os.readlink(f"/proc/self/fd/{file}"))
    )
    write_atomic(tmp_path / "file", b"x")
    assert synced[1] == str(tmp_path)


def test_the_tail_of_a_file_is_at_most_so_long(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"one\ntwo\n")
    assert tail(tmp_path / "log", 4) == b"two\n"
    assert tail(tmp_path / "log", 100) == b"one\ntwo\n"
    assert tail(tmp_path / "none", 4) == tail(tmp_path, 4) == b""


def test_sweeping_leaves_no_folder_by_a_link(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    temporary = outside / ".run.json.17-4"
    temporary.touch()
    os.utime(temporary, (0, 0))
    inside.symlink_to(outside)
    sweep(inside)
    assert temporary.exists()
    sweep(outside)
    assert not temporary.exists()
