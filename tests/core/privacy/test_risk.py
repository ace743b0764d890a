"""The risk in words is that of the whole loss distribution, and never less than the truth."""

from __future__ import annotations

import json
import math
import statistics
from itertools import pairwise

import pytest

from traindeck.core.privacy import accountant
from traindeck.core.privacy.audit.roc import Roc
from traindeck.core.privacy.mechanism import Mechanism
from traindeck.core.privacy.risk import FALSE_ACCUSATIONS, Risk, in_words, risk

SCATTERING = Mechanism(2.505, 4096 / 60000, 585)
DELTA = 1e-5
NORMAL = statistics.NormalDist()
RATES = (1e-4, 0.001, 0.01, 0.1, 0.5, 0.9)


@pytest.mark.parametrize("noise, steps", [(10.0, 1), (1.0, 1), (20.0, 1000), (0.5, 2)])
def test_without_sampling_it_is_the_gaussians_exact_curve_from_above(
    noise: float, steps: int
) -> None:
    """A Gaussian of sensitivity over noise mu: TPR = Φ(Φ⁻¹(FPR) + mu) (Dong, Roth & Su 2022)."""
    mu = math.sqrt(steps) / noise
    roc = Roc.of([Mechanism(noise, 1.0, steps, "none")])
    for fpr in RATES:
        exact = NORMAL.cdf(NORMAL.inv_cdf(fpr) + mu)
        assert exact <= roc.tpr(fpr) <= exact + 1e-3 * exact + 1e-5
    exact = 2 * NORMAL.cdf(mu / 2) - 1
    assert exact <= roc.advantage <= exact + 1e-3


def test_sampling_makes_adding_and_removing_differ_and_the_worse_counts() -> None:
    """One step at rate 1/2: the record is there half of the time, or not at all."""
    rate = 0.5
    roc = Roc.of([Mechanism(0.5, rate, 1)])

    def mixture(x: float) -> float:  # probability of a release below x, with the record
        return (1 - rate) * NORMAL.cdf(x / 0.5) + rate * NORMAL.cdf((x - 1) / 0.5)

    for fpr in (0.001, 0.01, 0.05):
        rate_present = 1 - mixture(-NORMAL.inv_cdf(fpr) * 0.5)
        low = min((x / 1000 for x in range(-3000, 0)), key=lambda x: abs(mixture(x) - fpr))
        rate_absent = NORMAL.cdf(low / 0.5)
        assert rate_present > 2 * rate_absent
        assert rate_present <= roc.tpr(fpr) <= rate_present * 1.002


@pytest.mark.parametrize(
    "mechanism, members, advantage",
    [  # riskcal 1.5.1's get_beta_from_pld and get_advantage_from_pld
        (SCATTERING, (0.00832, 0.05104, 0.27561), 0.26629),
        (Mechanism(1.255, 1024 / 60000, 1757), (0.00819, 0.05011, 0.27139), 0.26032),
        (Mechanism(6.268, 4096 / 60000, 585), (0.00238, 0.01972, 0.15490), 0.10539),
        (Mechanism(0.74, 1024 / 60000, 1757), (0.06914, 0.22244, 0.58809), 0.53969),
    ],
)
def test_agrees_with_riskcal(
    mechanism: Mechanism, members: tuple[float, ...], advantage: float
) -> None:
    computed = risk([mechanism])
    assert tuple(fpr for fpr, _ in computed.members) == FALSE_ACCUSATIONS
    assert [tpr for _, tpr in computed.members] == pytest.approx(members, abs=3e-5)
    assert computed.advantage == pytest.approx(advantage, abs=1e-5)


def test_epsilon_and_delta_alone_would_say_far_more() -> None:
    epsilon = accountant.epsilon([SCATTERING], DELTA)
    alone = DELTA + math.exp(epsilon) * 0.01
    assert alone > 3.5 * Roc.of([SCATTERING]).tpr(0.01)


def test_both_errors_bound_each_other() -> None:
    roc = Roc.of([SCATTERING])
    for fpr in RATES:
        assert roc.fpr(roc.tpr(fpr)) == pytest.approx(fpr)
    assert roc.tpr(0.0) < 1e-6 and roc.tpr(1.0) == 1.0
    assert roc.fpr(0.0) == 0.0 and roc.fpr(1.0) > 0.9
    curve = [roc.tpr(k / 200) for k in range(201)]
    slopes = [after - before for before, after in pairwise(curve)]
    assert all(a >= b - 1e-12 for a, b in pairwise(slopes))  # concave


def test_in_words() -> None:
    assert risk([SCATTERING]).sentence == (
        "an attacker allowed 1 false accusation in 100 finds at most 5.2 members in 100"
    )
    assert "at most 1.5 members in 100" in risk([Mechanism(14.334, 8192 / 60000, 219)]).sentence
    shuffled = Mechanism(1.255, 1024 / 60000, 1757, "shuffle")
    assert "at most 98 members in 100" in risk([shuffled]).sentence


@pytest.mark.parametrize(
    "share, words",
    [
        (0.01, "at most 1 member in 100, hardly more than by guessing"),
        (0.0101, "at most 1.1 members in 100, hardly more than by guessing"),
        (0.01175, "finds at most 1.2 members in 100"),  # rounded up: it is a bound
        (0.05091, "at most 5.1 members"),
        (0.0517, "at most 5.2 members"),
        (0.2201, "at most 23 members"),
        (0.9999, "may find every member"),
        (1.0, "nothing limits"),
    ],
)
def test_counts_of_members_are_rounded_up(share: float, words: str) -> None:
    assert words in in_words(share)


def test_more_than_a_tenth_above_guessing_is_not_called_hardly_more() -> None:
    assert "hardly" not in in_words(0.01175)


def test_nothing_released_is_no_risk_and_no_noise_is_every_risk() -> None:
    none = risk([SCATTERING.with_steps(0)])
    assert none.advantage == 0.0 and all(fpr == tpr for fpr, tpr in none.members)
    assert "hardly more than by guessing" in none.sentence
    everything = risk([SCATTERING, Mechanism(0.0, 0.1, 1)])
    assert everything.advantage == 1.0 and "nothing limits" in everything.sentence


def test_runs_together_risk_more_than_each() -> None:
    alone, both = risk([SCATTERING]), risk([SCATTERING, SCATTERING])
    assert both.advantage > alone.advantage
    assert Risk.from_json(json.loads(json.dumps(both.to_json()))) == both


def test_what_was_said_of_a_risk_stays_said() -> None:
    """Also in other words than today's, and of figures that are not there."""
    kept = Risk.from_json({"found": [{"members": 1}, "odd"], "sentence": "so it was"})
    assert kept.sentence == "so it was" and kept.members == ()
    assert Risk.from_json(None).sentence == ""
