"""What a data owner's part in a private run will cost it, and has cost it by its own account."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from traindeck.core.base import tolerant
from traindeck.core.base.sanitize import plain
from traindeck.core.privacy.bounds import at_most


@dataclass(frozen=True, slots=True)
class OwnerPrivacy:
    """An epsilon is an upper bound; None is infinite, as is one that was not told.

    unit             whose privacy it is: an example's or an owner's
    epsilon          of what has left the owner so far in `steps`, at delta: before the last step
                     that of the next place in the plan's curve, so above what a run reports
    epsilon_planned  of the whole run, of `steps_planned`
    ledger           the owner's own, which pays for it; empty: it has none
    """

    unit: str
    epsilon: float | None
    delta: float | None
    steps: int | None
    epsilon_planned: float | None
    steps_planned: int | None
    ledger: str

    @classmethod
    def read(cls, said: object) -> OwnerPrivacy | None:
        """What an owner's status has; None when it says nothing of privacy."""
        if not isinstance(said, dict):
            return None
        return cls(
            unit=tolerant.text(said.get("unit")),
            epsilon=_bound(said.get("epsilon")),
            delta=_bound(said.get("delta")),
            steps=tolerant.count(said.get("steps")),
            epsilon_planned=_bound(said.get("epsilon_planned")),
            steps_planned=tolerant.count(said.get("steps_planned")),
            ledger=tolerant.text(said.get("ledger")),
        )

    @property
    def spent(self) -> str:
        """In short: `≤ 1.31 of 2.93`, or `2.93 of 2.93` where it is no looser than the plan's."""
        bound = "≤ " if self.bounded else ""
        return f"{bound}{_figure(self.epsilon)} of {_figure(self.epsilon_planned)}"

    @property
    def bounded(self) -> bool:
        """Whether the epsilon may be above that of the same steps accounted for exactly."""
        return bool(self.epsilon) and self.steps != self.steps_planned

    @property
    def terms(self) -> str:
        """What the figures are for: `δ 1e-05, per example`."""
        delta = "?" if self.delta is None else f"{self.delta:g}"
        return f"δ {delta}, per {self.unit or '?'}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class OwnerPrice:
    """What the whole of a private run will have cost an owner, as it is told who approves it.

    ledger   the owner's own budget, in which that is reserved once it approves; empty: it has none
    charged  the budget of the whole data set, in which it is reserved already; empty: there is none
    """

    unit: str
    epsilon: float | None
    delta: float | None
    steps: int | None
    ledger: str
    charged: str

    @classmethod
    def read(cls, said: object) -> OwnerPrice | None:
        """What a request has; None when it says nothing of privacy."""
        if not isinstance(said, dict):
            return None
        return cls(
            unit=plain(tolerant.text(said.get("unit"))),
            epsilon=_bound(said.get("epsilon")),
            delta=_bound(said.get("delta")),
            steps=tolerant.count(said.get("steps")),
            ledger=plain(tolerant.text(said.get("ledger"))),
            charged=plain(tolerant.text(said.get("charged"))),
        )

    @property
    def cost(self) -> str:
        """`ε 2.93 at δ 1e-05, per example, for all 600 steps`."""
        delta = "?" if self.delta is None else f"{self.delta:g}"
        steps = "?" if self.steps is None else f"{self.steps:,}"
        at = f"at δ {delta}, per {self.unit or '?'}"
        return f"ε {_figure(self.epsilon)} {at}, for all {steps} steps"

    @property
    def paid(self) -> str:
        """Which budgets pay; nothing where there is none."""
        own = f"{self.ledger}: reserved once approved" if self.ledger else ""
        whole = f"{self.charged}: reserved already" if self.charged else ""
        return "; ".join(filter(None, (own, whole)))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def _figure(epsilon: float | None) -> str:
    return at_most(epsilon, infinite="∞")


def _bound(value: object) -> float | None:
    bound = tolerant.real(value)
    return bound if bound is not None and 0 <= bound < math.inf else None
