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
ZERO_OUT = "zero-out"
"""A record's gradient against zeros in its place: the number of records is public."""
PUBLIC_OWNERS = "zero-out over public owners"
"""An owner's update against zeros in its place: who takes part is public, and not hidden."""
RELATIONS = RELATION, ZERO_OUT, PUBLIC_OWNERS
MAX_STEPS = 10**9
LARGEST_NOISE = 1e8
"""Of more nothing is left but rounding."""
USUAL = {"after": 0, "bands": 1, "max_batch": 0, "records": 0}
"""What is left out where it is so: mechanisms were written before there were such fields."""


@dataclass(frozen=True, slots=True)
class Mechanism:
    """`steps` sums of clipped gradients, each released with Gaussian noise (DP-SGD, Abadi 2016).

    noise_multiplier   the noise's standard deviation over the clipping norm; 0 is no noise at all
    sampling_rate      the share q of all records that a batch holds, in expectation
    sampler            `poisson`: each record in each batch with probability q by itself, which
                       amplifies the privacy; `truncated`: likewise, but of a batch of more than
                       `max_batch` some at random are left out; `shuffle`: every record once in
                       each pass over the data, which takes `pass_steps`, however few records there
                       really are: a last small batch is a step too, none is dropped; `none`: every
                       record in every batch. The last two amplify nothing.
    max_batch          of the truncated sampler, the most that a batch holds
    records            of the truncated sampler, the public bound on how many there are: they say
                       how rarely a batch is cut off
    after              of a shuffled run's later part, the steps before it: where in a pass it began
    bands              of noise that later steps take back in part, by a strategy matrix of so many
                       bands whose columns have norm 1, so that a record's gradient spreads over as
                       many rows. It is once put into one of that many parts, by a coin of its own;
                       step i draws from part i modulo `bands`, each with probability bands·q. Each
                       `bands` steps are then one Gaussian that is sampled at this rate
                       (Choquette-Choo et al. 2023, (Amplified) banded matrix factorization,
                       arXiv 2306.08153): the rows that a record is in do not overlap

    Shuffled batches are of a fixed size: one record more moves others from batch to batch, so that
    a pass is no single Gaussian under add-or-remove-one. It is one under `zero-out`, which is the
    relation of a shuffled run. For the other samplers both relations come to the same.

    Raises ValueError for what is no such mechanism.
    """

    noise_multiplier: float
    sampling_rate: float
    steps: int
    sampler: str = "poisson"
    after: int = 0
    bands: int = 1
    max_batch: int = 0
    records: int = 0

    def __post_init__(self) -> None:
        noise = self.noise_multiplier
        if not (_is_number(noise) and 0 <= noise <= LARGEST_NOISE):
            raise ValueError(f"noise_multiplier {noise!r} is not from 0 to {LARGEST_NOISE:g}")
        if not (_is_number(self.sampling_rate) and 0 < self.sampling_rate <= 1):
            raise ValueError(f"sampling_rate {self.sampling_rate!r} is not above 0 and at most 1")
        steps = self.steps
        if isinstance(steps, bool) or not isinstance(steps, int) or not 0 <= steps <= MAX_STEPS:
            raise ValueError(f"steps {steps!r} is not a whole number from 0 to {MAX_STEPS}")
        before = self.after
        if isinstance(before, bool) or not isinstance(before, int) or not 0 <= before <= MAX_STEPS:
            raise ValueError(f"after {before!r} is not a whole number from 0 to {MAX_STEPS}")
        if self.sampler not in SAMPLERS:
            raise ValueError(f"sampler {self.sampler!r} is not one of {', '.join(SAMPLERS)}")
        sizes, truncated = (self.max_batch, self.records), self.sampler == "truncated"
        if any(isinstance(size, bool) or not isinstance(size, int) for size in sizes) or not (
            0 < self.max_batch <= self.records if truncated else sizes == (0, 0)
        ):
            raise ValueError(
                f"max_batch {self.max_batch!r} of records {self.records!r}: the sampler truncated"
                " has both, the first the smaller one, and no other sampler has"
            )
        bands = self.bands
        if isinstance(bands, bool) or not isinstance(bands, int) or not 1 <= bands <= MAX_STEPS:
            raise ValueError(f"bands {bands!r} is not a whole number from 1 to {MAX_STEPS}")
        if bands > 1 and self.sampler != "poisson":
            raise ValueError(
                f"noise in {bands} bands needs the sampler poisson, not {self.sampler}"
            )
        if bands * self.sampling_rate > 1 + 1e-9:
            raise ValueError(
                f"{bands} bands at sampling_rate {self.sampling_rate!r}: a part holds fewer records"
                " than a batch"
            )

    @property
    def releases(self) -> int:
        """How often one record's gradient may be in what is released, without amplification.

        Of a shuffled run it is once in each pass that it touches, by where it began; of banded
        noise, once in each `bands` steps that it began.
        """
        if self.bands > 1:
            return -(-self.steps // self.bands)
        if self.sampler == "shuffle" and self.steps:
            end = self.after + self.steps
            return -(-end // self.pass_steps) - self.after // self.pass_steps
        return self.steps

    @property
    def release_rate(self) -> float:
        """The chance of a record to be in a release that it may be in."""
        amplified = self.sampler in ("poisson", "truncated")
        rate = self.bands * self.sampling_rate if amplified else 1.0
        return 1.0 if rate > 1 - 1e-9 else rate

    @property
    def pass_steps(self) -> int:
        """How many steps a shuffled pass over the data takes."""
        return math.ceil(1 / self.sampling_rate - 1e-9)

    @property
    def relation(self) -> str:
        """The neighbouring relation that its epsilon is for."""
        return ZERO_OUT if self.sampler == "shuffle" else RELATION

    def rest(self, taken: int) -> Mechanism:
        """What is left of it once so many steps were taken."""
        shuffled = self.sampler == "shuffle"
        after = self.after + taken if shuffled else 0
        return replace(self, steps=max(0, self.steps - taken), after=after)

    def like(self, other: Mechanism) -> bool:
        """Whether a step of it is a step of the other, whichever those are."""
        return replace(self, steps=0, after=0) == replace(other, steps=0, after=0)

    def with_steps(self, steps: int) -> Mechanism:
        return replace(self, steps=steps)

    def to_json(self) -> dict[str, Any]:
        data = {"mechanism": "gaussian", **asdict(self)}
        return {name: value for name, value in data.items() if USUAL.get(name) != value}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Mechanism:
        """Read what `to_json` wrote. Raises ValueError for anything else."""
        names = {field.name for field in fields(cls)}
        if not isinstance(data, Mapping) or {*data, *USUAL} != names | {"mechanism"}:
            raise ValueError("not a mechanism: other fields than a Gaussian's")
        if data["mechanism"] != "gaussian":
            raise ValueError(
                f"mechanism {data['mechanism']!r} is not one that can be accounted for"
            )
        return cls(**{name: data[name] for name in names & set(data)})


def relation_of(unit: str, mechanism: Mechanism | None = None) -> str:
    """Which data are neighbours, for the privacy of a unit; under what a mechanism allows, if any.

    Of owners, whose list is public: all their data but that of one, whose update is zero then. It
    hides what an owner holds, never that it takes part.
    """
    if unit == "owner":
        return PUBLIC_OWNERS
    return mechanism.relation if mechanism else RELATION


def covers(budget: str, run: str) -> bool:
    """Whether a budget for one relation may be spent by runs of another.

    Taking a record out of a sum is putting zeros in its place, so that what is accounted for under
    add-or-remove-one holds under zero-out, but not the other way.
    """
    return run == budget or (budget, run) == (ZERO_OUT, RELATION)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
