"""What leaves an owner of its update: clipped, and with its share of the noise.

Where the clipping norm stays, that is the update, clipped to the norm that was agreed on, and noise
in its units. Where it moves (G. Andrew et al.: Differentially private learning with adaptive
clipping, NeurIPS 2021, Algorithm 1, here with owners as users) the data scientist sends the norm C
with the round, and an owner sends

    u / max(|u|, C) + noise      and one coordinate more:      b - 1/2 + count_noise,

b being 1 if |u| <= C and else 0. The data scientist multiplies the sum by C itself. So nothing has
to be known of C for the sum to be private: whatever it is, also a different one for each owner, or
one that was chosen after seeing all that came before, what an owner adds is at most 1 long, its
bit is 0 or 1, and the noise that all add is in the same units, of a scale that C has no part in. In
units of the model it would have to be the same C for all: an owner with a large one would be hidden
by others' noise at a small one. A wrong C costs the model, not privacy.

What one release costs under zero-out: in a neighbour the owner's update is zero, and then the norm
of it is 0 <= C, so that b is 1. The sums differ by at most 1 in updates and, if the update was
clipped, by 1 (not 1/2) in the count. Over the noise of each, z and c, that is one Gaussian of noise
multiplier (z^-2 + c^-2)^(-1/2), the plan's: `AdaptiveClipping` with the sensitivity `ZEROED`. It
covers a neighbour that adds 0 instead of b - 1/2 too, by a distance of 1/2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from traindeck.core.privacy.clipping import LEAST, MOST
from traindeck.recipes.shared.federated.errors import Refused
from traindeck.recipes.shared.federated.owner.policy import Policy
from traindeck.recipes.shared.training.dp.randomness import Randomness

Values = npt.NDArray[np.float64]


def norm(sent: Any, number: int) -> float:
    """The clipping norm that came with a round. Raises Refused for none that one can be."""
    if type(sent) not in (int, float) or not LEAST <= sent <= MOST:
        raise Refused(
            f"round {number}: {sent!r:.40} is no clipping norm: one is from {LEAST:g} to {MOST:g}"
        )
    return float(sent)


def clipped(
    update: Values, length: float, clip: float, policy: Policy, randomness: Randomness
) -> Values:
    """What leaves of an update (d,): (d,), or (d + 1,) where its clipping norm moves.

    length: the update's L2 norm, finite; clip: the L2 norm that it is clipped to.
    """
    if policy.count_noise is None:
        values = update * (clip / length) if length > clip else update
        return values + randomness.normal(values.shape, policy.noise) if policy.noise else values
    values = np.append(update / max(length, clip), 0.5 if length <= clip else -0.5)
    if policy.noise:
        values[:-1] += randomness.normal(update.shape, policy.noise)
        values[-1:] += randomness.normal(1, policy.count_noise)
    return values
