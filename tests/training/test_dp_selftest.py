"""A private run's self-test: the right step passes it, and each known wrong one is named.

The step is a user's own, in numpy: it comes through the loop that trains, as a recipe's does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.training.private_steps import BATCH, LR, NOISE, RECORDS, Result, Run, Training, run
from traindeck.recipes.shared.training.dp.loop import PrivateStep, private_steps
from traindeck.recipes.shared.training.dp.randomness import Randomness
from traindeck.recipes.shared.training.loop import Tested as Outcome

Floats = NDArray[np.float64]
PASSED = "self-test passed: gradients, clipping, noise, sampling; the recipe's own step taken 1"


def refused(capsys: pytest.CaptureFixture[str], training: Training, **options: Any) -> str:
    """Why the run was ended, before it paid for anything."""
    own: list[Run] = []
    spend = Run.spend
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "spend", lambda self: own.append(self) or spend(self))
        with pytest.raises(SystemExit) as ended:
            run(training, **options)
    assert ended.value.code == 1
    assert not own and not training.saved
    return capsys.readouterr().err.removeprefix("error: self-test: ")


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
