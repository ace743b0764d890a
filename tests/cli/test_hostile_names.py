"""What names, files and parameters hold reaches no terminal as a command of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import COMMAND, wait_for_state
from traindeck.core.base.home import Home
from traindeck.core.run.folder import RunFolder

Command = Callable[..., subprocess.CompletedProcess[str]]

HOSTILE = "\x1b[31m\x1b]0;title\x07\x9b2J\x1b]52;c;eA==\x07\u202e\r\nerror: forged"
"""Colours, a title, the 8-bit form, the clipboard, a turned direction, a line of its own."""
AS_FILE = HOSTILE.replace("/", "_")
CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]")

TYPED: dict[str, tuple[str, ...]] = {
    "no command": (HOSTILE,),
    "no option": ("ls", f"--{HOSTILE}"),
    "a number that is none": ("budget", "create", "toy", "--epsilon", HOSTILE, "--delta", "1e-5"),
    "no recipe": ("run", HOSTILE),
    "no command to run": ("run", "--", HOSTILE),
    "no parameter": ("run", "odd", "-p", f"{HOSTILE}=1"),
    "no KEY=VALUE": ("run", "odd", "-p", HOSTILE),
    "no number": ("run", "odd", "-p", f"lr={HOSTILE}"),
    "no choice": ("run", "odd", "-p", f"kind={HOSTILE}"),
    "no device": ("run", "odd", "--on", HOSTILE),
    "no interpreter": ("run", "odd", "--python", HOSTILE),
    "no reason": ("run", "odd", "--reason", HOSTILE),
    "no run": ("show", HOSTILE),
    "no run to stop": ("stop", HOSTILE, "also" + HOSTILE),
    "nothing in the trash": ("restore", HOSTILE),
    "no query": ("ls", "--query", f"state:{HOSTILE}"),
    "no series": ("metrics", "@last", "--series", HOSTILE),
    "a run's name": ("show", "@last"),
    "names in the list": ("ls",),
    "names of recipes": ("recipes",),
    "a recipe's own words": ("recipes", "odd"),
    "a broken recipe": ("run", "./broken.py"),
    "no budget": ("budget", "show", HOSTILE),
    "no unit": ("budget", "create", "toy", "--epsilon", "1", "--delta", "1e-5", "--unit", HOSTILE),
    "a reason": ("budget", "set", "kept", "--epsilon", "2", "--reason", HOSTILE),
    "a budget's history": ("budget", "history", "kept"),
    "an import": ("budget", "import", "opacus", f"./{AS_FILE}", "--into", "kept"),
    "a statement": ("verify", f"./{AS_FILE}"),
    "an owner": ("approve", "@last", HOSTILE),
    "what can be mended": ("doctor",),
}
RECIPE = f"""# /// script
# [tool.traindeck]
# name = "odd"
# [tool.traindeck.params.lr]
# type = "float"
# default = 0.1
# [tool.traindeck.params.kind]
# type = "choice"
# choices = ["plain", {json.dumps(HOSTILE)}]
# default = "plain"
# help = {json.dumps(HOSTILE)}
# ///
"""


@pytest.fixture
def folder(traindeck: Command, home: Home, tmp_path: Path) -> Path:
    (home.recipes / "odd.py").write_text(RECIPE)
    (home.recipes / f"{AS_FILE[:60]}.py").write_text(
        "# /// script\n# [tool.traindeck]\n# x = 1\n# ///\n"
    )
    work = tmp_path / "work"
    work.mkdir()
    (work / "broken.py").write_text(
        f"# /// script\n# [tool.traindeck]\n# {json.dumps(HOSTILE)} = 1\n# ///\n"
    )
    (work / AS_FILE).write_text("{}")
    traindeck("budget", "create", "kept", "--epsilon", "3", "--delta", "1e-5")
    run = traindeck("run", "--name", HOSTILE, "--tag", HOSTILE, "--", "true").stdout.strip()
    wait_for_state(RunFolder(home.runs / run))
    return work


@pytest.mark.slow
def test_nothing_that_is_typed_or_read_reaches_the_terminal_raw(folder: Path) -> None:
    raw = {}
    for what, words in TYPED.items():
        done = subprocess.run([COMMAND, *words], capture_output=True, cwd=folder, timeout=120)
        said = (done.stdout + done.stderr).decode("utf-8", "strict")
        assert "Traceback" not in said, (what, said)
        assert done.returncode in (0, 1, 2, 3, 4, 5), (what, done.returncode)
        forged = [line for line in said.splitlines() if line.startswith("error: forged")]
        if CONTROL.search(said) or forged:
            raw[what] = said
    assert raw == {}


class TestAnotherUsersHome:
    @pytest.fixture
    def theirs(self, tmp_path: Path) -> Path:
        if os.geteuid():
            pytest.skip("only root can give a folder away")
        folder = tmp_path / "bob"
        (folder / ".traindeck").mkdir(parents=True)
        for path in (folder, folder / ".traindeck"):
            os.chown(path, 12345, 12345)
        return folder

    def run(self, *words: str, **changed: str) -> subprocess.CompletedProcess[str]:
        kept = {key: value for key, value in os.environ.items() if key != "TRAINDECK_HOME"}
        return subprocess.run(
            [COMMAND, *words], capture_output=True, text=True, env={**kept, **changed}, timeout=60
        )

    def test_is_not_used_because_sudo_kept_the_variable(self, theirs: Path) -> None:
        for words in (["ls"], ["run", "--", "true"], ["budget", "ls"]):
            done = self.run(*words, HOME=str(theirs))
            assert done.returncode == 2, done
            assert done.stderr.startswith(f"error: {theirs}/.traindeck belongs to user 12345")
            assert "TRAINDECK_HOME" in done.stderr
        assert list((theirs / ".traindeck").iterdir()) == []

    def test_is_not_made_in_their_folder_either(self, theirs: Path) -> None:
        (theirs / ".traindeck").rmdir()
        assert self.run("run", "--", "true", HOME=str(theirs)).returncode == 2
        assert list(theirs.iterdir()) == []

    def test_is_used_when_it_is_named_and_that_is_said(self, theirs: Path) -> None:
        done = self.run("ls", TRAINDECK_HOME=str(theirs / ".traindeck"))
        assert done.returncode == 0
        assert "belongs to user 12345" in done.stderr.splitlines()[0]

    def test_ones_own_is_used_without_a_word(self, tmp_path: Path) -> None:
        done = self.run("ls", HOME=str(tmp_path))
        assert (done.returncode, "belongs" in done.stderr) == (0, False)
