"""Canaries go through a private step as real records do, and the model never sees them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from traindeck.core import track
from traindeck.core.privacy import AUDIT_FILE
from traindeck.recipes.shared.training.dp.canaries import COUNT, Canaries
from traindeck.recipes.shared.training.dp.randomness import Randomness

CLIP = 0.1
Floats = NDArray[np.float32]


def weights(norms: Floats) -> ArrayLike:
    return np.minimum(1.0, CLIP / norms)


def train(canaries: Canaries, rate: float, noise: float, steps: int, seed: int = 0) -> None:
    """What a recipe does, without a model; `noise` is a standard deviation."""
    randomness = Randomness(seed)
    for _ in range(steps):
        canaries.among(randomness.poisson_batch(canaries.records, rate))
        total = canaries.sum(weights)
        canaries.step((total + randomness.normal(total.shape, noise)) / 8)


def test_a_batch_keeps_its_real_records_in_their_order() -> None:
    canaries = Canaries(1000, CLIP, count=50)
    assert canaries.records == 1050
    batch = np.array([3, 1049, 999, 0, 1000, 17])
    assert canaries.among(batch).tolist() == [3, 999, 0, 17]
    everyone = Canaries(1000, CLIP, count=0)
    assert everyone.records == 1000
    assert everyone.among(batch[[0, 2]]).tolist() == [3, 999]


def test_only_what_was_put_in_and_drawn_adds_its_clipped_gradient() -> None:
    canaries = Canaries(0, CLIP, count=200)
    seen = np.zeros(200, bool)
    for drawn in (np.arange(0, 200, 2), np.arange(1, 200, 2)):
        canaries.among(drawn)
        total = canaries.sum(weights)
        assert set(np.unique(total)) == {np.float32(0), np.float32(CLIP)}
        assert not total[np.setdiff1d(np.arange(200), drawn)].any()
        seen |= total > 0
    canaries.step(np.arange(200.0))
    included, excluded = canaries.scores()
    assert included.tolist() == np.flatnonzero(seen).tolist()
    assert excluded.tolist() == np.flatnonzero(~seen).tolist()


def test_about_half_are_put_in_by_coins_that_no_seed_decides() -> None:
    first, second = (Canaries(0, CLIP) for _ in range(2))
    sizes = [len(one.scores()[0]) for one in (first, second)]
    assert all(abs(size - COUNT / 2) < 6 * np.sqrt(COUNT) / 2 for size in sizes)
    assert (first._included != second._included).mean() == pytest.approx(0.5, abs=0.05)


def test_scores_are_the_sums_of_what_was_released() -> None:
    steps, rate, noise = 400, 0.1, 0.2
    canaries = Canaries(0, CLIP)
    train(canaries, rate, noise, steps)
    included, excluded = canaries.scores()
    spread = noise * np.sqrt(steps) / 8
    assert excluded.std() == pytest.approx(spread, rel=0.06)
    assert excluded.mean() == pytest.approx(0, abs=5 * spread / np.sqrt(2400))
    mean = steps * rate * CLIP / 8
    assert included.mean() == pytest.approx(mean, abs=5 * spread / np.sqrt(2400))


def test_momentum_adds_up_as_the_optimisers() -> None:
    canaries = Canaries(0, CLIP, momentum=0.5, count=3)
    for released in ([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]):
        canaries.step(released)
    assert canaries._position.tolist() == [1.75, 1.5, 1.0]  # 1 + 1/2 + 1/4, and so on


def test_a_recipe_that_does_not_clip_shows() -> None:
    """The gradients are longer than the clipping norm, so that only clipping makes them fit."""
    canaries = Canaries(0, CLIP, count=40)
    canaries.among(np.arange(40))
    assert canaries.sum(np.ones_like).max() == pytest.approx(10 * CLIP)
    assert canaries.sum(weights).max() == pytest.approx(CLIP)


def test_a_record_drawn_twice_counts_twice() -> None:
    canaries = Canaries(0, CLIP, count=40)
    canaries.among(np.repeat(np.arange(40), 2))
    assert canaries.sum(weights).max() == pytest.approx(2 * CLIP)


def test_a_step_without_any_still_releases_noise() -> None:
    canaries = Canaries(100, CLIP, count=10)
    canaries.among(np.arange(0))
    assert canaries.sum(weights).tolist() == [0.0] * 10


def test_without_canaries_nothing_happens(tmp_path: Path) -> None:
    canaries = Canaries(100, CLIP, momentum=0.9, count=0)
    train(canaries, 0.1, 1.0, 3)
    assert canaries.sum(weights).shape == (0,)
    canaries.save(track.Run(folder=tmp_path / "run"))
    assert not (tmp_path / "run" / "artifacts").exists()


def test_scores_are_left_with_the_run(tmp_path: Path) -> None:
    canaries = Canaries(0, CLIP, count=30)
    train(canaries, 0.5, 1.0, 4)
    with track.Run(folder=tmp_path / "run") as run:
        canaries.save(run)
    with np.load(run.artifacts / AUDIT_FILE) as file:
        included, excluded = canaries.scores()
        assert file["included"].tolist() == included.tolist()
        assert file["excluded"].tolist() == excluded.tolist()
        assert file["steps"] == 4
    assert [path.name for path in run.artifacts.iterdir()] == [AUDIT_FILE]
    assert '"kind": "audit"' in (tmp_path / "run" / "events.jsonl").read_text()


def test_scores_that_cannot_be_written_cost_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    canaries = Canaries(0, CLIP, count=30)
    train(canaries, 0.5, 1.0, 1)
    with track.Run(folder=tmp_path / "run") as run:
        run.artifacts.rmdir()
        run.artifacts.write_text("in the way")
        canaries.save(run)
    assert f"warning: no {run.artifacts / AUDIT_FILE}" in capsys.readouterr().out
