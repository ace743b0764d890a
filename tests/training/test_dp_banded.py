"""Banded noise: what its steps' noises are made of, who is in which batch, what is kept of it."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.training.private_steps import BATCH, NOISE, RECORDS, Result, Run, Training
from traindeck.core.privacy.mechanism import Mechanism
from traindeck.recipes.shared.training.dp import banded
from traindeck.recipes.shared.training.dp.banded import Banded, coefficients
from traindeck.recipes.shared.training.dp.loop import private_steps
from traindeck.recipes.shared.training.dp.randomness import Randomness
from traindeck.recipes.shared.training.dp.selftest import SelfTest
from traindeck.recipes.shared.training.loop import Tested as Outcome

BANDS, STEPS = 4, 40


def strategy(randomness: Randomness, steps: int) -> NDArray[np.float64]:
    """C itself, column by column: what a noise of 1 in one step alone was made of."""
    return np.column_stack([randomness.whitened(row[:, None])[:, 0] for row in np.eye(steps)])


def row_of(randomness: Randomness, steps: int, values: int) -> NDArray[np.float64]:
    randomness.restart()
    rows = []
    for _ in range(steps):
        randomness.advance()
        rows.append(np.asarray(randomness.normal(values, 1.0), np.float64))
    return np.array(rows)


def test_the_strategy_is_the_square_root_of_prefix_sums() -> None:
    first = coefficients(5) / coefficients(5)[0]
    assert first == pytest.approx([1, 1 / 2, 3 / 8, 5 / 16, 35 / 128])
    whole = coefficients(60, 0.9) / coefficients(60, 0.9)[0]
    squared = np.convolve(whole, whole)[:60]  # the workload: momentum, summed up
    assert squared == pytest.approx(np.cumsum(0.9 ** np.arange(60)))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("steps", [3, 17])
def test_a_record_spreads_over_as_many_rows_as_bands_by_no_more_than_its_norm(
    momentum: float, steps: int
) -> None:
    """What the accountant's theorem asks of C: columns of norm 1, rows b apart that do not meet."""
    c = strategy(Banded(BANDS, steps, momentum), steps)
    assert np.linalg.norm(c, axis=0) == pytest.approx(1.0)
    row, column = np.nonzero(np.abs(c) > 1e-12)
    assert (row - column).min() == 0 and (row - column).max() < BANDS


@pytest.mark.parametrize("noise_seed", [-1, 7], ids=["system", "seeded"])
def test_what_the_noises_are_made_of_is_independent(noise_seed: int) -> None:
    randomness = Banded(BANDS, 12, 0.9, noise_seed)
    rows = row_of(randomness, 12, 40_000)
    z = randomness.whitened(rows)
    covariance = z @ z.T / z.shape[1]
    assert np.abs(covariance - np.eye(12)).max() < 6 * np.sqrt(2 / z.shape[1])
    inverse = np.linalg.inv(strategy(randomness, 12))  # each step's noise: a row of C⁻¹
    assert rows.std(1) == pytest.approx(np.linalg.norm(inverse, axis=1), rel=0.03)
    assert randomness.first == pytest.approx(np.linalg.norm(inverse[0]), rel=1e-6)


def test_the_noise_adds_up_to_less_than_that_of_independent_steps_would() -> None:
    summed = row_of(Banded(16, 64), 64, 20_000).sum(0).std()
    assert summed < 0.5 * np.sqrt(64)


def test_a_step_may_draw_its_noise_in_parts_but_not_more_of_it_than_the_last() -> None:
    whole, parts = Banded(3, 9, 0.0, 5), Banded(3, 9, 0.0, 5)
    for _ in range(4):
        whole.advance()
        parts.advance()
        together = whole.normal(10, 2.0)
        assert np.array_equal(together[:4], parts.normal((2, 2), 2.0).ravel())
        parts.normal(6, 2.0)
    whole.advance()
    with pytest.raises(ValueError, match="draws 11 values of banded noise, one before it drew 10"):
        whole.normal(11, 2.0)


def test_each_record_is_in_one_part_and_comes_in_its_turn_by_a_coin() -> None:
    randomness, records, rate = Banded(BANDS, STEPS), 20_000, 0.1
    counts = np.zeros((BANDS, records))
    for step in range(STEPS):
        randomness.advance()
        counts[step % BANDS, randomness.poisson_batch(records, rate)] += 1
    assert (np.count_nonzero(counts, axis=0) <= 1).all()
    sizes = np.count_nonzero(counts, axis=1)
    assert np.abs(sizes - records / BANDS).max() < 6 * np.sqrt(records / BANDS) + 60
    drawn = counts.sum(0)  # of 10 turns, by coins of 0.4
    assert abs(drawn.mean() - 4.0) < 5 * np.sqrt(2.4 / records)
    assert abs(drawn.var() / 2.4 - 1) < 0.1


def test_the_parts_are_drawn_anew_for_each_block_and_for_one_number_of_records() -> None:
    randomness = Banded(BANDS, STEPS)
    first = randomness.poisson_batch(1000, 0.25)
    assert len(np.intersect1d(first, randomness.poisson_batch(1000, 0.25))) == len(first)
    randomness.restart()
    assert not np.array_equal(first, randomness.poisson_batch(1000, 0.25))
    with pytest.raises(ValueError, match="999 records: 1000 were divided"):
        randomness.poisson_batch(999, 0.25)


def test_a_plan_without_bands_has_the_randomness_of_before() -> None:
    plan: Any = Run(NOISE, BATCH / RECORDS).plan
    assert type(banded.randomness(plan, 3, 0)) is Randomness
    assert np.array_equal(
        banded.randomness(plan, 3, 7).normal(9, 1.0), Randomness(3, 7).normal(9, 1.0)
    )


class Own(Run):
    """A run with banded noise, which is asked to stop after so many steps."""

    def __init__(self, steps: int = STEPS, stop: int = 0, bands: int = BANDS) -> None:
        super().__init__(NOISE, BATCH / RECORDS, steps)
        mechanism = Mechanism(NOISE, BATCH / RECORDS, steps, bands=bands)
        object.__setattr__(self.plan, "mechanism", mechanism)
        self.stop = stop

    def should_stop(self) -> bool:
        return bool(self.stop) and self.paid >= self.stop


def trained(own: Own, randomness: Randomness, training: Training | None = None) -> Training:
    training = training or Training()
    test = SelfTest(RECORDS, training.plain_gradient, training.clipped_sum)
    tested = Outcome(0.0, 0.0)
    for step in private_steps(own, training, randomness, lambda: tested, test):  # type: ignore[arg-type]
        training.take(step)
        step.gave(Result())
    return training


def test_the_self_test_passes_a_right_step(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(5):
        assert trained(Own(), Banded(BANDS, STEPS, 0.5)).step == STEPS
    assert capsys.readouterr().out.count("self-test passed") == 5


def test_the_steps_of_the_test_leave_no_noise_to_be_taken_back() -> None:
    """A seeded run is the same with the self-test and without."""
    tested, alone = trained(Own(), Banded(BANDS, STEPS, 0.5, 3)), Training()
    for step in private_steps(
        Own(), alone, Banded(BANDS, STEPS, 0.5, 3), lambda: Outcome(0.0, 0.0)
    ):  # type: ignore[arg-type]
        alone.take(step)
        step.gave(Result())
    assert np.array_equal(tested.w, alone.w)


def wrong(capsys: pytest.CaptureFixture[str], randomness: Randomness) -> str:
    with pytest.raises(SystemExit) as ended:
        trained(Own(), randomness)
    assert ended.value.code == 1
    return capsys.readouterr().err.removeprefix("error: self-test: ")


@pytest.mark.parametrize("seed", range(3))
def test_each_wrong_randomness_is_seen(capsys: pytest.CaptureFixture[str], seed: int) -> None:
    class Forgetful(Banded):  # takes nothing back: less than the plan's noise in what C weighs
        def advance(self) -> None:
            super().advance()
            self._before = []

    class Doubtful(Banded):  # takes the last noise back twice
        def advance(self) -> None:
            super().advance()
            self._before = [2 * self._before[0], *self._before[1:]] if self._before else []

    class Small(Banded):
        def normal(self, shape: Any, scale: float) -> Any:
            return super().normal(shape, 0.9 * scale)

    class Whole(Banded):  # draws from all parts
        def poisson_batch(self, records: int, rate: float) -> Any:
            return Randomness.poisson_batch(self, records, rate)

    class Same(Banded):  # one batch for each part
        def restart(self) -> None:
            super().restart()
            self.kept: dict[int, Any] = {}

        def poisson_batch(self, records: int, rate: float) -> Any:
            if self._step % BANDS not in self.kept:
                self.kept[self._step % BANDS] = super().poisson_batch(records, rate)
            return self.kept[self._step % BANDS]

    made = {kind: kind(BANDS, STEPS) for kind in (Forgetful, Doubtful, Small, Whole, Same)}
    assert "noise: " in wrong(capsys, made[Forgetful])
    assert "noise" in wrong(capsys, made[Doubtful])
    assert "standard deviation" in wrong(capsys, made[Small])
    assert "drawn in the turns of two parts" in wrong(capsys, made[Whole])
    assert "next turn too" in wrong(capsys, made[Same])


def test_independent_noise_and_plain_batches_are_not_what_was_planned(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "sampling" in wrong(capsys, Randomness())


def test_checkpoints_and_stops_are_at_the_end_of_a_cycle() -> None:
    own = Own(steps=50, stop=21)
    training = trained(own, Banded(BANDS, 50))
    assert own.paid == training.step == 24
    assert len(training.saved) == 3  # after 8, 16 and 24
    assert trained(Own(steps=50), Banded(BANDS, 50)).step == 50


def test_a_copy_of_the_randomness_does_not_move_it() -> None:
    randomness = Banded(BANDS, STEPS, 0.0, 3)
    other = copy.deepcopy(randomness)
    row_of(other, 3, 10)
    assert np.array_equal(randomness.normal(10, 1.0), Banded(BANDS, STEPS, 0.0, 3).normal(10, 1.0))


@pytest.mark.slow
@pytest.mark.parametrize("epsilon, share", [(8.0, 0.78), (2.93, 0.94), (1.0, 1.0)])
def test_what_is_left_of_the_noise_in_the_weights_of_the_mnist_cnn(
    epsilon: float, share: float
) -> None:
    """Root mean square over 1171 steps with momentum 0.9, beside independent noise."""
    from scipy.signal import lfilter

    from traindeck.core.privacy.accountant import least_noise

    def left(bands: int) -> float:
        plan = Mechanism(1.0, 2048 / 60000, 1171, bands=bands)
        impulse = np.zeros(plan.steps)
        impulse[0] = least_noise(epsilon, 1e-5, plan)
        noise = lfilter([1.0], coefficients(bands, 0.9), impulse)
        weights = np.cumsum(lfilter([1.0], [1.0, -0.9], noise))
        return float(np.sqrt(np.cumsum(weights**2).mean()))

    assert left(8) / left(1) == pytest.approx(share, abs=0.006)
