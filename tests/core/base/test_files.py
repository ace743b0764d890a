"""Files that are replaced in one step."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from traindeck.core.base import files
from traindeck.core.base.files import write_atomic


def test_a_replaced_file_is_there_after_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    monkeypatch.setattr(
        files.os, "fsync", lambda file: synced.append(os.readlink(f"/proc/self/fd/{file}"))
    )
    write_atomic(tmp_path / "file", b"x")
    assert synced[1] == str(tmp_path)
