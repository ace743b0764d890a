"""The one accountant: every epsilon that is shown, stored or compared comes from here.

It is Google's dp-accounting. What is shown is the smaller of two upper bounds, and which one
stands beside it: composition of privacy loss distributions (PLD; Koskela 2020, Doroshenko 2022;
on a grid that suits the plan, see `losses.py`) and of Rényi divergences (RDP), which is all that
is left where delta is too small for Fourier transforms. What admits or refuses a run is Rényi
divergence at one order (Mironov 2017; subsampled Gaussian: Mironov, Talwar & Zhang 2019), because
a Rényi filter stays valid when people choose the next run after seeing the last (Feldman & Zrnic
2021; Lécuyer 2021) and a PLD filter does not (arXiv 2602.06756).

The neighbouring relation is add-or-remove-one, of shuffled runs zero-out (`Mechanism.relation`).
The library takes most of a second to import: it is imported by whoever first asks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING

from traindeck.core.privacy import losses, renyi, truncation
from traindeck.core.privacy.losses import Kind
from traindeck.core.privacy.mechanism import Mechanism

if TYPE_CHECKING:
    from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution

LEAST_NOISE = 0.05
"""Of less noise the privacy losses fill the memory; epsilon is in the thousands anyway."""
MOST_NOISE = 1e4
LEAST_RHO = 1e-15
"""Of a step: what rounding may take away, so that none is free."""
ORDERS = tuple(x / 4 for x in range(5, 1025))
NOISE_STEP = 1e-3
FAR = 20.0
"""Times what is wanted: an epsilon by RDP above is not worked out more exactly."""


@dataclass(frozen=True, slots=True)
class Bound:
    """An upper bound on epsilon, and by which accountant: its version, PLD or RDP, how finely."""

    epsilon: float
    accountant: str


def bound(mechanisms: Iterable[Mechanism], delta: float) -> Bound:
    """The tightest bound on all these mechanisms together; infinite without noise."""
    released = [one for one in mechanisms if one.releases]
    if any(one.noise_multiplier == 0 for one in released):
        return Bound(math.inf, f"{library()} PLD")
    if not released:
        return Bound(0.0, f"{library()} PLD")
    kinds, lost = _kinds(released), truncation.delta_lost(released)
    if lost >= delta:
        return Bound(math.inf, f"{library()} PLD")
    pld = _pld(kinds, delta - lost)
    rdp, order = renyi.epsilon(kinds, delta - lost)
    if rdp < pld:
        return Bound(_holds(rdp, lost), f"{library()} RDP, order {order:g}")
    return Bound(_holds(pld, lost), f"{library()} PLD, interval {losses.interval(kinds):.2g}")


def epsilon(mechanisms: Iterable[Mechanism], delta: float) -> float:
    """The epsilon at this delta of all these mechanisms together; infinite without noise."""
    return bound(mechanisms, delta).epsilon


def any_of(mechanisms: Sequence[Mechanism], runs: int, delta: float) -> float:
    """An epsilon that bounds so many runs, whichever of these mechanisms each of them is."""
    if len(mechanisms) == 1:
        return epsilon([mechanisms[0]] * runs, delta)
    if any(one.releases and one.noise_multiplier == 0 for one in mechanisms):
        return math.inf
    lost = runs * max(truncation.delta_lost([one]) for one in mechanisms)
    if lost >= delta:
        return math.inf
    kinds = [_kinds([one]) for one in mechanisms if one.releases]
    return _holds(renyi.worst_epsilon(kinds, runs, delta - lost), lost) if kinds else 0.0


def distribution(mechanisms: Iterable[Mechanism]) -> PrivacyLossDistribution:
    """The privacy loss distribution of all these together. Raises ValueError without noise."""
    released = [one for one in mechanisms if one.releases]
    if not released or any(one.noise_multiplier == 0 for one in released):
        raise ValueError("only what is released with noise has a privacy loss distribution")
    lost = truncation.delta_lost(released)
    removed, added = (
        replace(one, infinite=min(1.0, one.infinite + lost))
        for one in losses.composed(_kinds(released))
    )
    return losses.distribution((removed, added))


def curve(mechanism: Mechanism, delta: float, points: int) -> tuple[tuple[int, float], ...]:
    """Epsilon after so many steps, at about this many steps up to all of them.

    Bounds as well, but for the last not the tightest: none is worked out on a grid of its own.
    """
    steps = sorted({math.ceil(mechanism.steps * k / points) for k in range(1, points + 1)} - {0})
    last = epsilon([mechanism], delta)
    if math.isinf(last) or not steps:
        return tuple((n, last) for n in steps)
    whole, lost = _kinds([mechanism]), truncation.delta_lost([mechanism])
    grid = losses.interval(whole)

    def after(n: int) -> float:
        kinds = _kinds([mechanism.with_steps(n)])
        both = losses.composed(kinds, grid, roughly=True)
        pld = max(one.epsilon(delta - lost) for one in both)
        return min(pld, renyi.epsilon(kinds, delta - lost)[0], last)

    return (*((n, after(n)) for n in steps[:-1]), (steps[-1], last))


def rho(mechanism: Mechanism, order: float, delta: float = 0.0) -> float:
    """The Rényi divergence of this order that one step costs; infinite without noise.

    delta  the budget's, by which truncated sampling is priced; the other samplers do without

    A step of a shuffled run costs its share of the passes that the run touches, and one of banded
    noise its share of the run's releases. Raises ValueError for truncated sampling without a delta.
    """
    if mechanism.noise_multiplier == 0:
        return math.inf
    rate = mechanism.release_rate
    one = max(renyi.divergence(mechanism.noise_multiplier, rate, order), LEAST_RHO)
    if mechanism.releases != mechanism.steps:
        return one * mechanism.releases / mechanism.steps
    return one + truncation.divergence(mechanism, delta, order)


def noise_multiplier(
    wanted: float, delta: float, sampling_rate: float, steps: int, sampler: str = "poisson"
) -> float:
    """The least noise multiplier of such steps: see `least_noise`."""
    return least_noise(wanted, delta, Mechanism(1.0, sampling_rate, steps, sampler))


def least_noise(wanted: float, delta: float, mechanism: Mechanism) -> float:
    """The least noise multiplier, in thousandths, that makes its epsilon at most what is wanted.

    Within 1e-4 of its size where that is more. 0 when an infinite epsilon is wanted. Raises
    ValueError where no noise does, as truncation alone takes all of delta.
    """
    if math.isinf(wanted):
        return 0.0
    lost = truncation.delta_lost([mechanism])
    if lost >= delta:
        raise ValueError(f"batches that overflow take {lost:.3g}, all of delta {delta:g}")
    wanted = min(wanted, truncation.MOST_EPSILON) if lost else wanted

    def excess(noise: float) -> float:
        """Logarithm of epsilon over what is wanted; above 0 is too much."""
        kinds = _kinds([replace(mechanism, noise_multiplier=noise)])
        epsilon, _ = renyi.epsilon(kinds, delta - lost, renyi.FEW)
        if epsilon < FAR * wanted:
            pld = _pld(kinds, delta - lost)
            epsilon = pld if math.isfinite(pld) else renyi.epsilon(kinds, delta - lost)[0]
        return min(math.log(epsilon / wanted), 100.0) if epsilon else -100.0

    from scipy.optimize import brentq

    low, high = LEAST_NOISE, 1.0
    while (over := excess(high)) > 0:
        low, high = high, high * (2 if over < 1 else 8)
    if excess(low) <= 0:
        return low
    close = max(NOISE_STEP, 1e-4 * high)
    root = brentq(
        lambda x: excess(math.exp(x)), math.log(low), math.log(high), xtol=close / high / 4
    )
    noise = math.ceil(math.exp(root) / NOISE_STEP) * NOISE_STEP
    while excess(noise) > 0:
        noise += close
    return round(noise, 6)


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
    mechanism: Mechanism, delta: float, rho_left: float, order: float, budget_delta: float = 0.0
) -> float | None:
    """The epsilon of a plan of this rate and length with just the noise to fit; None: none does.

    budget_delta  the budget's, as of `rho`

    Rounded down to three digits, so that what asks for it fits.
    """

    def fits(noise: float) -> bool:
        one = rho(replace(mechanism, noise_multiplier=noise), order, budget_delta)
        return one * mechanism.steps <= rho_left

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
    if not 0.01 < largest < math.inf:
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


def repeat_and_select(
    mechanism: Mechanism, delta: float, mean_repeats: float, shape: float = 1.0
) -> float:
    """Epsilon when a random number of repeats runs and only the best one's result is released.

    shape  of the number's distribution, a truncated negative binomial: 1 is geometric, infinity
           Poisson

    The number must be drawn, of this mean, before anything is seen, and nothing of the other
    repeats may be released (Papernot & Steinke 2022).
    """
    import dp_accounting
    from dp_accounting.dp_event import RepeatAndSelectDpEvent
    from dp_accounting.rdp import RdpAccountant

    (kind,) = _kinds([mechanism])
    gaussian = dp_accounting.GaussianDpEvent(kind.noise)
    sampled = dp_accounting.PoissonSampledDpEvent(kind.rate, gaussian)
    run = dp_accounting.SelfComposedDpEvent(sampled, kind.count)
    accountant = RdpAccountant()
    accountant.compose(RepeatAndSelectDpEvent(run, float(mean_repeats), shape))
    lost = mean_repeats * truncation.delta_lost([mechanism])
    if lost >= delta:
        return math.inf
    return _holds(float(accountant.get_epsilon(delta - lost)), lost)


def selection_runs(mechanism: Mechanism, delta: float, order: float, mean_repeats: float) -> int:
    """How many runs, all seen, cost no less than the best of a random number of them.

    By the Rényi divergence of this order, which is what a filter counts; and by epsilon at every
    delta from this one to its cube, as PLD has it. The number is geometric, see
    `repeat_and_select`.
    """
    import dp_accounting
    from dp_accounting.dp_event import RepeatAndSelectDpEvent
    from dp_accounting.rdp import RdpAccountant
    from dp_accounting.rdp.rdp_privacy_accountant import DEFAULT_RDP_ORDERS

    (kind,) = _kinds([mechanism])
    gaussian = dp_accounting.GaussianDpEvent(kind.noise)
    sampled = dp_accounting.PoissonSampledDpEvent(kind.rate, gaussian)
    run = dp_accounting.SelfComposedDpEvent(sampled, kind.count)
    accountant = RdpAccountant(orders=[order, *map(float, DEFAULT_RDP_ORDERS)])
    accountant.compose(RepeatAndSelectDpEvent(run, float(mean_repeats), 1.0))
    whole = float(accountant.rdp[0])
    runs = max(1, math.ceil(whole / (rho(mechanism, order) * mechanism.steps)))
    deltas = [delta**power for power in (1.0, 1.5, 2.0, 3.0)]
    wanted = [float(accountant.get_epsilon(one)) for one in deltas]
    while any(
        epsilon([mechanism] * runs, one) < least for one, least in zip(deltas, wanted, strict=True)
    ):
        runs += 1
    return runs


def _holds(epsilon: float, lost: float) -> float:
    """An epsilon, infinite where what truncation takes of delta was not worked out for so much."""
    return math.inf if lost and epsilon > truncation.MOST_EPSILON else epsilon


@cache
def library() -> str:
    """What computes all of it, and its version."""
    return f"dp-accounting {version('dp-accounting')}"


@lru_cache(maxsize=256)
def _pld(kinds: tuple[Kind, ...], delta: float) -> float:
    removed, added = losses.composed(kinds)
    return max(removed.epsilon(delta), added.epsilon(delta))


def _kinds(mechanisms: Sequence[Mechanism]) -> tuple[Kind, ...]:
    """Those that differ only in their steps as one: composing costs by the number of kinds."""
    counts: dict[tuple[float, float], int] = {}
    for one in mechanisms:
        kind = one.noise_multiplier, one.release_rate
        counts[kind] = counts.get(kind, 0) + one.releases
    return tuple(Kind(noise, rate, count) for (noise, rate), count in sorted(counts.items()))
