"""Truncated Poisson sampling: batches of a public largest size, and what it costs that they are.

A truncated run is a Poisson-sampled one until a batch overflows. With T steps that each overflow
with probability p, whatever (epsilon, delta) holds for the Poisson-sampled run, (epsilon, delta +
(1 + exp(epsilon)) T p) holds for the truncated one: the two differ with probability T p at most, on
a data set and on its neighbour. Sizes are such that p is at most RAREST, so that this is nothing;
it is accounted for all the same. (Where batches do overflow, Choquette-Choo et al. 2025, arXiv
2508.15089, is tighter.)
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache

from traindeck.core.privacy.mechanism import Mechanism

RAREST = 1e-30
"""A batch overflows once in so many steps at most, where the plan chooses its largest size."""
MOST_EPSILON = 20.0
"""Truncation is priced for an epsilon, and a budget, of so much: of more none holds."""
LARGEST_BUDGET = 64.0
"""More than the divergence that MOST_EPSILON admits at any delta and order from 1 + 1e-18 on."""
ROUNDING = 1e-6
"""Relative: what scipy's tail of a binomial distribution may be wrong by."""


def overflow(mechanism: Mechanism) -> float:
    """An upper bound on the chance that one step's batch is cut off; 0 for other samplers."""
    if mechanism.sampler != "truncated":
        return 0.0
    return _overflow(mechanism.records, mechanism.sampling_rate, mechanism.max_batch)


def max_batch(records: int, rate: float) -> int:
    """The smallest largest size that a batch of these overflows as rarely as RAREST."""
    low, high = 0, records
    while low < high:
        middle = (low + high) // 2
        rare = _overflow(records, rate, middle) <= RAREST
        low, high = (low, middle) if rare else (middle + 1, high)
    return max(low, 1)


def delta_lost(mechanisms: Iterable[Mechanism]) -> float:
    """What of delta goes into batches that overflow, at epsilons up to MOST_EPSILON."""
    return _FACTOR * math.fsum(one.steps * overflow(one) for one in mechanisms)


def divergence(mechanism: Mechanism, delta: float, order: float) -> float:
    """What a step's overflow adds to its Rényi divergence, in a budget of this delta.

    The Poisson-sampled runs need the budget's epsilon at delta (1 - x), where x is the share of
    delta that all steps lose: at this order -log(1 - x) / (order - 1) more divergence, which is at
    most 2 x / (order - 1) while x is at most 1/2. A step is charged so often its own x that either
    holds: MOST_EPSILON admits no divergence of LARGEST_BUDGET or more, which is used up before x is
    1/2. Raises ValueError without the budget's delta.
    """
    p = overflow(mechanism)
    if p == 0.0:
        return 0.0
    if not 0 < delta < 1:
        raise ValueError("truncated sampling is priced by its budget's delta")
    return max(2 * LARGEST_BUDGET, 2 / (order - 1)) * _FACTOR * p / delta


_FACTOR = (1 + math.exp(MOST_EPSILON)) * (1 + 1e-9)


@lru_cache(maxsize=1024)
def _overflow(records: int, rate: float, most: int) -> float:
    from scipy.stats import binom

    return min(1.0, float(binom.sf(most, records, rate)) * (1 + ROUNDING))
