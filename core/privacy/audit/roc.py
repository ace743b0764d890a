"""How well any attacker can tell members from others: the best ROC curve there can be.

A record is in the training data or not; an attacker who sees all that was released decides which.
The false positive rate (FPR) is the share of outsiders called members, the true positive rate (TPR)
the share of members found. Each (epsilon, delta) that holds for what was released bounds both:

    TPR ≤ delta + e^epsilon · FPR        1 - FPR ≤ delta + e^epsilon · (1 - TPR)

and a privacy loss distribution gives a delta for every epsilon, so that all these lines together
are the exact trade-off between the two errors (Wasserman & Zhou 2010; Dong, Roth & Su 2022,
Proposition 2.12; Kulynych & Gomez et al. 2024) and not that of one (epsilon, delta) alone.

Adding a record and removing one have different loss distributions when records are sampled. Here
each line takes the larger delta of the two, so the curve holds for whichever is worse.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import TYPE_CHECKING

from traindeck.core.privacy.mechanism import Mechanism

if TYPE_CHECKING:
    from dp_accounting.pld.privacy_loss_distribution import PrivacyLossDistribution

LINES = 2000
LEAST_DELTA = 1e-9  # where the lines end: rates far below it have a looser bound, still a bound
MOST_EPSILON = 100.0


class Roc:
    """An upper bound on the TPR of every attack at each FPR, and so a lower one on the FPR.

    Both come from the same finitely many lines `FPR ≥ slope · TPR + offset`, each of which holds;
    the ones that are left out could only make the bounds tighter.
    """

    def __init__(self, losses: PrivacyLossDistribution) -> None:
        import numpy as np

        least = max(LEAST_DELTA, 2 * losses.get_delta_for_epsilon(np.inf))
        top = min(losses.get_epsilon_for_delta(least), MOST_EPSILON)
        epsilons = np.linspace(0.0, max(top, 1e-6), LINES)
        deltas = np.maximum(losses.get_delta_for_epsilon(epsilons), 0.0)
        ratio = np.exp(epsilons)
        # By rising slope: few false positives first (large epsilon), few misses last.
        self._slopes = np.concatenate(((1 / ratio)[::-1], ratio[1:]))
        self._offsets = np.concatenate(((-deltas / ratio)[::-1], (1 - deltas - ratio)[1:]))
        crossings = -np.diff(self._offsets) / np.diff(self._slopes)
        # Rounding can put two out of order: the line chosen then is not the highest, but holds.
        self._crossings: list[float] = np.maximum.accumulate(crossings).tolist()
        self._lines: list[tuple[float, float]] = list(
            zip(self._slopes.tolist(), self._offsets.tolist(), strict=True)
        )
        self.advantage = float(deltas[0])
        """The most that TPR can exceed FPR."""

    @classmethod
    def of(cls, mechanisms: Iterable[Mechanism]) -> Roc:
        """That of all these mechanisms together. Raises ValueError when one has no noise."""
        from traindeck.core.privacy import accountant

        return cls(accountant.distribution(mechanisms))

    def tpr(self, fpr: float) -> float:
        """The largest share of members that can be found at this false positive rate."""
        most = float(((fpr - self._offsets) / self._slopes).min())
        return min(max(most, fpr), 1.0)

    def fpr(self, tpr: float) -> float:
        """The least false positive rate at which this share of members can be found."""
        slope, offset = self._lines[bisect_right(self._crossings, tpr)]
        return max(slope * tpr + offset, 0.0)
