"""Every epsilon comes from one accountant; here it is held against what is known by other means."""

from __future__ import annotations

import math
import statistics

import pytest

from traindeck.core.privacy import accountant
from traindeck.core.privacy.mechanism import Mechanism, covers

CNN = Mechanism(1.255, 1024 / 60000, 1757)
SCATTERING = Mechanism(2.505, 4096 / 60000, 585)
DELTA = 1e-5


def delta_of_gaussian(mu: float, epsilon: float) -> float:
    """The exact delta of a Gaussian mechanism of sensitivity over noise mu (Balle & Wang 2018)."""
    phi = statistics.NormalDist().cdf
    return phi(mu / 2 - epsilon / mu) - math.exp(epsilon) * phi(-mu / 2 - epsilon / mu)


@pytest.mark.parametrize("noise, steps", [(1.0, 1), (5.0, 10), (20.0, 1000)])
def test_without_sampling_it_is_the_gaussians_exact_epsilon_from_above(
    noise: float, steps: int
) -> None:
    mechanism = Mechanism(noise, 1.0, steps, "none")
    epsilon = accountant.epsilon([mechanism], DELTA)
    mu = math.sqrt(steps) / noise
    assert delta_of_gaussian(mu, epsilon) <= DELTA
    assert delta_of_gaussian(mu, epsilon - 0.01) > DELTA


def test_known_configurations() -> None:
    assert accountant.epsilon([CNN], DELTA) == pytest.approx(2.93, abs=0.01)
    assert accountant.epsilon([SCATTERING], DELTA) == pytest.approx(2.93, abs=0.01)


def test_shuffling_is_not_sampling() -> None:
    shuffled = Mechanism(CNN.noise_multiplier, CNN.sampling_rate, CNN.steps, "shuffle")
    assert accountant.epsilon([shuffled], DELTA) == pytest.approx(27.4, abs=0.1)


def test_a_shuffled_pass_is_one_gaussian_of_a_record_zeroed_out_not_of_one_removed() -> None:
    """Of one added, two batches at sigma 1 have an epsilon of 10.43 at least, not 4.38."""
    shuffled = Mechanism(1.0, 0.5, 2, "shuffle")
    epsilon = accountant.epsilon([shuffled], DELTA)
    assert delta_of_gaussian(1.0, epsilon) <= DELTA and epsilon == pytest.approx(4.377, abs=0.01)
    assert shuffled.relation == "zero-out" and CNN.relation == "add-or-remove-one"
    assert covers("zero-out", "add-or-remove-one")
    assert not covers("add-or-remove-one", "zero-out")


def test_without_noise_there_is_no_privacy() -> None:
    assert accountant.epsilon([Mechanism(0.0, 0.1, 1)], DELTA) == math.inf
    assert accountant.epsilon([CNN, Mechanism(0.0, 0.1, 1)], DELTA) == math.inf
    assert accountant.rho(Mechanism(0.0, 0.1, 1), 8.0) == math.inf
    assert accountant.epsilon([Mechanism(0.0, 0.1, 0)], DELTA) == 0.0  # nothing was released


def test_composing_costs_more_than_each_and_less_than_the_sum() -> None:
    alone = accountant.epsilon([SCATTERING], DELTA)
    both = accountant.epsilon([SCATTERING, CNN], DELTA)
    assert alone < both < 2 * 2.94
    assert both == pytest.approx(accountant.epsilon([CNN, SCATTERING], DELTA))
    halves = [SCATTERING.with_steps(285), SCATTERING.with_steps(300)]
    assert accountant.epsilon(halves, DELTA) == pytest.approx(alone, abs=1e-9)


@pytest.mark.parametrize("wanted", [0.5, 1.0, 2.93, 8.0])
@pytest.mark.slow
def test_noise_is_solved_for_and_never_exceeds_what_was_wanted(wanted: float) -> None:
    noise = accountant.noise_multiplier(wanted, DELTA, 4096 / 60000, 585)
    rate = SCATTERING.sampling_rate
    assert accountant.epsilon([Mechanism(noise, rate, 585)], DELTA) <= wanted
    assert accountant.epsilon([Mechanism(noise - 0.003, rate, 585)], DELTA) > wanted - 0.01


def test_the_solved_noises_are_those_of_the_papers_configurations() -> None:
    assert accountant.noise_multiplier(2.93, DELTA, 4096 / 60000, 585) == pytest.approx(2.505)
    assert accountant.noise_multiplier(1.0, DELTA, 4096 / 60000, 585) == pytest.approx(
        6.268, abs=2e-3
    )


@pytest.mark.parametrize(
    "noise, rate, steps, right",
    [  # dp-accounting's PLD at an interval of 1/32 of a step's standard deviation
        (5.0, 1e-3, 10**6, 0.7338),
        (50.0, 1e-2, 10**6, 0.7256),
        (16.0, 1e-3, 10**7, 0.7174),
        (20.0, 1e-3, 10**5, 0.0453),
        (0.6, 0.05, 20_000, 305.55),
    ],
)
def test_long_runs_of_tiny_steps_cost_what_they_cost_to_a_hundredth(
    noise: float, rate: float, steps: int, right: float
) -> None:
    epsilon = accountant.epsilon([Mechanism(noise, rate, steps)], DELTA)
    assert right * 0.9999 <= epsilon <= right * 1.01


@pytest.mark.parametrize(
    "noise, rate, steps", [(1.0, 0.02, 300), (3.0, 0.3, 40), (30.0, 0.01, 2000)]
)
def test_no_epsilon_is_below_that_of_the_library_on_a_far_finer_grid(
    noise: float, rate: float, steps: int
) -> None:
    from dp_accounting.pld import privacy_loss_distribution as plds

    step = plds.from_gaussian_mechanism(
        noise, sampling_prob=rate, value_discretization_interval=rate / noise / 64
    )
    finer = step.self_compose(steps).get_epsilon_for_delta(DELTA)
    epsilon = accountant.epsilon([Mechanism(noise, rate, steps)], DELTA)
    assert finer * 0.999 <= epsilon <= max(finer * 1.01, finer + 1e-3)


def test_noise_for_a_million_steps_is_not_three_times_what_suffices() -> None:
    assert accountant.noise_multiplier(0.734, DELTA, 1e-3, 10**6) == pytest.approx(5.0, abs=0.03)


@pytest.mark.parametrize("wanted", [0.01, 1000.0])
def test_noise_is_solved_for_at_both_ends_of_what_people_ask(wanted: float) -> None:
    noise = accountant.noise_multiplier(wanted, DELTA, 0.01, 10**6)
    assert 0.9 * wanted < accountant.epsilon([Mechanism(noise, 0.01, 10**6)], DELTA) <= wanted


@pytest.mark.parametrize("delta", [1e-16, 1e-30])
def test_a_delta_too_small_for_a_fourier_transform_has_the_epsilon_of_renyi(delta: float) -> None:
    bound = accountant.bound([SCATTERING], delta)
    assert 5.5 < bound.epsilon < 10 and "RDP, order" in bound.accountant
    assert "PLD, interval 0.001" in accountant.bound([SCATTERING], DELTA).accountant


@pytest.mark.parametrize("noise, rate", [(0.3, 0.1), (0.05, 0.5), (0.2, 1e-3)])
def test_little_noise_has_a_finite_divergence_at_every_order(noise: float, rate: float) -> None:
    costs = [accountant.rho(Mechanism(noise, rate, 1), order) for order in (1.25, 1.5, 1.75, 2.0)]
    assert costs == sorted(costs) and math.isfinite(costs[-1]) and costs[0] > 0


def test_a_curve_rises_to_the_whole() -> None:
    curve = accountant.curve(SCATTERING, DELTA, 24)
    steps, values = zip(*curve, strict=True)
    assert list(values) == sorted(values) and steps[-1] == 585 and len(steps) == 24
    assert values[-1] == accountant.epsilon([SCATTERING], DELTA)
    assert accountant.curve(SCATTERING.with_steps(3), DELTA, 24)[-1][0] == 3


@pytest.mark.parametrize("noise", [1e5, 1e7])
def test_no_step_is_free_whatever_rounding_takes_away(noise: float) -> None:
    assert accountant.rho(Mechanism(noise, 1e-4, 1), 8.0) >= accountant.LEAST_RHO


class TestFilter:
    def test_the_order_is_the_one_that_admits_most(self) -> None:
        order = accountant.best_order(3.0, DELTA)
        assert 7 <= order <= 8
        assert accountant.rho_budget(3.0, DELTA, order) == pytest.approx(1.68, abs=0.01)

    def test_six_runs_of_epsilon_one_fit_into_three(self) -> None:
        order = accountant.best_order(3.0, DELTA)
        noise = accountant.noise_multiplier(1.0, DELTA, 4096 / 60000, 585)
        one = 585 * accountant.rho(Mechanism(noise, 4096 / 60000, 585), order)
        assert int(accountant.rho_budget(3.0, DELTA, order) / one) == 6

    def test_what_the_filter_admits_has_at_most_the_budgets_epsilon(self) -> None:
        order = accountant.best_order(3.0, DELTA)
        steps = int(accountant.rho_budget(3.0, DELTA, order) / accountant.rho(SCATTERING, order))
        assert accountant.epsilon([SCATTERING.with_steps(steps)], DELTA) <= 3.0

    def test_a_budget_that_admits_nothing_is_none(self) -> None:
        with pytest.raises(ValueError, match="admits nothing"):
            accountant.best_order(1e-6, 1e-9)


def test_the_best_of_a_random_number_of_repeats_costs_less_than_all_of_them() -> None:
    assert accountant.repeat_and_select(SCATTERING, DELTA, 10) == pytest.approx(6.05, abs=0.01)
    assert accountant.epsilon([SCATTERING] * 10, DELTA) == pytest.approx(11.1, abs=0.1)


def test_no_rounding_makes_a_divergence_nothing() -> None:
    """Of so much noise dp-accounting's series come out negative, which counted as no loss."""
    for noise in (1e5, 1e8):
        many = [Mechanism(noise, 1e-5, 10**6)]
        assert 0 < accountant.epsilon(many, 1e-300) < 1
        assert accountant.rho(many[0], 1.25) > 0


@pytest.mark.parametrize("noise", [1.0001e8, 1e30, 1e200, math.inf, math.nan])
def test_more_noise_than_can_be_accounted_for_is_no_mechanism(noise: float) -> None:
    with pytest.raises(ValueError, match=r"is not from 0 to 1e\+08"):
        Mechanism(noise, 0.01, 10)
