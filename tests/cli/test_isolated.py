"""`run --isolated`: a script in an environment made of what its header asks for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import COMMAND, until, wait_for_state
from traindeck.core.base.home import Home
from traindeck.core.run.folder import RunFolder

pytestmark = pytest.mark.slow

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def script(path: Path, *header: str, body: str = "") -> Path:
    lines = ["# /// script", *(f"# {line}" for line in header), "# ///"]
    lines += ["import sys", "print('prefix', sys.prefix)", body]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(autouse=True)
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All that pip can install: two versions of a package, one of which a constraint allows."""
    folder = tmp_path / "index"
    folder.mkdir()
    for version in ("1.0", "2.0"):
        with zipfile.ZipFile(folder / f"tiny-{version}-py3-none-any.whl", "w") as wheel:
            info = f"tiny-{version}.dist-info"
            wheel.writestr("tiny.py", f"version = {version!r}\n")
            wheel.writestr(
                f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n"
            )
            wheel.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            wheel.writestr(f"{info}/RECORD", "")
    (folder / "constraints.txt").write_text("tiny<2\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONSTRAINT", str(folder / "constraints.txt"))
    return folder


@pytest.fixture(params=["pip", "uv"])
def installer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With uv on PATH, and without."""
    found = shutil.which("uv")
    if request.param == "uv":
        if found is None:
            pytest.skip("uv is not installed")
    elif found:
        places = os.environ["PATH"].split(os.pathsep)
        kept = [place for place in places if not Path(place, "uv").exists()]
        monkeypatch.setenv("PATH", os.pathsep.join(kept))
    return str(request.param)


def of(done: subprocess.CompletedProcess[str]) -> Any:
    return json.loads(done.stdout)


def log(doc: dict[str, str]) -> list[str]:
    return (Path(doc["path"]) / "output.log").read_text().splitlines()


def environments(home: Home) -> list[Path]:
    return [path for path in (home.root / "envs").glob("isolated-*") if path.is_dir()]


@pytest.mark.usefixtures("installer")
def test_a_script_has_what_its_header_asks_for_and_no_more(
    traindeck: Command, home: Home, tmp_path: Path
) -> None:
    body = "import tiny\nfrom traindeck.core import track\nprint(tiny.version)\nimport numpy"
    train = script(tmp_path / "train.py", 'dependencies = ["tiny", "traindeck"]', body=body)
    done = traindeck("run", str(train), "--isolated", "--wait", "--json", code=1)
    [folder] = environments(home)
    assert log(of(done))[:2] == [f"prefix {folder}", "1.0"]  # as the constraint has it
    assert "No module named 'numpy'" in log(of(done))[-1]
    assert "making an environment for train" in done.stderr
    assert of(done)["command"][:4] == ["traindeck", "run", str(train), "--isolated"]

    other = script(tmp_path / "other.py", 'dependencies = ["traindeck", "tiny"]')
    done = traindeck("run", str(other), "--isolated", "--wait", "--json")
    assert "making" not in done.stderr and log(of(done)) == [f"prefix {folder}"]
    assert environments(home) == [folder]
    shutil.rmtree(folder)
    done = traindeck("run", "--again", of(done)["id"], "--wait", "--json")
    assert "making" in done.stderr and log(of(done)) == [f"prefix {folder}"]


@pytest.mark.usefixtures("installer")
def test_what_cannot_be_installed_is_told_and_leaves_nothing(
    traindeck: Command, home: Home, tmp_path: Path
) -> None:
    train = script(tmp_path / "train.py", 'dependencies = ["no-such-package"]')
    said = traindeck("run", str(train), "--isolated", code=4).stderr
    assert "error: an environment for train cannot be made: " in said and "no-such-package" in said
    assert environments(home) == [] and not list(home.runs.iterdir())
    newer = script(tmp_path / "newer.py", 'requires-python = ">=3.99"')
    assert "needs Python >=3.99" in traindeck("run", str(newer), "--isolated", code=4).stderr
    assert "no header" in traindeck("run", "--isolated", "--", "true", code=2).stderr


def test_two_at_once_share_one(home: Home, tmp_path: Path) -> None:
    train = script(tmp_path / "train.py", 'dependencies = ["tiny"]')
    done: list[subprocess.CompletedProcess[str]] = []

    def start() -> None:
        words = [COMMAND, "run", train, "--isolated", "--wait", "--json"]
        done.append(subprocess.run(words, capture_output=True, text=True, check=True))

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [folder] = environments(home)
    assert [log(of(each)) for each in done] == [[f"prefix {folder}"]] * 3
    assert sum("making an environment" in each.stderr for each in done) == 1


def test_a_half_made_one_is_made_anew(traindeck: Command, home: Home, tmp_path: Path) -> None:
    train = script(tmp_path / "train.py", 'dependencies = ["tiny"]', body="import tiny")
    traindeck("run", str(train), "--isolated", "--wait")
    [folder] = environments(home)
    (folder / "isolated.json").unlink()
    next(folder.glob("lib/*/site-packages/tiny.py")).unlink()
    found = {each["what"]: each for each in of(traindeck("doctor", "--json"))}
    assert found[f"environment {folder.name}"]["is"].startswith("half made, ")
    traindeck("run", str(train), "--isolated", "--wait")


def test_doctor_lists_them_and_removes_the_unused(
    traindeck: Command, home: Home, tmp_path: Path
) -> None:
    header = 'dependencies = ["tiny"]'
    train = script(tmp_path / "train.py", header, body="import time; time.sleep(600)")
    [run_id] = traindeck("run", str(train), "--isolated").stdout.split()
    wait_for_state(RunFolder(home.runs / run_id), "running")
    [folder] = environments(home)
    found = {each["what"]: each for each in of(traindeck("doctor", "--json"))}
    assert found[f"environment {folder.name}"]["is"].startswith("tiny; ")
    assert "no environment" in traindeck("doctor", "--remove-unused", "0s").stderr
    traindeck("kill", run_id)
    until(lambda: RunFolder(home.runs / run_id).state()[0] == "killed", "the run's end")
    assert "no environment" in traindeck("doctor", "--remove-unused", "30d").stderr
    assert f"removed {folder.name}" in traindeck("doctor", "--remove-unused", "0s").stderr
    assert environments(home) == []
    assert "no age" in traindeck("doctor", "--remove-unused", "soon", code=2).stderr


def test_another_interpreter_is_what_it_is_made_with(
    traindeck: Command, home: Home, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", other], check=True)
    python = str(other / "bin" / "python")
    train = script(tmp_path / "train.py")
    doc = of(traindeck("run", str(train), "--isolated", "--python", python, "--wait", "--json"))
    [folder] = environments(home)
    assert log(doc) == [f"prefix {folder}"]
    assert json.loads((folder / "isolated.json").read_text())["python"] == python
