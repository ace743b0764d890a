"""What a private training run releases: the event that anyone can account for again.

Standard library only: recipes and the supervisor import this.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from traindeck.core.recipe.accounting import SAMPLERS

RELATION = "add-or-remove-one"
ZERO_OUT = "zero-out over public owners"
MAX_STEPS = 10**9


def relation_of(unit: str) -> str:
    """Which data are neighbours, for the privacy of a unit.

    Of owners, whose list is public: all their data but that of one, whose update is zero then. It
    hides what an owner holds, never that it takes part.
    """
    return ZERO_OUT if unit == "owner" else RELATION


@dataclass(frozen=True, slots=True)
class Mechanism:
    """`steps` sums of clipped gradients, each released with Gaussian noise (DP-SGD, Abadi 2016).

    noise_multiplier   the noise's standard deviation over the clipping norm; 0 is no noise at all
    sampling_rate      the share q of all records that a batch holds, in expectation
    sampler            `poisson`: each record in each batch with probability q by itself, which
                       amplifies the privacy; `shuffle`: every record once in each pass over the
                       data, which takes at least 1/q steps, however few records there really
                       are: a last small batch is a step too, none is dropped; `none`: every
                       record in every batch. The last two amplify nothing.

    Raises ValueError for what is no such mechanism.
    """

    noise_multiplier: float
    sampling_rate: float
    steps: int
    sampler: str = "poisson"

    def __post_init__(self) -> None:
        if not (_is_number(self.noise_multiplier) and self.noise_multiplier >= 0):
            raise ValueError(f"noise_multiplier {self.noise_multiplier!r} is not 0 or more")
        if not (_is_number(self.sampling_rate) and 0 < self.sampling_rate <= 1):
            raise ValueError(f"sampling_rate {self.sampling_rate!r} is not above 0 and at most 1")
        steps = self.steps
        if isinstance(steps, bool) or not isinstance(steps, int) or not 0 <= steps <= MAX_STEPS:
            raise ValueError(f"steps {steps!r} is not a whole number from 0 to {MAX_STEPS}")
        if self.sampler not in SAMPLERS:
            raise ValueError(f"sampler {self.sampler!r} is not one of {', '.join(SAMPLERS)}")

    @property
    def releases(self) -> int:
        """How often one record's gradient may be in what is released, without amplification."""
        if self.sampler == "shuffle":
            return math.ceil(self.steps * self.sampling_rate - 1e-9)
        return self.steps

    def with_steps(self, steps: int) -> Mechanism:
        return replace(self, steps=steps)

    def to_json(self) -> dict[str, Any]:
        return {"mechanism": "gaussian", **asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Mechanism:
        """Read what `to_json` wrote. Raises ValueError for anything else."""
        names = {field.name for field in fields(cls)}
        if not isinstance(data, Mapping) or set(data) != names | {"mechanism"}:
            raise ValueError("not a mechanism: other fields than a Gaussian's")
        if data["mechanism"] != "gaussian":
            raise ValueError(
                f"mechanism {data['mechanism']!r} is not one that can be accounted for"
            )
        return cls(**{name: data[name] for name in names})


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
