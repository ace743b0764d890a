"""How many checkpoints a run leaves: the best by its headline, and the last."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from traindeck.core.base.files import read_json, write_json
from traindeck.core.base.home import Home
from traindeck.core.launch import LaunchRequest, launch
from traindeck.core.privacy.origin import beside
from traindeck.core.recipe.read import read_recipe
from traindeck.core.run.points import PointWriter
from traindeck.core.track import Run
from traindeck.recipes.shared.training import checkpoints
from traindeck.tui.settings import read_settings

ACCURACY = [0.1, 0.7, 0.9, 0.3, 0.4, 0.5]


@pytest.fixture
def left(tmp_path: Path) -> Callable[..., list[int]]:
    """Train six steps with a checkpoint each; the steps of those that are there at last."""

    def train(keep: int | None, headline: str = "test/accuracy", sign: float = 1) -> list[int]:
        folder = tmp_path / f"run-{keep}"
        (folder / "artifacts").mkdir(parents=True)
        write_json(folder / "run.json", {"keep_checkpoints": keep, "headline": headline})
        run, points = Run(folder=folder, managed=True), PointWriter(folder)
        for step, value in enumerate(ACCURACY, 1):
            target = checkpoints.path(run, step, ".pt")
            checkpoints.write(run, target, lambda part: part.write_bytes(b"x"))
            beside(target).touch()
            points.add(step, {headline: sign * value})
            points.flush()
        points.close()
        there = sorted((folder / "artifacts").glob("checkpoint-*.pt"))
        seals = sorted((folder / "artifacts").glob(".checkpoint-*.origin.json"))
        assert seals == sorted(map(beside, there))
        return [int(path.stem.rpartition("-")[2]) for path in there]

    return train


@pytest.mark.parametrize(
    ("keep", "steps"),
    [(None, [1, 2, 3, 4, 5, 6]), (1, [6]), (2, [3, 6]), (3, [3, 5, 6]), (5, [2, 3, 4, 5, 6])],
)
def test_the_best_and_the_last_stay(
    left: Callable[..., list[int]], keep: int | None, steps: list[int]
) -> None:
    assert left(keep) == steps


def test_of_a_loss_the_least_is_the_best(left: Callable[..., list[int]]) -> None:
    assert left(2, "test/loss", -1) == [3, 6]


def test_what_no_epsilon_covers_decides_nothing(left: Callable[..., list[int]]) -> None:
    assert left(3, "private/loss") == [4, 5, 6]


def test_the_header_says_how_many_else_the_settings(home: Home, tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    head = "# /// script\n# [tool.traindeck]\n{}# ///\n"
    home.settings.write_text("keep_checkpoints = 4")
    usual = read_settings(home.settings).keep_checkpoints
    for line, kept in (("# keep_checkpoints = 2\n", 2), ("", 4)):
        script.write_text(head.format(line))
        doc = launch(home, LaunchRequest(recipe=read_recipe(script), keep_checkpoints=usual))
        spec = read_json(Path(doc["path"]) / "run.json")
        assert spec is not None and spec["keep_checkpoints"] == kept
    home.settings.write_text("keep_checkpoints = 0")
    assert "whole number from 1 on" in read_settings(home.settings).problems[0]
