"""A data set's budget is made and changed: what makes none is refused, what is odd is said."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from traindeck.core.base.errors import BudgetRefused, UsageError
from traindeck.core.base.home import Home
from traindeck.core.base.nearest import did_you_mean
from traindeck.core.privacy.bounds import at_least, at_most
from traindeck.core.privacy.gate import tend
from traindeck.core.privacy.ledger import ledgers
from traindeck.core.privacy.ledger.filter import exact, inexact
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.mechanism import PUBLIC_OWNERS, RELATIONS, relation_of
from traindeck.core.privacy.plan import usual_delta
from traindeck.core.recipe.accounting import UNITS
from traindeck.core.recipe.find import shelf
from traindeck.core.recipe.recipe import Recipe

LARGE_EPSILON = 20.0
LARGE_DELTA = 1e-3


def concerns(
    home: Home, name: str, epsilon: float, delta: float, unit: str = "example"
) -> list[str]:
    """What speaks against a budget that is about to be made, by the recipes that are known.

    Raises UsageError for a delta at which no recipe could train on that data set.
    """
    recipes = [form for one in shelf(home)[0] for form in one.forms() if form.dataset]
    whole = _divided(name, recipes)
    records = [
        one.accounting.records
        for one in recipes
        if one.accounting
        and one.accounting.unit == unit
        and one.dataset.lower() == whole.lower()
        and one.accounting.of.lower() in ("", whole.lower())  # else the bound is another data set's
    ]
    if records and delta >= 1 / min(records):
        raise UsageError(
            f"delta: {delta:g} is not below 1/{min(records)}, which its recipes' number of records"
            f" asks for: one record could be published whole within it. The largest is just below"
            f" {at_least(1 / min(records))}, {usual_delta(min(records)):g} is usual"
        )
    doubts = []
    known = sorted({one.dataset for one in recipes})
    if whole.lower() not in map(str.lower, known):
        likely = did_you_mean(name, known)
        doubts.append(
            f"no recipe here trains on a data set called {name}"
            f" ({f'{likely} ' if likely else ''}known: {', '.join(known)}): only one"
            " that names it so will spend this budget; `traindeck budget rm` takes it back"
        )
    if not records and delta >= LARGE_DELTA:
        doubts.append(
            f"delta {delta:g} is large: it must be below 1 over the number of records, else one"
            " could be published whole within it; 1e-05 is usual"
        )
    if epsilon > LARGE_EPSILON:
        doubts.append(f"epsilon {epsilon:g} is large: it promises next to nothing")
    return doubts


def _divided(name: str, recipes: Iterable[Recipe]) -> str:
    """The data set that a federation divides and `name` is one owner's part of; else the name.

    So `mnist` for `mnist.owner-2`.
    """
    divided = [one.dataset for one in recipes if "owners" in one.params]
    return next((one for one in divided if name.lower().startswith(f"{one.lower()}.")), name)


def check(
    home: Home, name: str, epsilon: float, delta: float, unit: str, fingerprint: str | None
) -> None:
    """Raises UsageError for what makes no budget, whatever recipes there are."""
    Ledger(home.ledger, name)  # its name
    if not (0 < epsilon < math.inf):
        raise UsageError(f"epsilon: {epsilon:g} is not a budget: it must be above 0 and finite")
    if not 0 < delta < 1:
        raise UsageError(f"delta: {delta:g} is not between 0 and 1")
    if unit not in UNITS:
        raise UsageError(f"unit: {unit!r} is none; a unit is example, user or owner")
    if fingerprint is not None and not re.fullmatch(r"[0-9a-f]{64}", fingerprint):
        raise UsageError("fingerprint: it is 64 hexadecimal digits, the SHA-256 of the data")


def create(
    home: Home,
    name: str,
    epsilon: float,
    delta: float,
    unit: str,
    fingerprint: str | None,
    why: str = "",
    relation: str | None = None,
) -> Ledger:
    """Give a data set a budget, and charge it with the runs that go on (`in_flight`).

    Raises UsageError, and BudgetRefused when it has one already or would not cover those runs.
    """
    from traindeck.core.privacy import accountant, in_flight

    check(home, name, epsilon, delta, unit, fingerprint)
    relation = relation or relation_of(unit)
    if relation not in RELATIONS or (relation == PUBLIC_OWNERS) != (unit == "owner"):
        fitting = [one for one in RELATIONS if (one == PUBLIC_OWNERS) == (unit == "owner")]
        raise UsageError(
            f"relation: {relation!r} is none for one {unit}; one is {' or '.join(fitting)}"
        )
    try:
        order = accountant.best_order(epsilon, delta)
    except ValueError as error:
        raise UsageError(str(error)) from None
    home.make()
    ledger = ledgers.create(
        home.ledger,
        name,
        epsilon=epsilon,
        delta=delta,
        order=order,
        rho_budget=accountant.rho_budget(epsilon, delta, order),
        unit=unit,
        relation=relation,
        fingerprint=fingerprint,
        why=why,
        covers=lambda account: in_flight.check(in_flight.live(home, name), account),
    )
    # Those that have begun since are among them, and what the others have taken is written down.
    in_flight.charge(ledger, in_flight.live(home, name))
    return ledger


def change(ledger: Ledger, epsilon: float, why: str = "", *, below: bool = False) -> None:
    """Give it another budget; what was spent stays spent. One of 0 admits nothing more.

    below  it may be less than what is spent and reserved: open runs then end at their next steps

    Raises UsageError, and BudgetRefused for one that is below without saying so.
    """
    from traindeck.core.privacy import accountant

    tend(ledger)
    account = ledger.account()
    name, order = account.name, account.order
    if not 0 <= epsilon < math.inf:
        raise UsageError(f"epsilon: {epsilon:g} must be above 0 and finite; 0 freezes the budget")
    budget = accountant.rho_budget(epsilon, account.delta, order) if epsilon else 0.0
    if epsilon and budget <= 0:
        least = at_most(accountant.epsilon_budget(0.0, account.delta, order) + 1e-3)
        raise UsageError(
            f"epsilon: {epsilon:g} is too little for the budget of {name}, whose filter was fixed"
            f" for larger ones when it was made (order {order:g}): the least is {least};"
            " 0 freezes it"
        )
    charged = exact(account.rho_budget) - account.exact_left
    if exact(budget) < charged and not below:
        needed = at_most(accountant.epsilon_budget(inexact(charged), account.delta, order))
        raise BudgetRefused(
            f"epsilon: {epsilon:g} is below the {needed} that is spent and reserved of the budget"
            f" of {name}: with --yes nothing more is admitted, and runs that go on end as"
            " over_budget at their next steps"
        )
    ledger.set_budget(epsilon, budget, why)
