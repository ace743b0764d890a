"""The scripts of a run are kept, also those that git does not know: `dirty` is true then."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import until, wait_for_state
from traindeck.core.base.files import read_json
from traindeck.core.base.home import Home
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.sources import beneath, named

Command = Callable[..., "subprocess.CompletedProcess[str]"]
GIT = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]


def test_the_words_of_a_command_that_are_scripts(tmp_path: Path) -> None:
    for name in ("train.py", "job.sh", "pkg/__init__.py", "pkg/main.py", "pkg/__main__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "tool").write_text("#!/bin/sh\n")

    def names(*argv: str) -> list[str]:
        return [str(path.relative_to(tmp_path)) for path in named(argv, tmp_path)]

    assert names("python", "-u", "train.py", "--lr", "1") == ["train.py"]
    assert names("bash", "-c", "cd .; python train.py&& ./job.sh") == ["train.py", "job.sh"]
    assert names("python", "-m", "pkg.main") == ["pkg/__init__.py", "pkg/main.py"]
    assert names("python", "-m", "pkg") == ["pkg/__init__.py", "pkg/__main__.py"]
    assert names("./tool", "x.py") == ["tool"]
    assert names("sh", str(tmp_path / "job.sh")) == ["job.sh"]
    assert names(sys.executable, "--version", "\0", "-") == []


def test_what_scripts_import_and_run_is_found_without_running_it(tmp_path: Path) -> None:
    files = {
        "job.sh": "exec python 'train.py' --lr 1\n",
        "train.py": "import model, os\nfrom lib import data\nfrom lib.deep.x import y\nfail(",
        "model.py": "import train\n",
        "lib/__init__.py": "from . import more\n",
        "lib/more.py": "from ..outside import no\n",
        "lib/data.py": "raise SystemExit\n",
        "unused.py": "",
    }
    files["train.py"] = files["train.py"].replace("fail(", "raise SystemExit")
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = {str(p.relative_to(tmp_path)) for p in beneath([tmp_path / "job.sh"], tmp_path)}
    assert found == files.keys() - {"job.sh", "unused.py"}


@pytest.mark.parametrize("kind", ["untracked", "ignored", "tracked", "no repository"])
def test_what_was_run_is_kept_and_told_from_what_git_has(
    home: Home,
    traindeck: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (folder / "train.py").write_text("import model\nprint('new experiment', model.SIZE)\n")
    (folder / "model.py").write_text("SIZE = 3\n")
    if kind == "ignored":
        (folder / ".gitignore").write_text("*.py\n")
    if kind != "no repository":
        subprocess.run(["git", "init", "-q"], check=True)
        if kind == "tracked":
            subprocess.run(["git", "add", "."], check=True)
        subprocess.run([*GIT, "commit", "-q", "--allow-empty", "-m", "one"], check=True)
    traindeck("run", "--wait", "--", sys.executable, "train.py")
    run = RunFolder(next(home.runs.iterdir()))
    wait_for_state(run)
    kept: dict[str, object] = until(lambda: read_json(run.path / "source" / "provenance.json"))
    assert (run.path / "source" / "train.py").read_text().endswith("model.SIZE)\n")
    assert (run.path / "source" / "model.py").exists() == (kind != "tracked")
    git = kept["git"]
    if kind == "no repository":
        assert git is None
    else:
        assert isinstance(git, dict)
        assert git["dirty"] == (kind != "tracked")
        assert git["untracked"] == ([] if kind == "tracked" else ["train.py", "model.py"])
