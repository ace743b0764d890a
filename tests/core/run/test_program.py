"""Which interpreter a run's record names: the one of the command that ran."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import process_of, until
from traindeck.core.base.files import read_json
from traindeck.core.base.home import Home
from traindeck.core.launch import LaunchRequest, launch
from traindeck.core.recipe.read import read_recipe
from traindeck.core.run import program
from traindeck.core.run.folder import RunFolder

LIST = "import os, time; print(os.getpid()); time.sleep(0.5)"


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another environment's interpreter, with one distribution of its own."""
    folder = tmp_path_factory.mktemp("other") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    [packages] = folder.glob("lib/python3*/site-packages")
    (packages / "only_here-1.2.dist-info").mkdir()
    return folder / "bin" / "python"


@pytest.fixture
def script(tmp_path: Path, other: Path) -> Callable[..., list[str]]:
    """A command of one of several shapes that all run Python in the other environment."""

    def make(shape: str) -> list[str]:
        train = tmp_path / "train.py"
        train.write_text(f"#!{other}\n{LIST}\n")
        train.chmod(0o755)
        shell = tmp_path / "train.sh"
        shell.write_text(f"export PATH={other.parent}:$PATH\nsleep 0.1\npython {train}; true\n")
        return {
            "itself": [str(other), str(train)],
            "shebang": [str(train)],
            "wrapped": ["nice", "-n", "1", "env", "A=1", str(other), str(train)],
            "shell": ["bash", str(shell)],
        }[shape]

    return make


def recorded(doc: dict[str, str]) -> dict[str, dict[str, str]]:
    """The run's provenance once its supervisor has ended."""
    supervisor = process_of(RunFolder(Path(doc["path"])), "supervisor")
    until(lambda: not supervisor.alive(), "the supervisor's end")
    kept = read_json(Path(doc["path"]) / "source" / "provenance.json")
    assert kept is not None
    return kept


@pytest.mark.parametrize("shape", ["itself", "shebang", "wrapped", "shell"])
def test_a_command_names_the_python_that_ran(
    home: Home, script: Callable[..., list[str]], other: Path, shape: str
) -> None:
    kept = recorded(dict(launch(home, LaunchRequest(command=script(shape)))))
    assert kept["python"]["executable"] == str(other)
    assert kept["packages"] == {"only-here": "1.2"}


def test_a_recipe_on_another_interpreter_names_it(home: Home, other: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(LIST)
    recipe = read_recipe(tmp_path / "mine.py", bare=True)
    kept = recorded(dict(launch(home, LaunchRequest(recipe=recipe, python=str(other)))))
    assert kept["python"]["executable"] == str(other)
    assert kept["packages"] == {"only-here": "1.2"}


def test_a_command_without_python_names_none_and_ends_no_later(home: Home) -> None:
    doc = launch(home, LaunchRequest(command=["sh", "-c", "sleep 0.3"]))
    kept = recorded(dict(doc))
    assert (kept["python"], kept["packages"]) == (None, {})


def test_what_starts_others_is_not_what_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conda = tmp_path / "conda"
    conda.write_text(f"#!{sys.executable}\n")
    conda.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert program.named(["conda", "run", "-n", "mine", "python"], str(tmp_path)) is None


def test_a_process_in_the_midst_of_its_exec_is_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel gives its program before its words, which are empty for that moment."""
    words, read = [b"", b"python\0train.py\0"], program._read
    monkeypatch.setattr(
        program, "_read", lambda path: words.pop(0) if path.name == "cmdline" else read(path)
    )
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        found = program.running(child.pid, lambda pid: [])
    finally:
        child.kill()
        child.wait()
    assert words == [] and found is not None


def test_nobody_waits_for_a_python_that_never_comes() -> None:
    child = subprocess.Popen(["sleep", "0.3"])
    began = time.monotonic()
    try:
        assert program.running(child.pid, lambda pid: []) is None
    finally:
        child.wait()
    assert time.monotonic() - began < program.MOST_SECONDS / 2
