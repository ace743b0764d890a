"""The measured lower bound on epsilon, beside the accountant's upper bound.

A recipe that is audited trains with canaries (recipes/shared/training/dp/canaries.py) and leaves
their scores in its artifacts. What is done with the scores is fixed here, before any are seen: a
share of the canaries with the highest scores is guessed to have been in the data, as many with the
lowest to have been left out, for each share of GUESS_SHARES. Looking at several costs a factor in
the significance (Bonferroni), so that all of it together errs with probability 1 - CONFIDENCE at
most.

Two bounds come out of the same guesses, each at that confidence, and only the first decides:

    lower          of the mechanisms that the claim is about (this sampler, rate and number of
                   steps, any noise), those with so small an epsilon that their trade-off curve is
                   rejected: the largest such epsilon
    lower_general  the largest epsilon rejected whatever the mechanism: smaller, assumes nothing

A lower bound above the claim means that the run did not do what its epsilon was computed for. One
below it proves nothing: another attack may find more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from traindeck.core.base.errors import TraindeckError
from traindeck.core.base.files import reading
from traindeck.core.privacy.audit.result import AuditResult
from traindeck.core.privacy.mechanism import Mechanism

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CONFIDENCE = 0.95
GUESS_SHARES = (0.05, 0.1, 0.2)
METHOD = "f-DP in one run (Mahloujifar, Melis & Chaudhuri 2024), claimed mechanism at other noise"
METHOD_GENERAL = "(epsilon, delta)-DP in one run (Steinke, Nasr & Jagielski 2023)"
SIGNIFICANCE = (1 - CONFIDENCE) / len(GUESS_SHARES)
LEAST_EPSILON = 0.01  # bounds below are 0
MOST_EPSILON = 30.0  # far above what can be shown with a few thousand canaries
NOISE_PRECISION = 1.01


class AuditError(TraindeckError):
    """The scores cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of the canaries that were in the data and of those that were not, each 1-D.

    steps  how many steps of the run they took part in
    """

    included: Floats
    excluded: Floats
    steps: int

    @classmethod
    def read(cls, path: Path) -> Scores:
        """What a recipe left. Raises AuditError for another file, FileNotFoundError for none."""
        import numpy as np

        try:
            with reading(path) as raw, np.load(raw, allow_pickle=False) as file:
                included, excluded = (
                    np.asarray(file[name], np.float64) for name in ("included", "excluded")
                )
                return cls(included, excluded, int(file["steps"]))
        except FileNotFoundError:
            raise
        except Exception as error:  # a different one for each kind of damage
            raise AuditError(f"{path}: holds no scores of canaries: {error}") from None


def audit(scores: Scores, mechanism: Mechanism, delta: float, claimed: float) -> AuditResult:
    """Hold a run's claim against the scores of its canaries; takes about 1 s.

    mechanism  what the claim is about
    claimed    its epsilon at `delta`

    Raises AuditError for scores that are not finite or too few.
    """
    made = _guess(scores)
    canaries = len(scores.included) + len(scores.excluded)
    from traindeck.core.privacy.audit.one_run import dp_lower_bound

    general = max(dp_lower_bound(canaries, *each, delta, SIGNIFICANCE) for each in made)
    lower, guesses, correct = _lower_bound(made, canaries, mechanism, delta)
    return AuditResult(
        lower=lower,
        lower_general=general,
        confidence=CONFIDENCE,
        claimed=claimed,
        delta=delta,
        canaries=canaries,
        guesses=guesses,
        correct=correct,
        steps=scores.steps,
        method=METHOD,
        method_general=METHOD_GENERAL,
        verdict="violated" if lower > claimed else "consistent",
    )


def _guess(scores: Scores) -> list[tuple[int, int]]:
    """For each share of GUESS_SHARES, how many guesses are made and how many are correct.

    Among equal scores the wrong guesses are made first.
    """
    import numpy as np

    values = np.concatenate((scores.included, scores.excluded))
    if values.ndim != 1 or not np.isfinite(values).all():
        raise AuditError("the scores of the canaries are not all finite numbers")
    if len(values) * min(GUESS_SHARES) < 2:
        raise AuditError(f"{len(values)} canaries are too few to audit with")
    inside = np.arange(len(values)) < len(scores.included)
    highest = inside[np.lexsort((inside, -values))]
    lowest = ~inside[np.lexsort((~inside, values))]
    made = []
    for share in GUESS_SHARES:
        each = int(len(values) * share / 2)
        made.append((2 * each, int(highest[:each].sum() + lowest[:each].sum())))
    return made


def _lower_bound(
    made: list[tuple[int, int]], canaries: int, mechanism: Mechanism, delta: float
) -> tuple[float, int, int]:
    """The largest epsilon whose mechanism is rejected, by how many guesses, how many correct.

    All of these mechanisms are ordered by their noise: whoever rejects one rejects those with more
    noise, whose curves are further from what was seen. Without a rejection the bound is 0.
    """
    from dataclasses import replace

    from traindeck.core.privacy import accountant
    from traindeck.core.privacy.audit.one_run import f_dp_rejected
    from traindeck.core.privacy.audit.roc import Roc

    if not mechanism.noise_multiplier:
        mechanism = replace(mechanism, noise_multiplier=1.0)  # the claim is no bound: any will do

    @cache
    def judged(noise: float) -> tuple[float, tuple[int, int] | None]:
        """The epsilon with this much noise, and the guesses that reject it, if any do."""
        losses = accountant.distribution([replace(mechanism, noise_multiplier=noise)])
        roc = Roc(losses)
        by = (each for each in made if f_dp_rejected(roc, canaries, *each, SIGNIFICANCE))
        return float(losses.get_epsilon_for_delta(delta)), next(by, None)

    noise = mechanism.noise_multiplier
    step = 1.5
    if judged(noise)[1]:
        while judged(noise)[1] and judged(noise)[0] < MOST_EPSILON:
            noise /= step
        low, high = noise, noise * step
    else:
        while not judged(noise)[1] and judged(noise)[0] > LEAST_EPSILON:
            noise *= step
        low, high = noise / step, noise
    while high / low > NOISE_PRECISION:  # low is not rejected (or beyond what is looked at)
        middle = math.sqrt(low * high)
        low, high = (low, middle) if judged(middle)[1] else (middle, high)
    epsilon, by = judged(high)
    return (epsilon, *by) if by else (0.0, *made[0])
