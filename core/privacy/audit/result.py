"""What an audit says of a run: light, for whoever only shows it.

Lists and screens read it back from a run's events; measuring it is another matter (`measure`).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from traindeck.core.base import tolerant
from traindeck.core.privacy.bounds import or_null

POWER = (
    "of 30 runs of 585 steps at epsilon 2.93 with noise × 0.5 an audit flags 30, × 0.6 18, × 0.7 1,"
    " right ones 0"
)
"""What an audit can see, by tests/bench/bench_audit.py."""


@dataclass(frozen=True, slots=True)
class AuditResult:
    """What one run's canaries say about its claim.

    lower          a lower bound on epsilon at `confidence`, for `delta`, of the mechanism at
                   any noise, see `measure`
    lower_general  of any mechanism
    claimed        the accountant's upper bound; infinite without noise
    canaries       how many there were, in the data or not
    guesses        how many were guessed, of the share that decided `lower`
    correct        how many of the guesses were right
    steps          how many steps of the run the canaries took part in
    verdict        `violated` when lower is above claimed, else `consistent`
    """

    lower: float
    lower_general: float
    confidence: float
    claimed: float
    delta: float
    canaries: int
    guesses: int
    correct: int
    steps: int
    method: str
    method_general: str
    verdict: Literal["consistent", "violated"]

    @property
    def violated(self) -> bool:
        return self.verdict == "violated"

    def to_json(self) -> dict[str, Any]:
        """An infinite claim is null, and so is what an earlier version did not say."""
        return {
            name: or_null(value) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, data: object) -> AuditResult | None:
        """Read what `to_json` wrote, now or in an earlier version; None where there is nothing.

        What is missing or odd is NaN, 0 or empty.
        """
        if not isinstance(data, dict) or not data:
            return None
        known = data.get
        claimed = known("claimed")
        return cls(
            lower=tolerant.number(known("lower")),
            lower_general=tolerant.number(known("lower_general")),
            confidence=tolerant.number(known("confidence")),
            claimed=math.inf if claimed is None else tolerant.number(claimed),
            delta=tolerant.number(known("delta")),
            canaries=tolerant.count(known("canaries")) or 0,
            guesses=tolerant.count(known("guesses")) or 0,
            correct=tolerant.count(known("correct")) or 0,
            steps=tolerant.count(known("steps")) or 0,
            method=tolerant.text(known("method")),
            method_general=tolerant.text(known("method_general")),
            verdict="violated" if known("verdict") == "violated" else "consistent",
        )
