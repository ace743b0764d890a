"""Is a privacy claim compatible with how often an attacker guessed right, in one single run?

Each of m canaries was put into the training data or left out by a coin of its own. From what was
released an attacker makes so many guesses, about canaries of its choice, whether they were in; some
of them are correct. If the claim holds, being correct that often has a probability of at most p
over coins, training and attacker. Nothing is assumed of the canaries' scores: the canaries of one
run need not be independent of each other given what was released.

    dp    the claim is (epsilon, delta): T. Steinke, M. Nasr, M. Jagielski: Privacy Auditing with
          One (1) Training Run, NeurIPS 2023, Theorem 5.2
    f_dp  the claim is a whole trade-off curve, which can be rejected by far fewer guesses:
          S. Mahloujifar, L. Melis, K. Chaudhuri: Auditing f-Differential Privacy in One Run, 2024
          (arXiv 2410.22235), Theorem 3.2 and Algorithm 3
"""

from __future__ import annotations

import math

from traindeck.core.privacy.audit.roc import Roc


def dp_p_value(canaries: int, guesses: int, correct: int, epsilon: float, delta: float) -> float:
    """How probable, at most, it is under (epsilon, delta) to be correct so often or more.

    Were delta 0, the number of correct guesses would be dominated by a binomial one of probability
    e^epsilon / (1 + e^epsilon); each canary may with probability delta escape that.
    """
    import numpy as np
    from scipy.stats import binom

    if correct == 0:
        return 1.0
    chance = 1 / (1 + math.exp(-epsilon))
    pure = float(binom.sf(correct - 1, guesses, chance))
    escaped = np.arange(1, correct + 1)
    gained = (binom.sf(correct - escaped - 1, guesses, chance) - pure) / escaped
    return min(pure + 2 * canaries * delta * max(float(gained.max()), 0.0), 1.0)


def dp_lower_bound(
    canaries: int, guesses: int, correct: int, delta: float, significance: float
) -> float:
    """The largest epsilon (within 0.001, from below) that is rejected at this significance."""

    def rejected(epsilon: float) -> bool:
        return dp_p_value(canaries, guesses, correct, epsilon, delta) <= significance

    if not rejected(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while rejected(high):
        low, high = high, 2 * high
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (middle, high) if rejected(middle) else (low, middle)
    return low


def f_dp_rejected(roc: Roc, canaries: int, guesses: int, correct: int, significance: float) -> bool:
    """Whether guessing right so often has a probability below `significance` under this curve.

    Let p_j be the probability of exactly j correct guesses, R_i = Σ_{j≥i} j/m p_j and
    W_i = Σ_{j≥i} (guesses-j)/m p_j. Comparing the two coins of each canary, all others held, and
    averaging (the curve is concave) gives R_{i+1} ≤ TPR(W_i), so W_i ≥ FPR(R_{i+1}): much being
    right takes some being wrong. Suppose that `correct` or more has probability `significance`; the
    smallest W and R then follow one after the other from i = correct down to 0, where R + W must
    be guesses/m. More than that is a contradiction.
    """
    right = significance * correct / canaries
    wrong = significance * (guesses - correct) / canaries
    most = guesses / canaries
    for i in range(correct - 1, -1, -1):
        least = roc.fpr(right)
        if least <= wrong:
            break  # neither changes any more
        right += i / (guesses - i) * (least - wrong)
        wrong = least
        if right + wrong > most:
            return True
    return right + wrong > most
