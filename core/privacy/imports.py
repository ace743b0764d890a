"""Runs that were made elsewhere are charged to a budget here."""

from __future__ import annotations

import hashlib
import math

from traindeck.core.base.errors import BudgetRefused, UsageError
from traindeck.core.privacy.histories import History, kinds_of
from traindeck.core.privacy.ledger.account import IMPORTED
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.mechanism import covers, relation_of
from traindeck.core.recipe.accounting import UNITS


def charge(
    ledger: Ledger,
    history: History,
    data: bytes,
    file: str,
    *,
    unit: str = "example",
    name: str = "",
    beyond: bool = False,
    why: str = "",
) -> list[str]:
    """Charge all that a history says was released; returns the ids of the runs that stand for it.

    data    the file's contents, by which it is known when it comes again
    file    its name, for people to read
    unit    whose privacy its noise was for: nothing in a history says that
    name    tells it from another run with the very same history
    beyond  also where it does not fit

    Raises UsageError, BudgetRefused, LedgerDamaged and OSError.
    """
    from traindeck.core.privacy import accountant

    account = ledger.account()
    if unit not in UNITS:
        raise UsageError(f"unit: {unit!r} is none; a unit is {', '.join(UNITS)}")
    if unit != account.unit:
        raise BudgetRefused(
            f"the budget of {account.name} is for the privacy of one {account.unit}, the history is"
            f" imported for one {unit}: --unit {account.unit} where that is what its noise was for"
        )
    if not covers(account.relation, relation_of(unit)):
        raise BudgetRefused(
            f"the budget of {account.name} is for the relation {account.relation}, the history is"
            f" for {relation_of(unit)}"
        )
    here = (run for run in account.runs if run.state != IMPORTED)
    own = kinds_of(run.mechanism.with_steps(run.released) for run in here)
    if set(history.mechanisms) == set(own) and not name:
        raise UsageError(
            f"{file} is what the budget of {account.name} comes to itself: its runs are charged"
            " already. Where it is of others that happen to be alike, --run NAME tells them apart"
        )
    known = f"imported-{hashlib.sha256(data + name.encode()).hexdigest()[:16]}"
    runs = []
    for number, one in enumerate(history.mechanisms, 1):
        rho = accountant.rho(one, account.order)
        if not math.isfinite(rho):
            raise BudgetRefused("no bound on what a step of it costs can be computed")
        run = known if number == 1 else f"{known}.{number}"
        runs.append((run, one, rho, accountant.epsilon([one], account.delta)))
    ledger.import_runs(runs, f"{history.format}: {file}", beyond=beyond, why=why)
    return [run for run, *_ in runs]
