"""Whether a run may start on a data set that has a privacy budget.

A private run reserves its whole plan before its process starts. Anything else on such a data set
has no finite epsilon: it is refused, unless that is accepted by name, and then recorded.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from traindeck.core.errors import BudgetRefused
from traindeck.core.privacy.plan import SEEDED, Plan
from traindeck.core.procident import Identity

if TYPE_CHECKING:
    from traindeck.core.privacy.ledger import Ledger


def ledger_of(folder: Path, dataset: str) -> Ledger | None:
    """The ledger whose budget this data set spends, its own or its parent's; None if none."""
    if not dataset or not folder.is_dir():
        return None
    from traindeck.core.privacy.ledger import find

    return find(folder, dataset)


def admit(
    ledger: Ledger | None,
    run: str,
    recipe: str,
    plan: Plan | None,
    *,
    accept_no_privacy: bool = False,
    who: Identity | None = None,
) -> None:
    """Reserve a run's plan in a data set's ledger; without a ledger nothing is asked.

    `who` is the process that stands for the run until it is settled. Raises BudgetRefused, and
    OSError or LedgerDamaged when the ledger cannot be used.
    """
    if ledger is None:
        return
    if plan is not None and plan.private:
        from traindeck.core.privacy import accountant

        account = ledger.account()
        _check_fit(plan, account.unit, account.relation, account.name)
        cost = accountant.rho(plan.mechanism, account.order)
        ledger.reserve(
            run, recipe, plan.mechanism, cost, plan.epsilon, who.to_json() if who else None
        )
        return
    why = "no privacy"
    if plan is not None:
        why = SEEDED if plan.seeded else "epsilon infinite"
    if not accept_no_privacy:
        raise BudgetRefused(
            f"{ledger.name} has a privacy budget and {recipe} would train on it with {why}: take a"
            " private recipe, or --accept-no-privacy, which is recorded for good"
        )
    ledger.expose(run, recipe, why)


def _check_fit(plan: Plan, unit: str, relation: str, name: str) -> None:
    if plan.unit != unit:
        raise BudgetRefused(
            f"the budget of {name} is for the privacy of one {unit}, this run's is of one"
            f" {plan.unit}: the two cannot be added"
        )
    if plan.relation != relation:
        raise BudgetRefused(
            f"the budget of {name} is for the relation {relation}, this run's is {plan.relation}"
        )
