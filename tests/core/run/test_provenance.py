"""What is recorded of a repository: its own, within bounds, and no program of its is run."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from traindeck.core.run import provenance

COMMIT = ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-am", "first"]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "file").write_text("old\n")
    for words in (["init", "-q"], ["add", "file"], COMMIT):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return folder


def test_a_huge_change_is_cut_and_counted(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "MAX_DIFF", 1000)
    (repository / "file").write_text("new line\n" * 100_000)
    state = provenance._git(repository, tmp_path / "diff")
    assert state is not None
    assert state["diff_cut"]
    assert state["diff_bytes"] > 1_000_000
    assert (tmp_path / "diff").stat().st_size == 1000


def test_variables_of_another_repository_change_nothing(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    state = provenance._git(repository, tmp_path / "diff")
    assert state is not None
    assert (state["dirty"], state["diff_bytes"], state["diff_cut"]) == (False, 0, False)


def test_no_program_of_the_repository_is_run(repository: Path, tmp_path: Path) -> None:
    (repository / ".gitattributes").write_text("file diff=mine\n")
    run = f"touch {tmp_path / 'ran'}; cat"
    subprocess.run(["git", "config", "diff.mine.textconv", run], cwd=repository, check=True)
    (repository / "file").write_text("new\n")
    state = provenance._git(repository, tmp_path / "diff")
    assert state is not None
    assert state["diff_bytes"] > 0
    assert not (tmp_path / "ran").exists()
