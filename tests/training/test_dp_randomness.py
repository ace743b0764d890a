"""The randomness of a private step: what it is drawn from, and how it is distributed.

Bounds are five standard deviations wide: a right version fails one once in a million runs.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from scipy import stats

from traindeck.recipes.shared.training.dp.randomness import Randomness

SOURCES = pytest.mark.parametrize("noise_seed", [-1, 7], ids=["system", "seeded"])


@SOURCES
class TestNoise:
    def test_is_gaussian_with_the_scale_as_its_standard_deviation(self, noise_seed: int) -> None:
        noise = Randomness(noise_seed).normal(400_000, 2.5).astype(float)
        assert abs(noise.mean()) < 5 * 2.5 / np.sqrt(noise.size)
        assert abs(noise.std() / 2.5 - 1) < 5 / np.sqrt(2 * noise.size)
        assert stats.kstest(noise / 2.5, "norm").pvalue > 1e-6
        assert 4 < np.abs(noise / 2.5).max() < 8.7

    def test_values_are_independent_of_their_neighbours(self, noise_seed: int) -> None:
        noise = Randomness(noise_seed).normal(400_000, 1.0).astype(float)
        for apart in (1, 2, noise.size // 2):  # Box and Muller's pairs lie half the array apart
            correlation = np.mean(noise[:-apart] * noise[apart:])
            assert abs(correlation) < 5 / np.sqrt(noise.size - apart)
            squares = np.mean((noise[:-apart] ** 2 - 1) * (noise[apart:] ** 2 - 1)) / 2
            assert abs(squares) < 6 / np.sqrt(noise.size - apart)

    @pytest.mark.parametrize("shape", [0, 1, 7, (3, 5), (2, 0), (1, 1, 1)])
    def test_comes_in_any_shape_as_float32(
        self, noise_seed: int, shape: int | tuple[int, ...]
    ) -> None:
        noise = Randomness(noise_seed).normal(shape, 1.0)
        assert noise.dtype == np.float32
        assert noise.shape == np.zeros(shape).shape

    def test_of_scale_zero_is_none(self, noise_seed: int) -> None:
        assert not Randomness(noise_seed).normal(1000, 0.0).any()


@SOURCES
class TestPoissonBatches:
    def test_sizes_vary_as_those_of_independent_coins(self, noise_seed: int) -> None:
        randomness = Randomness(noise_seed)
        sizes = np.array([len(randomness.poisson_batch(2000, 0.05)) for _ in range(2000)])
        mean, variance = 2000 * 0.05, 2000 * 0.05 * 0.95
        assert abs(sizes.mean() - mean) < 5 * np.sqrt(variance / len(sizes))
        assert abs(sizes.var() / variance - 1) < 5 * np.sqrt(2 / len(sizes))

    def test_each_record_is_as_likely_as_any_other(self, noise_seed: int) -> None:
        randomness = Randomness(noise_seed)
        counts = np.zeros(50)
        for _ in range(4000):
            counts[randomness.poisson_batch(50, 0.3)] += 1
        assert np.abs(counts - 1200).max() < 5.5 * np.sqrt(4000 * 0.3 * 0.7)

    def test_indices_rise_and_none_comes_twice(self, noise_seed: int) -> None:
        batch = Randomness(noise_seed).poisson_batch(10_000, 0.5)
        assert (np.diff(batch) > 0).all()
        assert batch[0] >= 0 and batch[-1] < 10_000

    def test_may_be_empty(self, noise_seed: int) -> None:
        randomness = Randomness(noise_seed)
        assert min(len(randomness.poisson_batch(10, 0.01)) for _ in range(100)) == 0
        assert len(randomness.poisson_batch(0, 0.5)) == 0

    def test_of_rate_one_are_everything(self, noise_seed: int) -> None:
        assert Randomness(noise_seed).poisson_batch(5, 1.0).tolist() == [0, 1, 2, 3, 4]

    @pytest.mark.parametrize("rate", [0.0, -0.1, 1.1, float("nan")])
    def test_of_no_such_rate_are_refused(self, noise_seed: int, rate: float) -> None:
        with pytest.raises(ValueError, match="above 0 and at most 1"):
            Randomness(noise_seed).poisson_batch(5, rate)


@SOURCES
class TestTruncatedBatches:
    def test_are_poisson_batches_as_long_as_they_fit(self, noise_seed: int) -> None:
        randomness = Randomness(noise_seed)
        sizes = [len(randomness.truncated_batch(2000, 0.05, 2000)) for _ in range(500)]
        assert abs(np.mean(sizes) - 100) < 5 * np.sqrt(95 / len(sizes))
        assert len(randomness.truncated_batch(10, 1e-9, 1)) == 0

    def test_hold_no_more_than_they_may_and_each_record_as_likely(self, noise_seed: int) -> None:
        randomness = Randomness(noise_seed)
        counts = np.zeros(50)
        for _ in range(4000):
            batch = randomness.truncated_batch(50, 1.0, 15)
            assert len(batch) == 15 and (np.diff(batch) > 0).all()
            counts[batch] += 1
        assert np.abs(counts - 1200).max() < 5.5 * np.sqrt(4000 * 0.3 * 0.7)


def test_the_default_is_the_systems_entropy_and_never_comes_again() -> None:
    np.random.seed(0)
    one, other = Randomness(), Randomness()
    assert one.private and "operating system" in one.name
    assert not np.array_equal(one.normal(100, 1.0), other.normal(100, 1.0))
    assert not np.array_equal(one.poisson_batch(1000, 0.5), other.poisson_batch(1000, 0.5))


def test_the_systems_noise_is_named_as_the_floating_point_gaussian_that_it_is() -> None:
    assert "floating-point Gaussian" in Randomness().name


@pytest.mark.parametrize("byte", [b"\x00", b"\xff", b"\x80"])
def test_no_entropy_makes_noise_that_is_not_finite(
    monkeypatch: pytest.MonkeyPatch, byte: bytes
) -> None:
    monkeypatch.setattr(os, "urandom", lambda size: byte * size)
    assert np.isfinite(Randomness().normal(10, 1.0)).all()
    assert len(Randomness().poisson_batch(10, 0.5)) in (0, 10)


def test_a_seed_repeats_everything_and_is_not_private() -> None:
    one, same = Randomness(3), Randomness(3)
    assert not one.private and one.name == "seeded noise: not private"
    assert np.array_equal(one.normal(100, 1.0), same.normal(100, 1.0))
    assert np.array_equal(one.poisson_batch(1000, 0.5), same.poisson_batch(1000, 0.5))


def test_a_resumed_run_does_not_get_the_noise_of_its_first_steps_again() -> None:
    assert not np.array_equal(Randomness(3).normal(9, 1.0), Randomness(3, 100).normal(9, 1.0))


def test_other_negative_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match="-2 is neither -1 nor a seed"):
        Randomness(-2)
