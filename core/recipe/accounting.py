"""What a private recipe declares of its releases; light, for whoever only reads accounts."""

from __future__ import annotations

from dataclasses import dataclass

SAMPLERS = ("poisson", "truncated", "shuffle", "none")
UNITS = ("example", "user", "owner")


@dataclass(frozen=True, slots=True)
class Accounting:
    """What a private recipe declares once and for all, whatever its parameters.

    records   a public bound on the number of training records; never counted from the data
    of        the data set that has no more, for a recipe that takes several; empty: they all have
    unit      whose privacy is meant: one example, one user or one owner
    sampler   how batches are drawn, see `privacy.mechanism.Mechanism`
    pretrained  what the public weights that it begins with have seen, which no epsilon covers
    """

    records: int
    unit: str = "example"
    sampler: str = "poisson"
    of: str = ""
    pretrained: str = ""
