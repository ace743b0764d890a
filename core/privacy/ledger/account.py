"""The state of a data set's privacy budget: what a ledger's entries come to."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from traindeck.core.privacy.ledger.filter import cost_of, exact, inexact
from traindeck.core.privacy.mechanism import Mechanism

IMPORTED = "imported"
"""The state of a run that was made elsewhere."""
HANDED_ON, GIVEN_BACK = "handed on", "given back"
"""How a place ends that a sweep holds for a run: the run takes it over, or none does."""


@dataclass(slots=True)
class Charge:
    """One run's place in the account. Times are unix seconds.

    dataset      what it trains on: the ledger's data set or one derived of it
    mechanism    its plan
    rho          what a step costs: Rényi divergence at the ledger's order
    epsilon      what its whole plan costs
    committed    steps whose noise may have been released
    settled      steps whose noise was released; None while the run is open
    state        reserved, running (something is committed), how it ended, or imported
    who          the process that stands for it, if one was named (`Identity.to_json`)
    quarantined  why its claim is not to be believed; empty when nothing speaks against it
    delta        of its epsilon; None: not known
    """

    id: str
    recipe: str
    dataset: str
    mechanism: Mechanism
    rho: float
    epsilon: float
    who: dict[str, str | int] | None
    reserved_at: float
    committed: int = 0
    settled: int | None = None
    state: str = "reserved"
    committed_at: float | None = None
    settled_at: float | None = None
    quarantined: str = ""
    delta: float | None = None

    @property
    def reserved(self) -> int:
        """Steps of its plan."""
        return self.mechanism.steps

    @property
    def open(self) -> bool:
        return self.settled is None

    @property
    def charged(self) -> int:
        """Steps that count against the budget: the whole plan until the run is settled."""
        return self.reserved if self.settled is None else self.settled

    @property
    def released(self) -> int:
        """Steps whose noise may have been released so far."""
        return self.committed if self.settled is None else self.settled

    @property
    def divergence(self) -> float:
        """What it counts for against the budget: Rényi divergence."""
        return inexact(self.cost(self.charged))

    def cost(self, steps: int) -> int:
        """What so many of its steps cost, exactly (`filter.exact`)."""
        return cost_of(self.mechanism, self.rho, steps)


@dataclass(frozen=True, slots=True)
class Exposure:
    """A run that trained without a finite epsilon; `reason` is what it lacked. At unix seconds."""

    run: str
    recipe: str
    dataset: str
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class Child:
    """A data set that is made `of` the ledger's, or of another child, and spends its budget.

    Declared at unix seconds.
    """

    name: str
    of: str
    kind: str
    fingerprint: str | None
    at: float


@dataclass(frozen=True, slots=True)
class Account:
    """The state of a data set's budget.

    rho_budget    all that may be spent: Rényi divergence at `order`
    rho_spent     what has been committed, or settled
    rho_reserved  what open runs may still commit
    entries       how many lines the ledger has; head is the hash of the last
    """

    name: str
    fingerprint: str | None
    unit: str
    relation: str
    delta: float
    epsilon: float
    order: float
    rho_budget: float
    rho_spent: float
    rho_reserved: float
    runs: tuple[Charge, ...]
    exposures: tuple[Exposure, ...]
    children: tuple[Child, ...]
    created: float
    entries: int
    head: str
    exact_left: int = field(repr=False)

    @property
    def rho_left(self) -> float:
        """Negative when more is charged, by imports or since the budget was lowered."""
        return inexact(self.exact_left)

    @property
    def exposed(self) -> bool:
        """Whether a run without privacy has made epsilon infinite."""
        return bool(self.exposures)

    @property
    def exposed_by(self) -> str:
        """In words, the first run that made epsilon infinite; empty when none did."""
        if not self.exposures:
            return ""
        first = self.exposures[0]
        day = time.strftime("%Y-%m-%d", time.localtime(first.at))
        return (
            f"{self.name} is exposed: nothing is left to protect by {first.run}"
            f" ({first.recipe}: {first.reason}) on {day}"
        )

    def fits(self, rho: float) -> int:
        """How many further steps of this cost the budget admits."""
        return max(0, self.exact_left // exact(rho)) if math.isfinite(rho) else 0

    def more(self, cost: float) -> int:
        """How many further runs of this divergence each the budget admits, one after the other."""
        return int(self.rho_left / cost) if 0 < cost <= self.rho_left else 0
