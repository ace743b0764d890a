"""A private run's self-test: wrong noise, sampling and side channels are named.

The step is a user's own, in numpy: it comes through the loop that trains, as a recipe's does.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.training.private_steps import (
    BATCH,
    LR,
    Training,
    refused,
    run,
)
from traindeck.recipes.shared.training.dp.loop import PrivateStep
from traindeck.recipes.shared.training.dp.randomness import Randomness

Floats = NDArray[np.float64]
PASSED = "self-test passed: gradients, clipping, noise, sampling; the recipe's own step taken 1"


def test_noise_added_after_the_division(capsys: pytest.CaptureFixture[str]) -> None:
    class After(Training):
        def release(self, indices: Sequence[int], step: PrivateStep) -> Floats:
            return self.clipped_sum(indices) / BATCH + self.noise(step)

    assert refused(capsys, After()).startswith("sensitivity: ")


@pytest.mark.parametrize("empty", [1, BATCH], ids=["always", "unless it is none"])
def test_division_by_the_real_size_of_the_batch(
    capsys: pytest.CaptureFixture[str], empty: int
) -> None:
    class Real(Training):
        def release(self, indices: Sequence[int], step: PrivateStep) -> Floats:
            total: Floats = self.clipped_sum(indices) + self.noise(step)
            return total / (len(indices) or empty)

    assert refused(capsys, Real()).startswith("sensitivity: ")


def test_empty_batches_without_noise(capsys: pytest.CaptureFixture[str]) -> None:
    class Skipping(Training):
        def release(self, indices: Sequence[int], step: PrivateStep) -> Floats:
            return super().release(indices, step) if indices else np.zeros(20)

    assert refused(capsys, Skipping()).startswith("noise: a step asks its randomness for 0 values")


def test_noise_in_empty_batches_only(capsys: pytest.CaptureFixture[str]) -> None:
    class Quiet(Training):
        def release(self, indices: Sequence[int], step: PrivateStep) -> Floats:
            released: Floats = super().release(indices, step)
            return self.clipped_sum(indices) / BATCH if indices else released

    assert refused(capsys, Quiet()).startswith("sensitivity: ")


@pytest.mark.parametrize("factor", [0.97, 1.03, 0.3])
def test_noise_of_another_scale(capsys: pytest.CaptureFixture[str], factor: float) -> None:
    class Scaled(Training):
        def noise(self, step: PrivateStep) -> Floats:
            return factor * super().noise(step)

    class Source(Randomness):
        def normal(self, shape: int | tuple[int, ...], scale: float) -> NDArray[np.float32]:
            return super().normal(shape, factor * scale)

    assert refused(capsys, Scaled()).startswith("sensitivity: ")
    said = refused(capsys, Training(), randomness=Source())
    assert said.startswith("noise: its standard deviation in a sum of gradients is ")


def test_noise_of_another_scale_on_a_few_weights(capsys: pytest.CaptureFixture[str]) -> None:
    """Where a record's gradient is 0 it proves nothing: the noise is measured there as well."""

    class Dead(Training):
        def __init__(self) -> None:
            super().__init__()
            self.x[:100, 17] = 0

        def noise(self, step: PrivateStep) -> Floats:
            noise = super().noise(step)
            noise[17] = 0
            return noise

    assert refused(capsys, Dead()) == "noise: none reaches 1 of the 5 values of model/1\n"


def test_the_same_noise_at_each_step(capsys: pytest.CaptureFixture[str]) -> None:
    class Same(Randomness):
        def normal(self, shape: int | tuple[int, ...], scale: float) -> NDArray[np.float32]:
            return np.resize(np.float32([scale, -scale]), shape)  # of the right scale

    assert refused(capsys, Training(), randomness=Same()) == "noise: two steps get the same\n"


def test_noise_that_is_drawn_once_and_kept(capsys: pytest.CaptureFixture[str]) -> None:
    class Kept(Training):
        kept: Floats | None = None

        def noise(self, step: PrivateStep) -> Floats:
            if self.kept is None or self.step % 3 == 0:
                self.kept = super().noise(step)
            return self.kept

    said = refused(capsys, Kept())
    assert said == "noise: a step asks its randomness for 0 values, and has 20 parameters\n"


def test_noise_that_is_kept_later_ends_the_run_before_anything_is_saved(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Later(Training):
        def noise(self, step: PrivateStep) -> Floats:
            return super().noise(step) if self.late < 0 else np.zeros(20)

        late = -1

        def save(self) -> None:
            super().save()
            self.late = 1  # after the first checkpoint

    training = Later()
    with pytest.raises(SystemExit) as ended:
        run(training)
    assert ended.value.code == 1
    assert len(training.saved) == 1
    assert "step 2 drew 0 values of noise, not 20" in capsys.readouterr().err


@pytest.mark.parametrize("whole", [True, False])
def test_a_layer_without_noise(capsys: pytest.CaptureFixture[str], whole: bool) -> None:
    class Bare(Training):
        def noise(self, step: PrivateStep) -> Floats:
            noise = super().noise(step)
            noise[15:] = 0
            return noise

    said = refused(capsys, Bare(), whole=whole)
    assert said.startswith("noise: none reaches model/1, which a record alone moves by ")


def test_a_statistic_of_the_batch(capsys: pytest.CaptureFixture[str]) -> None:
    class Following(Training):
        def release(self, indices: Sequence[int], step: PrivateStep) -> Floats:
            if indices:
                self.statistic += 0.1 * (self.x[indices].mean(0) - self.statistic)
            return super().release(indices, step)

    assert refused(capsys, Following()).startswith("noise: none reaches statistic, which a record")


def test_an_average_of_weights_without_noise(capsys: pytest.CaptureFixture[str]) -> None:
    class Averaging(Training):
        def release(self, indices: Sequence[int], step: PrivateStep) -> Floats:
            without = self.w - LR * self.clipped_sum(indices) / BATCH
            self.average += 0.01 * (without - self.average)
            return super().release(indices, step)

    assert "moves average/0 by" in refused(capsys, Averaging())


@pytest.mark.parametrize("late", [False, True])
def test_a_learning_rate_by_the_private_loss(
    capsys: pytest.CaptureFixture[str], late: bool
) -> None:
    class Paced(Training):
        pace = 1.0

        def release(self, indices: Sequence[int], step: PrivateStep) -> Floats:
            pace, errors = self.pace, self.x[indices] @ self.w - self.y[indices]
            if indices:
                self.pace = float(1 / (1 + np.mean(errors**2)))
            return super().release(indices, step) * (pace if late else self.pace)

    assert refused(capsys, Paced()).startswith("sensitivity: ")


def test_batches_of_one_size(capsys: pytest.CaptureFixture[str]) -> None:
    class Shuffling(Randomness):
        def poisson_batch(self, records: int, rate: float) -> NDArray[np.intp]:
            return np.random.permutation(records)[: round(records * rate)]

    said = refused(capsys, Training(), randomness=Shuffling())
    assert said.startswith("sampling: the size of batches has a variance of 0,")


def test_another_sampling_rate(capsys: pytest.CaptureFixture[str]) -> None:
    class Doubled(Randomness):
        def poisson_batch(self, records: int, rate: float) -> NDArray[np.intp]:
            return super().poisson_batch(records, 2 * rate)

    class Asking(Training):
        def take(self, step: PrivateStep) -> None:
            step.rate *= 2
            super().take(step)

    said = refused(capsys, Training(), randomness=Doubled())
    assert said.startswith("sampling: batches hold ")
    assert refused(capsys, Asking()).startswith("sampling: a step asks its randomness for batches")


@pytest.mark.slow
def test_right_steps_are_never_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(20):
        run(Training(), whole=False)
    assert capsys.readouterr().out.count(PASSED) == 20
