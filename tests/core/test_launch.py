"""What cannot be started is refused in one line, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import until, wait_for_state
from traindeck.core import launch
from traindeck.core.errors import TraindeckError
from traindeck.core.home import Home
from traindeck.core.launch import LaunchRequest
from traindeck.core.run import RunFolder
from traindeck.core.state import exit_code

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.parametrize("what", [("--", "true"), ("torch-digits",)])
def test_a_working_folder_that_is_gone(
    home: Home, traindeck: Command, tmp_path: Path, what: tuple[str, ...]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()

    def leave() -> None:
        os.chdir(gone)
        gone.rmdir()

    done = traindeck("run", *what, code=1, preexec_fn=leave)
    assert "the folder that you are in cannot be used" in done.stderr
    assert list(home.runs.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("no"), OSError(28, "full")])
def test_a_launch_that_is_broken_off_leaves_no_folder(
    home: Home, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(launch, "write_json", fail)
    with pytest.raises((type(error), TraindeckError)):
        launch.launch(home, LaunchRequest(command=["true"]))
    assert list(home.runs.iterdir()) == []


def test_what_is_no_command_and_what_is_no_python(home: Home, traindeck: Command) -> None:
    assert "no command" in traindeck("run", "--", "", code=2).stderr
    told = traindeck("run", "torch-digits", "--python", "/nonexistent", code=3).stderr
    assert "--python /nonexistent" in told
    assert list(home.runs.iterdir()) == []


def test_a_python_is_named_from_where_one_is(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(sys.executable).parent)
    request = LaunchRequest(command=["true"], python=f"./{Path(sys.executable).name}", cwd="/")
    run = RunFolder(Path(launch.launch(home, request)["path"]))
    assert (run.spec() or {})["python"] == sys.executable


def test_tags_are_kept_as_an_edit_would_keep_them(home: Home) -> None:
    request = LaunchRequest(command=["true"], tags=[" b", "a", "b ", " "])
    assert launch.launch(home, request)["tags"] == ["a", "b"]


def test_a_run_whose_record_lacks_what_it_takes_is_not_repeated(home: Home) -> None:
    run = RunFolder(Path(launch.launch(home, LaunchRequest(command=["true"]))["path"]))
    wait_for_state(run)
    until(lambda: "ended" in (run.spec() or {}))
    (run.path / "run.json").write_text('{"argv": ["true"]}')
    with pytest.raises(launch.LaunchError, match="damaged"):
        launch.again(home, run.id, {})


def test_what_a_command_that_waited_ends_with() -> None:
    assert [exit_code(state) for state in ("finished", "over_budget", "failed")] == [0, 5, 1]
