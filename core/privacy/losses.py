"""Distributions of the privacy loss of many steps, at an interval that suits them.

Each step's distribution comes from dp-accounting by connect-the-dots, which dominates the real
one: an upper bound (Doroshenko, Ghazi, Kamath, Kumar & Manurangsi 2022). Rounding to a grid adds
some interval²/6 to the variance of a loss, so a step that loses little needs a fine grid and a
sum of many a coarse one: as many fine ones are composed first as make the coarse grid fine
enough, connected anew on that, which dominates them, and composed further (as Ghazi, Kamath,
Kumar & Manurangsi 2022, Faster privacy accounting via evolving discretization).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

USUAL_INTERVAL = 1e-3
OF_A_STEP = 8
"""Intervals in the standard deviation of one step's loss: 1/400 of its variance is rounding."""
OF_RARE = 64
"""Likewise in that with the record, where a loss is rare and large."""
OF_THE_SUM = 64, 2000
"""Least and most intervals in the standard deviation of the sum, if 0.001 is not between."""
EVEN = 1024
"""Intervals of a step's loss about 0 that are all used; further out the grid thins by 0.2 %."""
THINNING = 1.002
ROUGHLY = 16
MOST_POINTS = 1 << 17
"""Of one step; a grid that would need more is coarser, and what comes out looser."""
TAIL = 1e-16
"""Probability that a composition may leave out of its window; counted as an infinite loss."""
ROUNDING = 1e-15
"""What a step's Fourier transform may be wrong by, in probability; counted as an infinite loss."""
LARGEST_EXPONENT = 700.0


@dataclass(frozen=True, slots=True)
class Kind:
    """So many releases alike: Gaussian noise over the sensitivity, each record in with a chance."""

    noise: float
    rate: float
    count: int

    def variances(self) -> tuple[float, float]:
        """The mean squares of all its losses, as they are without the record and with it."""
        without, including = _deviations(self.noise, self.rate)
        return self.count * without**2, self.count * including**2


@dataclass(frozen=True, slots=True, eq=False)
class Losses:
    """A discrete distribution of losses: multiples of `interval` from `lowest` on, and infinity."""

    interval: float
    lowest: int
    probabilities: Floats
    infinite: float

    def losses(self) -> Floats:
        import numpy as np

        places = np.arange(len(self.probabilities), dtype=np.float64)
        return (places + self.lowest) * self.interval

    def power(self, count: int) -> Losses:
        """The sum of so many independent losses alike."""
        import numpy as np
        from scipy import fft

        if count == 1:
            return self
        least, most = self._window(count)
        size = fft.next_fast_len(max(most - least + 1, len(self.probabilities)), real=True)
        spectrum = fft.rfft(self.probabilities, size)
        with np.errstate(divide="ignore"):
            radius = np.exp(count * np.log(np.abs(spectrum)))
        turned = radius * np.exp(1j * np.remainder(count * np.angle(spectrum), 2 * np.pi))
        summed = np.roll(fft.irfft(turned, size), -least)[: most - least + 1]
        infinite = TAIL - math.expm1(count * math.log1p(-self.infinite))
        return Losses(self.interval, count * self.lowest + least, np.maximum(summed, 0.0), infinite)

    def plus(self, other: Losses) -> Losses:
        """The sum of two independent losses on the same grid."""
        import numpy as np
        from scipy import signal

        summed = np.maximum(signal.fftconvolve(self.probabilities, other.probabilities), 0.0)
        infinite = self.infinite + other.infinite - self.infinite * other.infinite
        return Losses(self.interval, self.lowest + other.lowest, summed, infinite)

    def coarser(self, interval: float) -> Losses:
        """A dominating distribution on a coarser grid: connect-the-dots of this one.

        Each loss is split between its neighbours on the grid so that its chance stays the same with
        the record and without.
        """
        import numpy as np

        losses = self.losses()
        below = np.floor(losses / interval)
        share = np.expm1(below * interval - losses) / math.expm1(-interval)
        share = np.clip(share, 0.0, 1.0)
        lowest = int(below[0])
        places = below.astype(np.int64) - lowest
        size = int(places[-1]) + 2
        chances = np.zeros(size)
        chances += np.bincount(places, self.probabilities * (1 - share), size)
        chances += np.bincount(places + 1, self.probabilities * share, size)
        return Losses(interval, lowest, chances, self.infinite)

    def epsilon(self, delta: float) -> float:
        """The least epsilon of this delta; infinite where the infinite loss is as likely."""
        import numpy as np

        if self.infinite >= delta:
            return math.inf
        losses = self.losses()
        kept = losses > 0
        falling, chances = losses[kept][::-1], self.probabilities[kept][::-1]
        mass = self.infinite + np.concatenate(([0.0], np.cumsum(chances)))
        with np.errstate(under="ignore"):
            other = np.concatenate(([0.0], np.cumsum(chances * np.exp(-falling))))
            scale = np.exp(np.minimum(falling, LARGEST_EXPONENT))
        over = mass[:-1] - scale * other[:-1] > delta  # at each loss, of those above it
        at = int(np.argmax(over)) if over.any() else len(falling)
        if mass[at] - other[at] <= delta:
            return 0.0
        if other[at] <= 0.0:  # exp of so large a loss is beyond a double's range
            return float(falling[at - 1])
        return max(0.0, math.log(mass[at] - delta) - math.log(other[at]))

    def _window(self, count: int) -> tuple[int, int]:
        """Where the sum of so many lies, but for TAIL: Chernoff's bound, around the best order."""
        import numpy as np
        from dp_accounting.pld import common

        places = np.arange(len(self.probabilities))
        mean = float(places @ self.probabilities) / float(self.probabilities.sum())
        spread = math.sqrt(max(float((places - mean) ** 2 @ self.probabilities), 1e-12))
        best = math.sqrt(2 * math.log(2 / TAIL) / count) / spread
        some = best * 2.0 ** np.arange(-6, 4)
        more = np.arange(1, 21, 4) / len(places)
        orders = [*some, *-some, *more, *-more]
        least, most = common.compute_self_convolve_bounds(
            self.probabilities, count, TAIL, orders=orders
        )
        return int(least), int(most)


def interval(kinds: Iterable[Kind]) -> float:
    """The grid for the sum of all these: 0.001 where the sum is neither tiny nor huge."""
    without, including = (
        math.sqrt(math.fsum(each))
        for each in zip(*(kind.variances() for kind in kinds), strict=True)
    )
    least, most = OF_THE_SUM
    return max(min(USUAL_INTERVAL, without / least), including / most)


def composed(
    kinds: Iterable[Kind], grid: float | None = None, *, roughly: bool = False
) -> tuple[Losses, Losses]:
    """The losses of all these together, of a record that is removed and of one that is added.

    grid     the interval, if it is not to be `interval(kinds)`
    roughly  up to a sixteenth more releases may be counted, which saves much time

    ROUNDING for each release, and a hundred for the grid, is in the infinite loss: arithmetic makes
    no delta too small.
    """
    kinds = tuple(kinds)
    grid = grid or interval(kinds)
    both: tuple[Losses, Losses] | None = None
    for kind in kinds:
        one = _together(kind, grid, roughly)
        both = one if both is None else (both[0].plus(one[0]), both[1].plus(one[1]))
    if both is None:
        raise ValueError("nothing is released")
    wrong = ROUNDING * (100 + sum(kind.count for kind in kinds))
    removed, added = (
        Losses(one.interval, one.lowest, one.probabilities, min(1.0, one.infinite + wrong))
        for one in both
    )
    return removed, added


def distribution(both: tuple[Losses, Losses]) -> PrivacyLossDistribution:
    """The same as dp-accounting's."""
    from dp_accounting.pld.pld_pmf import DensePLDPmf
    from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution

    return PrivacyLossDistribution(
        *(
            DensePLDPmf(one.interval, one.lowest, one.probabilities, one.infinite, True)
            for one in both
        )
    )


def _together(kind: Kind, grid: float, roughly: bool) -> tuple[Losses, Losses]:
    noise, count, rate = kind.noise, kind.count, kind.rate
    if rate == 1.0:  # Gaussians add up to one
        noise, count = noise / math.sqrt(count), 1
    without, including = _deviations(noise, rate)
    fine = grid if count == 1 else min(grid, max(without / OF_A_STEP, including / OF_RARE))
    group = math.ceil((grid / fine) ** 2)
    steps = _steps(noise, rate, fine)
    if steps[0].interval >= grid:
        removed, added = (step.power(count) for step in steps)
        return removed, added
    whole, rest = divmod(count, group)
    if roughly and rest and whole >= ROUGHLY:
        whole, rest = whole + 1, 0
    removed, added = (
        _sum(
            *([one.power(whole) for one in [_grouped(step, group, grid)]] if whole else []),
            *([step.power(rest).coarser(grid)] if rest else []),
        )
        for step in steps
    )
    return removed, added


def _sum(first: Losses, second: Losses | None = None) -> Losses:
    return first if second is None else first.plus(second)


@lru_cache(maxsize=8)
def _grouped(step: Losses, count: int, grid: float) -> Losses:
    return step.power(count).coarser(grid)


@lru_cache(maxsize=8)
def _steps(noise: float, rate: float, interval: float) -> tuple[Losses, Losses]:
    """One release's losses, of a record that is removed and of one that is added."""
    import numpy as np
    from dp_accounting.pld.privacy_loss_mechanism import AdjacencyType, GaussianPrivacyLoss

    removing, adding = (
        GaussianPrivacyLoss(noise, sampling_prob=rate, adjacency_type=one)
        for one in (AdjacencyType.REMOVE, AdjacencyType.ADD)
    )
    bounds = removing.connect_dots_bounds()
    span = bounds.epsilon_upper - bounds.epsilon_lower
    interval = max(interval, span / MOST_POINTS)
    grid = _grid(
        math.floor(bounds.epsilon_lower / interval), math.ceil(bounds.epsilon_upper / interval)
    )
    removed = np.asarray(removing.get_delta_for_epsilon(grid * interval))
    added = np.asarray(adding.get_delta_for_epsilon(-grid[::-1] * interval))
    return (
        _connected(interval, grid, removed, added[::-1]),
        _connected(interval, -grid[::-1], added, removed[::-1]),
    )


def _grid(least: int, most: int) -> NDArray[np.int64]:
    """Every whole number about 0, and ever fewer further out."""
    import numpy as np

    far = max(abs(least), abs(most), EVEN)
    steps = math.ceil(math.log(far / EVEN) / math.log(THINNING)) if far > EVEN else 0
    out = np.unique(np.rint(EVEN * THINNING ** np.arange(1, steps + 1)).astype(np.int64))
    every = np.concatenate((-out[::-1], np.arange(-EVEN, EVEN + 1), out))
    inside = every[(every > least) & (every < most)]
    return np.concatenate(([least], inside, [most]))


def _connected(interval: float, grid: NDArray[np.int64], deltas: Floats, back: Floats) -> Losses:
    """Connect-the-dots (Doroshenko et al. 2022, Algorithm 1): deltas at multiples of the interval.

    back  the deltas of the opposite direction at the same losses, negated: below 0 they have the
          digits that deltas near 1 have lost, as delta(e) = 1 - exp(e) + exp(e) back(-e)

    Delta is convex in exp(epsilon); the change of its slope at a point is the chance, without the
    record, of that loss.
    """
    import numpy as np

    epsilons = grid * interval
    above = epsilons >= 0
    # The part of delta above max(0, 1 - exp(epsilon)).
    small = np.where(above, deltas, np.exp(np.minimum(epsilons, 0.0)) * back)
    small = np.clip(small, 0.0, 1.0)
    widths = np.diff(epsilons)
    falls = np.diff(small)  # over a width in exp(epsilon) they are slopes
    after = falls / np.expm1(np.minimum(widths, LARGEST_EXPONENT))
    turns = np.append(after, 0.0) - np.append(0.0, falls / -np.expm1(-widths))
    kink = int(np.argmax(above))  # where the other part's slope changes from -1 to 0
    turns[kink] += math.exp(epsilons[kink])
    chances = np.maximum(turns, 0.0)
    # What lies below the grid is put on its lowest loss, what lies above is infinite.
    chances[0] = max(0.0, 1.0 - deltas[-1] - float(chances[1:].sum()))
    dense = np.zeros(int(grid[-1] - grid[0]) + 1)
    dense[grid - grid[0]] = chances
    return Losses(interval, int(grid[0]), dense, float(deltas[-1]))


@lru_cache(maxsize=256)
def _deviations(noise: float, rate: float) -> tuple[float, float]:
    import numpy as np

    x = np.linspace(-12 * noise, 1 + 12 * noise, 4001)
    exponent = (2 * x - 1) / (2 * noise**2)
    losses = exponent
    if rate < 1.0:
        losses = np.logaddexp(math.log1p(-rate), math.log(rate) + exponent)
    both = []
    for chance in (np.exp(-((x / noise) ** 2) / 2), np.exp(losses - (x / noise) ** 2 / 2)):
        both.append(math.sqrt(float((chance * losses**2).sum() / chance.sum())))
    return both[0], both[1]
