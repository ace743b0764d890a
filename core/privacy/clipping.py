"""Adaptive clipping: what the count that moves the clipping norm costs, and where it moves it.

G. Andrew, O. Thakkar, H. B. McMahan, S. Ramaswamy: Differentially private learning with adaptive
clipping, NeurIPS 2021, Algorithm 1 and Theorem 1. Standard library only: recipes import this.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

SENSITIVITY = 0.5
"""Of the count: a record adds 1/2 to it when its gradient is not clipped, and else takes 1/2."""
ZEROED = 1.0
"""Of the count where a neighbour has zeros in a record's place, which are not clipped: they add 1/2
to it, and the record took 1/2 if it was."""
ROUNDING = 1e-12
"""Relative: the gradients' noise is rounded up by so much."""
LONGEST = 5.0
"""Of one step of the norm's logarithm, however noisy the count is."""
LEAST, MOST = 1e-9, 1e9
"""The norm stays between them."""


@dataclass(frozen=True, slots=True)
class AdaptiveClipping:
    """A clipping norm that follows a quantile of the gradients' norms, by a noisy count a step.

    Of records that are there or not the count's sensitivity is 1/2, of those that are zeroed it is
    1: a gradient that was clipped and took 1/2, against zeros, which count as not clipped. Priced
    at 1 it also covers a neighbour that adds nothing to the count.

    quantile     the share of records whose gradients are to be left as they are
    lr           how fast the norm's logarithm moves
    count_noise  standard deviation of the noise on the count; 0 in a twin without privacy
    sensitivity  of the count: `SENSITIVITY`, or `ZEROED`

    Raises ValueError for another sensitivity.
    """

    quantile: float
    lr: float
    count_noise: float
    sensitivity: float = SENSITIVITY

    def __post_init__(self) -> None:
        if self.sensitivity not in (SENSITIVITY, ZEROED):
            raise ValueError(f"sensitivity {self.sensitivity!r} is not {SENSITIVITY} or {ZEROED}")

    def gradient_noise(self, joint: float) -> float:
        """The multiplier of the gradients' noise that with the count's makes this joint one.

        Count and sum are two Gaussians of one sample, over their sensitivities one of noise
        multiplier z with z^-2 = z_gradients^-2 + (count_noise / sensitivity)^-2. Raises ValueError
        where the count alone tells more than the joint one may.
        """
        if joint == 0:
            return 0.0
        count = self.count_noise / self.sensitivity
        if count <= joint:
            raise ValueError(
                f"a count with noise {self.count_noise:g} tells as much as both together may at"
                f" noise multiplier {joint:g}: take more than {joint * self.sensitivity:.4g}"
            )
        return joint / math.sqrt(1 - (joint / count) ** 2) * (1 + ROUNDING)

    def to_json(self, joint: float) -> dict[str, float]:
        """With the noise multiplier that is left for the gradients; the usual sensitivity is not
        said."""
        data = {**asdict(self), "gradient_noise": self.gradient_noise(joint)}
        if self.sensitivity == SENSITIVITY:
            del data["sensitivity"]
        return data

    @classmethod
    def from_json(cls, data: object) -> AdaptiveClipping | None:
        """The inverse of `to_json`; None of nothing. Raises ValueError for anything else."""
        if data is None:
            return None
        names = [field.name for field in fields(cls)]
        if not isinstance(data, Mapping) or not set(names) <= {*data, "sensitivity"}:
            raise ValueError("not an adaptive clipping")
        try:
            return cls(**{name: float(data[name]) for name in names if name in data})
        except TypeError as error:
            raise ValueError(f"not an adaptive clipping: {error}") from None

    def next_norm(self, norm: float, count: float, batch_size: int) -> float:
        """Where the clipping norm goes after a step whose noisy count was this one.

        batch_size  the public one: the share of gradients that were not clipped is
                    count / batch_size + 1/2 on average
        """
        share = count / batch_size + 0.5
        step = self.lr * (share - self.quantile)
        return min(max(norm * math.exp(-min(max(step, -LONGEST), LONGEST)), LEAST), MOST)
