"""A shell completes commands, names of runs and recipes, parameters; the man page has them all."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import COMMAND
from tests.tui.homes import make_run
from traindeck.core.base.home import Home
from traindeck.tui.commands.completing import choices
from traindeck.tui.commands.completion import SHELLS, page
from traindeck.tui.commands.contents import COMMANDS

Command = Callable[..., "subprocess.CompletedProcess[str]"]

RECIPE = """\
# /// script
# [tool.traindeck]
# name = "toy"
# title = "A toy"
# [tool.traindeck.params.steps]
# type = "int"
# default = 5
# [tool.traindeck.params.mode]
# type = "choice"
# choices = ["graph", "eager"]
# default = "eager"
# ///
"""


@pytest.fixture
def toy(home: Home) -> None:
    (home.recipes / "toy.py").write_text(RECIPE)
    make_run(home, 1, name="early bird", params={"lr": 0.1})
    make_run(home, 2, name="twin")
    make_run(home, 3, name="twin")


def words(home: Home, *line: str) -> list[str]:
    return [word for word, _ in choices(home, line)]


@pytest.mark.usefixtures("toy")
class TestChoices:
    def test_commands_and_their_options(self, home: Home) -> None:
        assert words(home, "") == list(COMMANDS)
        assert words(home, "comp") == ["compare", "completion"]
        assert "--columns" in words(home, "ls", "--")
        assert words(home, "budget", "cr") == ["create"]
        assert words(home, "nothing", "x") == []

    def test_runs_by_id_and_by_names_that_are_theirs_alone(self, home: Home) -> None:
        found = words(home, "show", "")
        assert found[:2] == ["@last", "early bird"] and "twin" not in found and len(found) == 5
        assert words(home, "compare", "1582z401", "earl") == ["early bird"]
        assert words(home, "run", "--again", "earl") == ["early bird"]

    def test_recipes_parameters_and_their_choices(self, home: Home) -> None:
        assert words(home, "run", "to") == [
            name for name in words(home, "run", "") if name.startswith("to")
        ]
        assert "toy" in words(home, "run", "")
        assert words(home, "run", "toy", "-p", "") == ["steps=", "mode="]
        assert words(home, "run", "toy", "-p", "mode=") == ["mode=graph", "mode=eager"]
        assert words(home, "run", "-p", "steps=1", "to")[-1:] == ["toy"]

    def test_columns_one_after_the_other(self, home: Home) -> None:
        assert words(home, "ls", "--columns", "name,lr") == ["name,lr"]
        assert words(home, "ls", "--sort", "-l") == ["-lr"]

    def test_after_two_dashes_any_file_may_be_meant(self, home: Home) -> None:
        assert words(home, "run", "--", "pyth") == []


def test_the_page_tells_every_command() -> None:
    text = page()
    for name in COMMANDS:
        assert f".B {name}\n" in text or f'"{name} "' in text, name
    assert "\\-\\-columns" in text and "EXIT STATUS" in text


@pytest.mark.slow
@pytest.mark.usefixtures("toy")
class TestShells:
    @pytest.mark.parametrize(
        ("typed", "offered"),
        [
            ("run toy -p st", "steps=|"),
            ("run toy -p mode =", "graph|eager|"),
            ("run toy -p mode = g", "graph|"),
            ("run toy -p mode=g", "mode=graph|"),  # where COMP_WORDBREAKS has no =
            ("run toy -p steps = 3 -p mode = e", "eager|"),
            ("ls --sort lr : best", "|"),
            ("run toy --param = mode = g", "graph|"),
            ("budget cr", "create|"),
        ],
    )
    def test_bash_completes(self, traindeck: Command, typed: str, offered: str) -> None:
        script = traindeck("completion", "bash").stdout
        asked = (
            f"{script}\nCOMP_WORDS=(traindeck {typed}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1));"
            ' compopt() { :; }; _traindeck; printf "%s|" "${COMPREPLY[@]}"'
        )
        path = f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-c", asked], capture_output=True, text=True, env={**os.environ, "PATH": path}
        )
        assert done.stdout == offered

    @pytest.mark.parametrize("shell", SHELLS)
    def test_each_script_is_one_its_shell_can_read(
        self, traindeck: Command, tmp_path: Path, shell: str
    ) -> None:
        script = tmp_path / "script"
        script.write_text(traindeck("completion", shell).stdout)
        if shutil.which(shell) is None:
            pytest.skip(f"{shell} is not here")
        assert subprocess.run([shell, "-n", script]).returncode == 0

    def test_another_shell_is_an_error(self, traindeck: Command) -> None:
        assert "take bash, zsh, fish or man" in traindeck("completion", "tcsh", code=2).stderr
