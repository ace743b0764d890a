"""Rényi divergences of the sampled Gaussian, and the epsilon that they bound, by dp-accounting.

Mironov, Talwar & Zhang 2019: the divergence of the mixture from the Gaussian is the larger of both
directions. dp-accounting's series for fractional orders does not converge for little noise; there
the integral is summed by the trapezoid rule, whose error falls exponentially for such a function
(Trefethen & Weideman 2014).
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

from traindeck.core.privacy.losses import Kind

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NEAR_ONE = tuple(1 + k / 64 for k in range(1, 7))
"""Orders beside dp-accounting's own, for epsilons in the hundreds."""
FEW = (1.25, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""For a first look, thirty times as fast."""
MARGIN = 1e-9
ROUNDING = 1e-14
"""What rounding may take away from a divergence: one of less may come out as none, or negative."""


def divergence(noise: float, rate: float, order: float) -> float:
    """The Rényi divergence of one release; always finite. Raises ValueError without noise."""
    if noise <= 0:
        raise ValueError("without noise the divergence is infinite")
    return float(_divergences(noise, rate, (order,))[0])


def epsilon(
    kinds: Iterable[Kind], delta: float, orders: tuple[float, ...] = ()
) -> tuple[float, float]:
    """The least epsilon at this delta over these or many orders, and the order that gives it.

    Converted as Canonne, Kamath & Steinke 2020, Proposition 12.
    """
    from dp_accounting.rdp.rdp_privacy_accountant import DEFAULT_RDP_ORDERS, compute_epsilon

    orders = orders or (*NEAR_ONE, *map(float, DEFAULT_RDP_ORDERS))
    total = sum(kind.count * _divergences(kind.noise, kind.rate, orders) for kind in kinds)
    least, order = compute_epsilon(orders, total, delta)
    return float(least), float(order)


def worst_epsilon(plans: Iterable[Iterable[Kind]], count: int, delta: float) -> float:
    """The least epsilon that bounds any so many of these plans, of each as often as it may be."""
    import numpy as np
    from dp_accounting.rdp.rdp_privacy_accountant import DEFAULT_RDP_ORDERS, compute_epsilon

    orders = (*NEAR_ONE, *map(float, DEFAULT_RDP_ORDERS))
    worst = np.zeros(len(orders))
    for kinds in plans:
        parts = [kind.count * _divergences(kind.noise, kind.rate, orders) for kind in kinds]
        worst = np.maximum(worst, np.sum(parts, axis=0))
    return float(compute_epsilon(orders, count * worst, delta)[0])


@lru_cache(maxsize=256)
def _divergences(noise: float, rate: float, orders: tuple[float, ...]) -> NDArray[np.float64]:
    import dp_accounting
    import numpy as np
    from dp_accounting.rdp import RdpAccountant

    if rate == 1.0:
        return np.array(orders) / (2 * noise**2)
    accountant = RdpAccountant(orders=orders)
    gaussian = dp_accounting.GaussianDpEvent(noise)
    with _quiet():
        accountant.compose(dp_accounting.PoissonSampledDpEvent(rate, gaussian))
    known = accountant.rdp
    return np.array(
        [
            max(value, ROUNDING) if math.isfinite(value) else _by_integral(noise, rate, order)
            for order, value in zip(orders, known, strict=True)
        ]
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without its warnings of orders for which no series converges: these are integrated."""
    log = logging.getLogger("absl")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _by_integral(noise: float, rate: float, order: float) -> float:
    """log E[(P/Q)^order] / (order - 1) over Q = N(0, noise²), P = (1 - rate) Q + rate N(1, noise²).

    The integrand is analytic within pi·noise² of the real line; its mass lies from 0 to `order`.
    """
    import numpy as np
    from scipy.special import logsumexp

    step = min(noise / 20, noise**2 / 3)
    x = np.arange(-14 * noise, order + 14 * noise, step)
    ratio = np.logaddexp(math.log1p(-rate), math.log(rate) + (2 * x - 1) / (2 * noise**2))
    density = -(x**2) / (2 * noise**2) - math.log(noise * math.sqrt(2 * math.pi))
    logarithm = float(logsumexp(order * ratio + density)) + math.log(step)
    return (logarithm + MARGIN) / (order - 1)
