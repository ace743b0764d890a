"""`traindeck versus` as people type it, over recipes that need no framework."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from traindeck.core.base.home import Home
from traindeck.core.catalogue.document import RunDoc
from traindeck.core.catalogue.library import Library
from traindeck.core.versus.pairs import suite
from traindeck.core.versus.queue import alone

Command = Callable[..., subprocess.CompletedProcess[str]]

RECIPE = """\
# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.traindeck]
# name = "NAME"
# title = "NAME"
# framework = "other"
# pair = "ours"
# headline = "test/accuracy"
# [tool.traindeck.params]
# epochs = {type = "int", default = 3, min = 1, help = "how long"}
# seed = {type = "int", default = 0, min = 0, help = "of what is random"}
# ///
from traindeck.core import track

with track.start() as run:
    if run.params.epochs == 13:
        raise SystemExit("13 epochs bring bad luck")
    for epoch in range(run.params.epochs):
        run.log(epoch + 1, {"test/accuracy": 0.5 + OFFSET + epoch / 100, "train/loss": 1.0})
"""


@pytest.fixture
def ours(home: Home) -> Home:
    for name, offset in (("ours-a", "0.1"), ("ours-b", "0.2")):
        text = RECIPE.replace("NAME", name).replace("OFFSET", offset)
        (home.recipes / f"{name}.py").write_text(text)
    return home


def runs_of(home: Home) -> list[RunDoc]:
    """All runs, oldest first."""
    return Library(home).runs()[::-1]


@pytest.mark.slow
def test_two_recipes_of_ones_own_run_by_turns_and_only_once(
    ours: Home, traindeck: Command, tmp_path: Path
) -> None:
    done = traindeck("versus", "run", "ours-a", "ours-b")
    assert "6/8 ours-b (twin seed 2)" in done.stderr
    assert "ours-a against ours-b" in done.stdout
    runs = runs_of(ours)
    assert [run["name"] for run in runs] == ["ours-a", "ours-b"] * 3
    assert [run["params"]["seed"] for run in runs] == [0, 0, 1, 1, 2, 2]
    for before, after in pairwise(runs):
        assert before["ended"] <= after["started"], "none disturbed another"
    assert "0 runs are missing" in traindeck("versus", "run", "ours-a", "--dry-run").stderr

    page, text, data = (tmp_path / f"report.{kind}" for kind in ("html", "md", "json"))
    traindeck(
        *("versus", "report", "ours-a", "ours-b"),
        *("--html", str(page), "--md", str(text), "--json", str(data)),
    )
    assert page.read_text().startswith("<!doctype html>")
    assert f"run-{runs[0]['id']}" in page.read_text()
    assert "| first metric [s]" in text.read_text()
    said = json.loads(data.read_text())
    assert len(said["curves"]) == 12
    assert said == {**json.loads(traindeck("versus", "show", "ours-a", "--json").stdout),
                    "created": said["created"], "machine": said["machine"]}  # fmt: skip


@pytest.mark.slow
def test_a_recipe_that_fails_is_not_tried_with_every_seed(ours: Home, traindeck: Command) -> None:
    done = traindeck("versus", "run", "ours-a", "ours-b", "-p", "epochs=13", code=1)
    assert done.stderr.count("failed") == 2
    assert "traindeck logs" in done.stderr
    assert len(runs_of(ours)) == 2


def test_two_comparisons_never_make_runs_at_once(ours: Home, traindeck: Command) -> None:
    wanted = suite(ours, ("ours-a", "ours-b"), {"epochs": 2})
    with alone(ours, wanted):
        done = traindeck("versus", "run", "ours-a", "ours-b", code=1)
        typed = "traindeck versus run ours-a ours-b -p epochs=2"
        assert f"`{typed}` (process {os.getpid()}) makes runs already" in done.stderr
        assert "8 runs are missing" in traindeck("versus", "run", "ours-a", "--dry-run").stderr
    assert runs_of(ours) == []
    traindeck("versus", "run", "ours-a", "ours-b", "--only", "bundle")


def test_what_a_recipe_lacks_is_told_before_anything_runs(ours: Home, traindeck: Command) -> None:
    path = ours.recipes / "ours-b.py"
    lacking = path.read_text().replace("dependencies = []", 'dependencies = ["no-such-thing"]')
    path.write_text(lacking)
    done = traindeck("versus", "run", "ours-a", "ours-b", code=4)
    assert "ours-b needs no-such-thing" in done.stderr
    assert runs_of(ours) == []


def test_an_empty_home_shows_what_makes_each_number(home: Home, traindeck: Command) -> None:
    done = traindeck("versus", "show")
    assert "make it with: traindeck versus run" in done.stdout
    assert "PRIVACY AND SECURITY: too little was measured for a verdict" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (("run", "nothing", "tf-digits"), 3, "no recipe 'nothing'"),
        (("run", "tf-digits", "tf-digits"), 2, "not with itself"),
        (("run", "a", "b", "c"), 2, "two recipes are compared, not 3"),
        (("run", "export"), 3, "export has no twin"),
        (("run", "-p", "depth=3"), 2, "has no parameter 'depth'"),
        (("run", "--quick", "--full"), 2, "say one of them"),
        (("run", "--only", "speed"), 2, "--only speed: there are twin"),
        (("report",), 2, "--html FILE"),
        (("report", "--html", "/no/such/folder/x.html"), 1, "No such file"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(
    home: Home, traindeck: Command, words: tuple[str, ...], code: int, why: str
) -> None:
    done = traindeck("versus", *words, code=code)
    assert why in done.stderr
    assert done.stdout == ""
