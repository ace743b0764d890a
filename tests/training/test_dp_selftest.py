"""A private run's self-test: the right step passes it, and each known wrong one is named.

The step is a user's own, in numpy: it comes through the loop that trains, as a recipe's does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.training.private_steps import (
    BATCH,
    NOISE,
    RECORDS,
    Result,
    Run,
    Training,
    refused,
    run,
)
from traindeck.recipes.shared.training.dp.loop import private_steps
from traindeck.recipes.shared.training.dp.randomness import Randomness
from traindeck.recipes.shared.training.loop import Tested as Outcome

Floats = NDArray[np.float64]
PASSED = "self-test passed: gradients, clipping, noise, sampling; the recipe's own step taken 1"


def test_the_right_step_passes_and_trains(capsys: pytest.CaptureFixture[str]) -> None:
    training = Training()
    own = run(training)
    assert own.paid == training.step == 4
    assert capsys.readouterr().out.startswith(PASSED)


def test_the_steps_of_the_test_leave_nothing_behind() -> None:
    """A seeded run is the same with the self-test and without."""
    tested, alone = Training(), Training()
    run(tested, Randomness(3))
    for step in private_steps(
        Run(NOISE, BATCH / RECORDS),  # type: ignore[arg-type]
        alone,
        Randomness(3),
        lambda: Outcome(0.0, 0.0),
    ):
        alone.take(step)
        step.gave(Result())
    assert tested.step == alone.step == 4
    assert np.array_equal(tested.w, alone.w) and np.array_equal(tested.average, alone.average)


def test_so_does_one_without_noise_or_with_every_record_in_every_batch() -> None:
    run(Training(), noise=0.0)
    run(Training(), rate=1.0)


@pytest.mark.slow
def test_any_optimiser_may_follow_the_release() -> None:
    class Adam(Training):
        first, second = np.zeros(20), np.zeros(20)

        def snapshot(self) -> dict[str, Floats]:
            return super().snapshot() | {"m": self.first.copy(), "v": self.second.copy()}

        def restore(self, state: Any) -> None:
            super().restore(state)
            self.first, self.second = state["m"].copy(), state["v"].copy()

        def update(self, released: Floats) -> None:
            self.first = 0.9 * self.first + 0.1 * released
            self.second = 0.999 * self.second + 0.001 * released**2
            super().update(self.first / (np.sqrt(self.second) + 1e-8))

    for _ in range(5):
        run(Adam())


def test_records_that_fit_are_tested_at_other_weights(capsys: pytest.CaptureFixture[str]) -> None:
    """Where no gradient is long enough to be clipped, one that is never clipped would not show."""

    class Fitted(Training):
        def __init__(self) -> None:
            super().__init__()
            self.y = self.x @ self.w

    class Unclipped(Fitted):
        def clip(self, gradients: Floats) -> Floats:
            return gradients

    fitted = Fitted()
    run(fitted)
    assert refused(capsys, Unclipped(), whole=False).startswith("sensitivity: ")


def test_a_mean_instead_of_a_sum(capsys: pytest.CaptureFixture[str]) -> None:
    class Mean(Training):
        def clipped_sum(self, indices: Sequence[int]) -> Floats:
            return super().clipped_sum(indices) / max(1, len(indices))

    assert refused(capsys, Mean()).startswith("per-example gradients: ")
    assert refused(capsys, Mean(), whole=False).startswith("sensitivity: ")


def test_the_whole_batch_clipped_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    class Whole(Training):
        def clipped_sum(self, indices: Sequence[int]) -> Floats:
            total = np.sum([self.plain_gradient(index) for index in indices], axis=0)
            return self.clip(np.reshape(total, (-1, 20)))[0] if indices else np.zeros(20)

    assert refused(capsys, Whole()).startswith("per-example gradients: ")
    assert refused(capsys, Whole(), whole=False).startswith("sensitivity: ")


def test_gradients_that_mix_examples(capsys: pytest.CaptureFixture[str]) -> None:
    class Mixing(Training):
        def clipped_sum(self, indices: Sequence[int]) -> Floats:
            x, y = self.x[list(indices)], self.y[list(indices)]
            x = x - x.mean(0) if len(x) > 1 else x  # as BatchNorm would
            mixed: Floats = self.clip((x @ self.w - y)[:, None] * x).sum(0)
            return mixed

    assert refused(capsys, Mixing()).startswith("per-example gradients: ")
    assert refused(capsys, Mixing(), whole=False).startswith("sensitivity: ")


def test_no_clipping(capsys: pytest.CaptureFixture[str]) -> None:
    class Unclipped(Training):
        def clip(self, gradients: Floats) -> Floats:
            return gradients

    assert refused(capsys, Unclipped()).startswith("per-example gradients: ")
    assert refused(capsys, Unclipped(), whole=False).startswith("sensitivity: ")


def test_a_single_record_that_is_not_clipped(capsys: pytest.CaptureFixture[str]) -> None:
    class Alone(Training):
        def clipped_sum(self, indices: Sequence[int]) -> Floats:
            if len(indices) == 1:
                return self.plain_gradient(indices[0])
            return super().clipped_sum(indices)

    assert refused(capsys, Alone()).startswith("clipping: a single record adds ")
    assert refused(capsys, Alone(), whole=False).startswith("sensitivity: ")


def test_a_sum_that_is_not_finite(capsys: pytest.CaptureFixture[str]) -> None:
    class Endless(Training):
        def clipped_sum(self, indices: Sequence[int]) -> Floats:
            return super().clipped_sum(indices) * np.nan

    assert "is not finite" in refused(capsys, Endless())
    assert refused(capsys, Endless(), whole=False)
    training = Training()
    training.w[0] = np.nan
    assert "that of no record is finite" in refused(capsys, training)
