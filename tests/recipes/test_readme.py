"""What recipes/README.md says holds: its example runs as pasted, its tables leave nothing out."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import COMMAND
from tests.recipes.by_hand import FOLDER, PATIENCE, start
from traindeck.core.base.home import Home
from traindeck.core.recipe import read
from traindeck.core.recipe.read import discover, read_recipe

README = (FOLDER / "README.md").read_text()


@pytest.fixture
def pasted(tmp_path: Path) -> Path:
    [example] = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    path = tmp_path / "recipes" / "line.py"
    path.parent.mkdir()
    path.write_text(example)
    return path


def test_the_example_runs_alone(tmp_path: Path, pasted: Path) -> None:
    ran = start(tmp_path / "home", pasted)
    assert (ran.code, ran.error) == (0, "")
    losses = ran.series()["train/loss"]
    assert [step for step, _ in losses] == list(range(1, 101))
    assert losses[-1][1] < 0.1 < losses[0][1]
    line = json.loads((ran.folder / "artifacts" / "line.json").read_text())
    assert (line["a"], line["b"]) == (pytest.approx(3, abs=0.4), pytest.approx(-1, abs=0.2))
    assert [event["kind"] for event in ran.events("artifact")] == ["model"]


def test_the_example_is_listed_and_launched_by_its_name(home: Home, pasted: Path) -> None:
    command = [str(COMMAND), "run", "my-line", "-p", "data=many", "--wait", "--json"]
    done = subprocess.run(
        command, cwd=pasted.parent.parent, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    [folder] = home.runs.iterdir()
    params = json.loads((folder / "params.json").read_text())
    assert params == {"lr": 0.5, "steps": 200, "data": "many", "seed": 0}
    line = json.loads((folder / "artifacts" / "line.json").read_text())
    assert line["a"] == pytest.approx(3, abs=0.05)


def test_the_example_keeps_to_what_it_explains(pasted: Path) -> None:
    recipe = read_recipe(pasted)
    assert recipe is not None
    assert recipe.headline == "train/loss"
    assert recipe.chosen({"data": "many"}).params["lr"].default == 0.5


def test_every_built_in_recipe_and_every_key_of_a_header_is_in_the_tables() -> None:
    rows = "".join(line for line in README.splitlines() if line.startswith("| "))
    named = set(re.findall(r"`([^`]+)`", rows))
    recipes, _ = discover([(FOLDER, "built-in", False)])
    assert {recipe.name for recipe in recipes} <= named
    assert set(read._RECIPE_KEYS) <= named
    assert set(read._PARAM_KEYS) <= named
