"""A data set's budget as people see it: what is spent of it, what is left, and by whom.

Three numbers stand beside each other. The filter's divergence is what admits and refuses runs, for
people choose the next run after seeing the last. The PLD epsilon is what the same runs cost had the
whole schedule been fixed in advance. The naive sum adds up the epsilons, and so the deltas.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from traindeck.core.base.files import read_json, write_json
from traindeck.core.base.home import Home
from traindeck.core.privacy.bounds import or_null
from traindeck.core.privacy.gate import account_now
from traindeck.core.privacy.ledger.account import Account, Charge
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.ledger.ledgers import shown
from traindeck.core.privacy.ledger.lines import Problem
from traindeck.core.privacy.mechanism import Mechanism
from traindeck.core.privacy.risk import FIXED_IN_ADVANCE, Risk, risk

KEPT_AS_OF = 2
"""Of what is kept beside a ledger: figures and words of an earlier accounting are made anew."""


@dataclass(frozen=True, slots=True)
class Composed:
    """What all that was released on a budget comes to.

    epsilon_pld    at the budget's delta, had the schedule been fixed in advance
    epsilon_naive  each run's own epsilon added up, at `delta_naive`: as many times the delta
    accountant     which one composed it
    risk           None where a run was exposed, or does not do what it claims

    Both epsilons are infinite once a run was exposed. All but the filter supposes a schedule that
    was fixed in advance.
    """

    epsilon_pld: float
    epsilon_naive: float
    delta_naive: float
    accountant: str
    risk: Risk | None

    @property
    def risk_in_words(self) -> str:
        """With what it supposes; empty where it is not known."""
        return f"{FIXED_IN_ADVANCE}, {self.risk.sentence}" if self.risk else ""

    def to_json(self) -> dict[str, Any]:
        """As it is kept beside the ledger; an infinite epsilon is null."""
        return {
            "accountant": self.accountant,
            "pld": or_null(self.epsilon_pld),
            "naive": or_null(self.epsilon_naive),
            "naive_delta": self.delta_naive,
            "risk": self.risk.to_json() if self.risk else None,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Composed:
        """The inverse of `to_json`. Raises KeyError or TypeError for anything else."""
        return cls(
            _bound(data["pld"]),
            _bound(data["naive"]),
            _bound(data["naive_delta"]),
            data["accountant"],
            None if data["risk"] is None else Risk.from_json(data["risk"]),
        )


@dataclass(frozen=True, slots=True)
class BudgetState:
    """Everything about a data set's budget, at one moment.

    account   who has spent what of it, in Rényi divergence at the filter's order; fingerprints as
              they may leave the home
    composed  what that is as an epsilon
    problems  what is wrong with the ledger; the next writer mends all of it
    """

    account: Account
    composed: Composed
    problems: tuple[Problem, ...]

    @property
    def verified(self) -> bool:
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """As `budget show --json` has it; an infinite epsilon is null."""
        account, composed = self.account, self.composed
        return {
            "name": account.name,
            "fingerprint": account.fingerprint,
            "unit": account.unit,
            "relation": account.relation,
            "delta": account.delta,
            "epsilon_budget": account.epsilon,
            "filter": {
                "order": account.order,
                "rho_budget": account.rho_budget,
                "rho_spent": account.rho_spent,
                "rho_reserved": account.rho_reserved,
            },
            "epsilon_spent_pld": or_null(composed.epsilon_pld),
            "epsilon_naive_sum": or_null(composed.epsilon_naive),
            "delta_naive_sum": composed.delta_naive,
            "accountant": composed.accountant,
            "risk": composed.risk.to_json() if composed.risk else None,
            "risk_supposes": FIXED_IN_ADVANCE if composed.risk else "",
            "exposed": account.exposed_by,
            "exposures": [asdict(one) for one in account.exposures],
            "lineage": [asdict(one) for one in account.children],
            "runs": [_charge(run) for run in account.runs],
            "verified": self.verified,
        }


def describe(home: Home, ledger: Ledger) -> BudgetState:
    """What a budget comes to now, whatever the ledger says of runs that were killed since.

    Raises LedgerDamaged and OSError.
    Composing takes the accountant; what it says is kept beside the ledger until that changes.
    """
    account = account_now(ledger)
    composed = _composed(home, account)
    children = (
        replace(child, fingerprint=shown(ledger.folder, child.fingerprint))
        for child in account.children
    )
    account = replace(
        account,
        fingerprint=shown(ledger.folder, account.fingerprint),
        children=tuple(children),
    )
    return BudgetState(account, composed, tuple(ledger.verify()))


def _charge(run: Charge) -> dict[str, Any]:
    return {
        "id": run.id,
        "recipe": run.recipe,
        "state": run.state,
        "mechanism": run.mechanism.to_json(),
        "epsilon_planned": run.epsilon,
        "delta": run.delta,
        "rho": run.rho,
        "rho_charged": run.divergence,
        "reserved": run.reserved,
        "committed": run.committed,
        "settled": run.settled,
        "quarantined": run.quarantined,
    }


def _composed(home: Home, account: Account) -> Composed:
    """What has been spent, from the cache while that is true."""
    path = home.ledger / f"{account.name}.composed.json"
    kept = read_json(path) or {}
    if kept.get("head") == account.head and kept.get("as_of") == KEPT_AS_OF:
        with contextlib.suppress(KeyError, TypeError):  # one of an earlier version
            return Composed.from_json(kept)
    composed = _compose(account)
    with contextlib.suppress(OSError):
        write_json(path, {"head": account.head, "as_of": KEPT_AS_OF, **composed.to_json()})
    return composed


def _compose(account: Account) -> Composed:
    from traindeck.core.privacy import accountant

    spent = [run.mechanism.with_steps(run.released) for run in account.runs if run.released]
    bound = accountant.bound(spent, account.delta)
    relied = not account.exposed and not any(run.quarantined for run in account.runs)
    return Composed(
        math.inf if account.exposed else bound.epsilon,
        math.inf if account.exposed else _naive_sum(spent, account.delta),
        len(spent) * account.delta,
        bound.accountant,
        risk(spent) if relied else None,
    )


def _naive_sum(spent: Iterable[Mechanism], delta: float) -> float:
    """Each run's own epsilon at the budget's delta, added up; so add up the deltas."""
    from traindeck.core.privacy import accountant

    counts = Counter(spent)
    return sum(count * accountant.epsilon([one], delta) for one, count in counts.items())


def _bound(value: object) -> float:
    if value is None:
        return math.inf
    if not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return value
