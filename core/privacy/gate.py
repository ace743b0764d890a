"""Whether a run may start on a data set that has a privacy budget.

A private run reserves its whole plan before its process starts. Anything else on such a data set
has no finite epsilon: it is refused, unless that is accepted by name, and then recorded.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from traindeck.core.errors import BudgetRefused
from traindeck.core.home import Home
from traindeck.core.privacy.plan import SEEDED, Plan
from traindeck.core.procident import Identity
from traindeck.core.run import RunFolder
from traindeck.core.state import ENDED

if TYPE_CHECKING:
    from traindeck.core.privacy.account import Account, Charge
    from traindeck.core.privacy.ledger import Ledger


def ledger_of(folder: Path, dataset: str, fingerprint: str | None = None) -> Ledger | None:
    """The ledger whose budget this data set spends, its own or its parent's; None if none.

    With a fingerprint of its contents, also that of the same data under another name.
    """
    if not dataset or not folder.is_dir():
        return None
    from traindeck.core.privacy.ledger import find

    return find(folder, dataset, fingerprint)


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
    tend(ledger)
    if plan is not None and plan.private:
        from traindeck.core.privacy import accountant

        account = ledger.account()
        check_fit(plan, account)
        cost = accountant.rho(plan.mechanism, account.order)
        if not math.isfinite(cost):
            raise BudgetRefused(f"no bound on what a step of {recipe} costs can be computed")
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


def tend(ledger: Ledger) -> None:
    """Settle the runs that ended without doing so themselves: their processes were killed.

    Raises LedgerDamaged, and OSError when the ledger cannot be written.
    """
    home = Home(ledger.folder.parent)
    for run in ledger.account().runs:
        if run.open and (state := _ended(home, run)):
            ledger.settle(run.id, state)


def _ended(home: Home, run: Charge) -> str:
    """How an open run has ended; empty while it goes on."""
    if run.who is not None:
        return "" if Identity.from_json(run.who).alive() else "lost"
    folder = next((f for f in (home.runs / run.id, home.trash / run.id) if f.is_dir()), None)
    if folder is None:
        return "lost"
    state = RunFolder(folder).state()[0]
    return state if state in ENDED else ""


def check_fit(plan: Plan, account: Account) -> None:
    """Raises BudgetRefused for a plan whose guarantee is not of the budget's kind."""
    name = account.name
    if plan.unit != account.unit:
        raise BudgetRefused(
            f"the budget of {name} is for the privacy of one {account.unit}, this run's is of one"
            f" {plan.unit}: the two cannot be added"
        )
    if plan.relation != account.relation:
        raise BudgetRefused(
            f"the budget of {name} is for the relation {account.relation}, this run's is"
            f" {plan.relation}"
        )
    if account.delta >= 1 / plan.records:
        raise BudgetRefused(
            f"the budget of {name} is at delta {account.delta:g}, which is not below"
            f" 1/{plan.records}: one record in each data set could be published whole within it"
        )
