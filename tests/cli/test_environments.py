"""On which Python a run goes, and what is said where that one lacks something."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from traindeck.core.base.home import Home

pytestmark = pytest.mark.slow

Command = Callable[..., "subprocess.CompletedProcess[str]"]

PREFIX = "import sys\nprint('prefix', sys.prefix)\n"


def header(*lines: str) -> str:
    return "\n".join(["# /// script", *(f"# {line}" for line in lines), "# ///", PREFIX])


def environment(folder: Path) -> Path:
    """An environment without anything in it; its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder / "bin" / "python"


def log(doc: dict[str, str]) -> str:
    return (Path(doc["path"]) / "output.log").read_text()


def test_the_header_decides_the_interpreter(
    traindeck: Command, home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "mine.py"
    script.write_text(header("[tool.traindeck]", 'environment = "my-own"', 'packages = ["a>1"]'))
    place = home.root / "envs" / "my-own"
    refused = traindeck("run", str(script), "--wait", code=4).stderr
    making = f"python3 -m venv {place} && {place}/bin/pip install 'a>1'"
    assert refused.strip().endswith(f": {making}")
    environment(place)
    doc = json.loads(traindeck("run", str(script), "--wait", "--json").stdout)
    assert log(doc) == f"prefix {place}\n"
    elsewhere = environment(tmp_path / "elsewhere")
    monkeypatch.setenv("TRAINDECK_MY_OWN", str(elsewhere))
    doc = json.loads(traindeck("run", "--again", doc["id"], "--wait", "--json").stdout)
    assert log(doc) == f"prefix {place}\n"
    doc = json.loads(traindeck("run", str(script), "--wait", "--json").stdout)
    assert log(doc) == f"prefix {elsewhere.parent.parent}\n"


def test_what_is_missing_is_said_before_the_run_and_can_be_pasted(
    traindeck: Command, home: Home, tmp_path: Path
) -> None:
    script = tmp_path / "mine.py"
    script.write_text(header("dependencies = [\"no-such>=1; os_name != 'x'\"]"))
    said = traindeck("run", str(script), code=4).stderr
    command = shlex.split(said.partition(", or: ")[2])
    assert Path(command[0]).parent == Path(sys.executable).parent
    assert command[1:] == ["-m", "pip", "install", "no-such>=1"]
    script.write_text(header('requires-python = ">=3.99"'))
    assert "needs Python >=3.99" in traindeck("run", str(script), code=4).stderr
    assert not list(home.runs.iterdir())
    other = environment(tmp_path / "other")
    script.write_text(header('dependencies = ["numpy"]'))
    said = traindeck("run", str(script), "--python", str(other), code=4).stderr
    assert f"{other} -m pip install numpy" in said
