"""The one accountant: every epsilon that is shown, stored or compared comes from here.

It is Google's dp-accounting. What is shown is composed by privacy loss distributions (PLD; Koskela
2020, Doroshenko 2022), an upper bound. What admits or refuses a run is Rényi divergence at one
order (Mironov 2017; subsampled Gaussian: Mironov, Talwar & Zhang 2019), because a Rényi filter
stays valid when people choose the next run after seeing the last (Feldman & Zrnic 2021; Lécuyer
2021) and a PLD filter does not (arXiv 2602.06756).

The neighbouring relation is add-or-remove-one everywhere. The library takes most of a second to
import: it is imported by whoever first asks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from traindeck.core.privacy.mechanism import Mechanism

if TYPE_CHECKING:
    from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution

INTERVAL = 1e-3
"""Discretisation of privacy losses: rounded up, so that epsilon is at most some 0.001 too high."""
LEAST_NOISE = 0.05
"""Of less noise the privacy losses fill the memory; epsilon is in the thousands anyway."""
MOST_NOISE = 1e4
LEAST_RHO = 1e-15
"""Of a step: what rounding may take away, so that none is free."""
ORDERS = tuple(x / 4 for x in range(5, 1025))


@cache
def name() -> str:
    """The accountant and its version, as stored beside every epsilon."""
    return f"dp-accounting {version('dp-accounting')} PLD, interval {INTERVAL:g}"


def epsilon(mechanisms: Iterable[Mechanism], delta: float) -> float:
    """The epsilon at this delta of all these mechanisms together; infinite without noise."""
    released = [one for one in mechanisms if one.releases]
    if any(one.noise_multiplier == 0 for one in released):
        return math.inf
    if not released:
        return 0.0
    return float(_composed(released).get_epsilon_for_delta(delta))


def distribution(mechanisms: Iterable[Mechanism]) -> PrivacyLossDistribution:
    """The privacy loss distribution of all these together. Raises ValueError without noise."""
    released = [one for one in mechanisms if one.releases]
    if not released or any(one.noise_multiplier == 0 for one in released):
        raise ValueError("only what is released with noise has a privacy loss distribution")
    return _composed(released)


def curve(mechanism: Mechanism, delta: float, points: int) -> tuple[tuple[int, float], ...]:
    """Epsilon after so many steps, at about this many steps up to all of them."""
    steps = sorted({math.ceil(mechanism.steps * k / points) for k in range(1, points + 1)} - {0})
    return tuple((n, epsilon([mechanism.with_steps(n)], delta)) for n in steps)


def rho(mechanism: Mechanism, order: float) -> float:
    """The Rényi divergence of this order that one step costs; infinite without noise.

    A step of a shuffled run costs its share of the pass in which each record is seen once.
    """
    if mechanism.noise_multiplier == 0:
        return math.inf
    from dp_accounting.rdp import RdpAccountant

    accountant = RdpAccountant(orders=[order])
    accountant.compose(_event(mechanism.with_steps(1)))
    one = max(float(accountant._rdp[0]), LEAST_RHO)
    if mechanism.sampler == "shuffle" and mechanism.steps:
        return one * mechanism.releases / mechanism.steps
    return one


def noise_multiplier(
    wanted: float, delta: float, sampling_rate: float, steps: int, sampler: str = "poisson"
) -> float:
    """The least noise multiplier (within 0.001) whose epsilon is at most what is wanted.

    0 when an infinite one is wanted.
    """
    if math.isinf(wanted):
        return 0.0

    def too_much(noise: float) -> bool:
        return epsilon([Mechanism(noise, sampling_rate, steps, sampler)], delta) > wanted

    low, high = LEAST_NOISE, 1.0
    while too_much(high):
        low, high = high, 2 * high
    while high - low > 5e-4:
        middle = (low + high) / 2
        low, high = (middle, high) if too_much(middle) else (low, middle)
    return math.ceil(high * 1000) / 1000


def rho_budget(budget: float, delta: float, order: float) -> float:
    """How much divergence of this order an (epsilon, delta) budget admits; may be negative.

    Solved from the conversion of Canonne, Kamath & Steinke 2020, Proposition 12:
    epsilon = rho + log((a-1)/a) - (log delta + log a) / (a-1).
    """
    a = order
    return budget - (math.log((a - 1) / a) - (math.log(delta) + math.log(a)) / (a - 1))


def epsilon_budget(rho: float, delta: float, order: float) -> float:
    """The least budget that admits so much divergence of this order: `rho_budget`, solved back."""
    return rho - rho_budget(0.0, delta, order)


def largest_epsilon(
    mechanism: Mechanism, delta: float, rho_left: float, order: float
) -> float | None:
    """The epsilon of a plan of this rate and length with just the noise to fit; None: none does.

    Rounded down to three digits, so that what asks for it fits.
    """

    def fits(noise: float) -> bool:
        return rho(replace(mechanism, noise_multiplier=noise), order) * mechanism.steps <= rho_left

    if rho_left <= 0:
        return None
    low, high = LEAST_NOISE, 1.0
    while not fits(high):
        low, high = high, 2 * high
        if high > MOST_NOISE:
            return None
    while high - low > 5e-4 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    largest = epsilon([replace(mechanism, noise_multiplier=high)], delta)
    if not largest > 0.01:
        return None
    digit = 10.0 ** (math.floor(math.log10(largest)) - 2)
    return float(f"{math.floor(largest / digit) * digit:.3g}")


def fills(rho_left: float, delta: float, order: float) -> float:
    """The epsilon of one run that takes so much divergence, with a loss like a Gaussian's."""
    return epsilon([Mechanism(math.sqrt(order / (2 * rho_left)), 1.0, 1, "none")], delta)


def best_order(budget: float, delta: float) -> float:
    """The order that admits the most of a loss which grows like a Gaussian's, a·mu²/2.

    Raises ValueError for a budget that admits nothing at any order.
    """
    order = max(ORDERS, key=lambda a: rho_budget(budget, delta, a) / a)
    if rho_budget(budget, delta, order) <= 0:
        raise ValueError(f"a budget of epsilon {budget:g} at delta {delta:g} admits nothing")
    return order


def repeat_and_select(mechanism: Mechanism, delta: float, mean_repeats: float) -> float:
    """Epsilon when a random number of repeats runs and only the best one's result is released.

    The number must be drawn (geometric, of this mean) before anything is seen, and nothing of the
    other repeats may be released (Papernot & Steinke 2022).
    """
    from dp_accounting.dp_event import RepeatAndSelectDpEvent
    from dp_accounting.rdp import RdpAccountant

    accountant = RdpAccountant()
    accountant.compose(RepeatAndSelectDpEvent(_event(mechanism), mean_repeats, 1.0))
    return float(accountant.get_epsilon(delta))


def _event(mechanism: Mechanism) -> Any:
    import dp_accounting

    gaussian = dp_accounting.GaussianDpEvent(mechanism.noise_multiplier)
    if mechanism.sampler == "poisson":
        sampled = dp_accounting.PoissonSampledDpEvent(mechanism.sampling_rate, gaussian)
        return dp_accounting.SelfComposedDpEvent(sampled, mechanism.steps)
    return dp_accounting.SelfComposedDpEvent(gaussian, mechanism.releases)


def _composed(mechanisms: Sequence[Mechanism]) -> PrivacyLossDistribution:
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant(value_discretization_interval=INTERVAL)
    for mechanism in _merged(mechanisms):
        accountant.compose(_event(mechanism))
    return accountant._pld


def _merged(mechanisms: Sequence[Mechanism]) -> list[Mechanism]:
    """Those that differ only in their steps as one: composing costs by the number of kinds."""
    steps: dict[Mechanism, int] = {}
    for one in mechanisms:
        kind = one.with_steps(0)
        if one.sampler == "shuffle":  # a pass is a pass, however many steps it has
            kind, count = Mechanism(one.noise_multiplier, 1.0, 0, "none"), one.releases
        else:
            count = one.steps
        steps[kind] = steps.get(kind, 0) + count
    return [kind.with_steps(count) for kind, count in steps.items()]
