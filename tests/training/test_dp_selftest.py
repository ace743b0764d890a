"""A private run's self-test: the right step passes it, and each known wrong one is named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from traindeck.recipes.shared.training.dp import selftest
from traindeck.recipes.shared.training.dp.randomness import Randomness

Floats = NDArray[np.float64]
CLIP, NOISE, BATCH, RECORDS = 0.5, 1.1, 64, 2000


class Step:
    """A right private step of linear regression, for others to be wrong in one place."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.x, self.y = rng.normal(size=(RECORDS, 20)), rng.normal(size=RECORDS)
        self.w = rng.normal(size=20)
        self.randomness = Randomness()

    def plain_gradient(self, index: int) -> Floats:
        gradient: Floats = (self.x[index] @ self.w - self.y[index]) * self.x[index]
        return gradient

    def clip(self, gradients: Floats) -> Floats:
        norms = np.linalg.norm(gradients, axis=1, keepdims=True)
        clipped: Floats = gradients * np.minimum(1, CLIP / norms)
        return clipped

    def clipped_sum(self, indices: Sequence[int]) -> Floats:
        gradients = np.array([self.plain_gradient(index) for index in indices]).reshape(-1, 20)
        total: Floats = self.clip(gradients).sum(0)
        return total

    def release(self, indices: Sequence[int]) -> Floats:
        noise = self.randomness.normal(20, NOISE * CLIP)
        released: Floats = (self.clipped_sum(indices) + noise) / BATCH
        return released


def run(step: Step, **options: Any) -> None:
    """Do the self-test as a recipe does."""
    given: dict[str, Any] = {
        "randomness": step.randomness,
        "records": RECORDS,
        "sampling_rate": BATCH / RECORDS,
        "clipping_norm": CLIP,
        "noise_multiplier": NOISE,
        "batch_size": BATCH,
        "clipped_sum": step.clipped_sum,
        "plain_gradient": step.plain_gradient,
        "release": step.release,
    }
    selftest.run(**given | options)


def refused(capsys: pytest.CaptureFixture[str], step: Step, **options: Any) -> str:
    """Why the run was ended."""
    with pytest.raises(SystemExit) as ended:
        run(step, **options)
    assert ended.value.code == 1
    return capsys.readouterr().err.removeprefix("error: self-test: ")


def test_the_right_step_passes(capsys: pytest.CaptureFixture[str]) -> None:
    run(Step())
    assert capsys.readouterr().out == "self-test passed: gradients, clipping, noise, sampling\n"


def test_so_does_one_without_noise_or_with_every_record_in_every_batch() -> None:
    step = Step()
    step.release = lambda indices: step.clipped_sum(indices) / BATCH
    run(step, noise_multiplier=0.0)
    run(Step(), sampling_rate=1.0)


def test_a_mean_instead_of_a_sum(capsys: pytest.CaptureFixture[str]) -> None:
    class Mean(Step):
        def clipped_sum(self, indices: Sequence[int]) -> Floats:
            return super().clipped_sum(indices) / max(1, len(indices))

    assert refused(capsys, Mean()).startswith("per-example gradients: ")


def test_the_whole_batch_clipped_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    class Whole(Step):
        def clipped_sum(self, indices: Sequence[int]) -> Floats:
            total = np.sum([self.plain_gradient(index) for index in indices], axis=0)
            return self.clip(np.reshape(total, (-1, 20)))[0] if indices else np.zeros(20)

    assert refused(capsys, Whole()).startswith("per-example gradients: ")


def test_gradients_that_mix_examples(capsys: pytest.CaptureFixture[str]) -> None:
    class Mixing(Step):
        def clipped_sum(self, indices: Sequence[int]) -> Floats:
            x, y = self.x[list(indices)], self.y[list(indices)]
            x = x - x.mean(0) if len(x) > 1 else x  # as BatchNorm would
            return self.clip((x @ self.w - y)[:, None] * x).sum(0)

    assert refused(capsys, Mixing()).startswith("per-example gradients: ")


def test_no_clipping(capsys: pytest.CaptureFixture[str]) -> None:
    class Unclipped(Step):
        def clip(self, gradients: Floats) -> Floats:
            return gradients

    assert refused(capsys, Unclipped()).startswith("per-example gradients: ")


def test_a_single_record_that_is_not_clipped(capsys: pytest.CaptureFixture[str]) -> None:
    class Alone(Step):
        def clipped_sum(self, indices: Sequence[int]) -> Floats:
            if len(indices) == 1:
                return self.plain_gradient(indices[0])
            return super().clipped_sum(indices)

    assert refused(capsys, Alone()).startswith("clipping: a single record adds ")


def test_a_sum_that_is_not_finite(capsys: pytest.CaptureFixture[str]) -> None:
    step = Step()
    step.w[0] = np.nan
    assert "is not finite" in refused(capsys, step)


def test_noise_added_after_the_division(capsys: pytest.CaptureFixture[str]) -> None:
    class After(Step):
        def release(self, indices: Sequence[int]) -> Floats:
            noise = self.randomness.normal(20, NOISE * CLIP)
            return self.clipped_sum(indices) / BATCH + noise

    assert refused(capsys, After()).startswith("noise: its standard deviation")


def test_division_by_the_real_size_of_the_batch(capsys: pytest.CaptureFixture[str]) -> None:
    class Real(Step):
        def release(self, indices: Sequence[int]) -> Floats:
            noise = self.randomness.normal(20, NOISE * CLIP)
            total: Floats = self.clipped_sum(indices) + noise
            return total / max(1, len(indices))

    assert refused(capsys, Real()).startswith("noise: its standard deviation")


def test_empty_batches_without_noise(capsys: pytest.CaptureFixture[str]) -> None:
    class Skipping(Step):
        def release(self, indices: Sequence[int]) -> Floats:
            return super().release(indices) if indices else np.zeros(20)

    assert refused(capsys, Skipping()).startswith("noise: its standard deviation")


def test_division_by_the_real_size_unless_it_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    class Real(Step):
        def release(self, indices: Sequence[int]) -> Floats:
            noise = self.randomness.normal(20, NOISE * CLIP)
            total: Floats = self.clipped_sum(indices) + noise
            return total / (len(indices) or BATCH)

    assert refused(capsys, Real()).startswith("noise: of a batch with records")


def test_noise_in_empty_batches_only(capsys: pytest.CaptureFixture[str]) -> None:
    class Quiet(Step):
        def release(self, indices: Sequence[int]) -> Floats:
            return self.clipped_sum(indices) / BATCH if indices else super().release(indices)

    assert refused(capsys, Quiet()).startswith("noise: of a batch with records")


@pytest.mark.parametrize("factor", [0.97, 1.03, 0.3])
def test_noise_of_another_scale(capsys: pytest.CaptureFixture[str], factor: float) -> None:
    class Scaled(Step):
        def release(self, indices: Sequence[int]) -> Floats:
            noise = self.randomness.normal(20, NOISE * CLIP * factor)
            return (self.clipped_sum(indices) + noise) / BATCH

    assert refused(capsys, Scaled()).startswith("noise: its standard deviation")


def test_the_same_noise_at_each_step(capsys: pytest.CaptureFixture[str]) -> None:
    class Same(Step):
        def release(self, indices: Sequence[int]) -> Floats:
            values = np.array([1.0, -1.0] * 10) * NOISE * CLIP  # of the right scale
            return (self.clipped_sum(indices) + values) / BATCH

    assert refused(capsys, Same()) == "noise: two steps get the same\n"


def test_batches_of_one_size(capsys: pytest.CaptureFixture[str]) -> None:
    class Shuffling(Randomness):
        def poisson_batch(self, records: int, rate: float) -> NDArray[np.intp]:
            return np.random.permutation(records)[: round(records * rate)]

    said = refused(capsys, Step(), randomness=Shuffling())
    assert said.startswith("sampling: the size of batches has a variance of 0,")


def test_another_sampling_rate(capsys: pytest.CaptureFixture[str]) -> None:
    class Doubled(Randomness):
        def poisson_batch(self, records: int, rate: float) -> NDArray[np.intp]:
            return super().poisson_batch(records, 2 * rate)

    assert refused(capsys, Step(), randomness=Doubled()).startswith("sampling: batches hold ")
