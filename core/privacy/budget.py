"""A data set's budget as people see it: what is spent, what is left, what would fit.

Three numbers stand beside each other. The filter's divergence is what admits and refuses runs, for
people choose the next run after seeing the last. The PLD epsilon is what the same runs cost had the
whole schedule been fixed in advance. The naive sum adds up the epsilons, and so the deltas.
"""

from __future__ import annotations

import contextlib
import difflib
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from traindeck.core.base.errors import BudgetRefused, UsageError
from traindeck.core.base.files import read_json, write_json
from traindeck.core.base.home import Home
from traindeck.core.privacy.gate import check_named, ledger_for, refusal, remaining, resumed_steps
from traindeck.core.privacy.ledger import ledgers
from traindeck.core.privacy.ledger.account import Account
from traindeck.core.privacy.ledger.filter import exact, inexact
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.mechanism import RELATION, Mechanism
from traindeck.core.privacy.plan import SEEDED, make, usual_delta
from traindeck.core.privacy.report import NO_NOISE, at_least, at_most
from traindeck.core.recipe.find import shelf
from traindeck.core.recipe.params import Value
from traindeck.core.recipe.recipe import UNITS, Recipe

LARGE_EPSILON = 20.0
LARGE_DELTA = 1e-3


def concerns(home: Home, name: str, epsilon: float, delta: float) -> list[str]:
    """What speaks against a budget that is about to be made, by the recipes that are known.

    Raises UsageError for a delta at which no recipe could train on that data set.
    """
    recipes = [form for one in shelf(home)[0] for form in one.forms() if form.dataset]
    whole = _divided(name, recipes)
    records = [
        one.accounting.records
        for one in recipes
        if one.accounting and one.dataset.lower() == whole.lower()
    ]
    if records and delta >= 1 / min(records):
        raise UsageError(
            f"delta: {delta:g} is not below 1/{min(records)}, which its recipes' number of records"
            f" asks for: one record could be published whole within it. The largest is just below"
            f" {at_least(1 / min(records))}, {usual_delta(min(records)):g} is usual"
        )
    told = []
    known = sorted({one.dataset for one in recipes})
    if whole.lower() not in map(str.lower, known):
        near = difflib.get_close_matches(name.lower(), known, 1)
        told.append(
            f"no recipe here trains on a data set called {name}"
            f" ({f'did you mean {near[0]}? ' if near else ''}known: {', '.join(known)}): only one"
            " that names it so will spend this budget; `traindeck budget rm` takes it back"
        )
    if not records and delta >= LARGE_DELTA:
        told.append(
            f"delta {delta:g} is large: it must be below 1 over the number of records, else one"
            " could be published whole within it; 1e-05 is usual"
        )
    if epsilon > LARGE_EPSILON:
        told.append(f"epsilon {epsilon:g} is large: it promises next to nothing")
    return told


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
) -> Ledger:
    """Give a data set a budget. Raises UsageError, and TraindeckError when it has one already."""
    from traindeck.core.privacy import accountant

    check(home, name, epsilon, delta, unit, fingerprint)
    try:
        order = accountant.best_order(epsilon, delta)
    except ValueError as error:
        raise UsageError(str(error)) from None
    home.make()
    return ledgers.create(
        home.ledger,
        name,
        epsilon=epsilon,
        delta=delta,
        order=order,
        rho_budget=accountant.rho_budget(epsilon, delta, order),
        unit=unit,
        relation=RELATION,
        fingerprint=fingerprint,
        why=why,
    )


def change(ledger: Ledger, epsilon: float, why: str = "", *, below: bool = False) -> None:
    """Give it another budget; what was spent stays spent. One of 0 admits nothing more.

    below  it may be less than what is spent and reserved: open runs then end at their next steps

    Raises UsageError, and BudgetRefused for one that is below without saying so.
    """
    from traindeck.core.privacy import accountant

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


def describe(home: Home, ledger: Ledger) -> dict[str, Any]:
    """Everything about a budget for `budget show --json`. Raises LedgerDamaged and OSError.

    Composing takes the accountant; what it found is kept beside the ledger until that changes.
    """
    account = ledger.account()
    composed = _composed(home, account)
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
        "epsilon_spent_pld": composed["pld"],
        "epsilon_naive_sum": composed["naive"],
        "delta_naive_sum": composed["naive_delta"],
        "accountant": composed["accountant"],
        "risk": composed["risk"],
        "exposed": account.exposed_by,
        "exposures": [dict(one) for one in account.exposures],
        "lineage": [dict(one) for one in account.children],
        "runs": [
            {
                "id": run.id,
                "recipe": run.recipe,
                "state": run.state,
                "mechanism": run.mechanism.to_json(),
                "epsilon_planned": run.epsilon,
                "delta": run.delta,
                "rho": run.rho,
                "rho_charged": inexact(run.cost(run.charged)),
                "reserved": run.reserved,
                "committed": run.committed,
                "settled": run.settled,
                "quarantined": run.quarantined,
            }
            for run in account.runs
        ],
        "verified": not ledger.verify(),
    }


def forecast(
    home: Home, recipe: Recipe, params: Mapping[str, Value], runs: int
) -> dict[str, Any] | None:
    """What launching a recipe so often would cost and leave; None for one without accounting.

    Raises PlanError, LedgerDamaged and OSError.
    """
    from traindeck.core.privacy import accountant

    values = recipe.validate(params)
    plan = make(recipe, values)
    if plan is None:
        return None
    mechanism = plan.mechanism
    earlier = resumed_steps(values)
    found: dict[str, Any] = {
        "recipe": recipe.name,
        "dataset": plan.dataset,
        "epsilon": _finite(plan.epsilon),
        "delta": plan.delta,
        "unit": plan.unit,
        "noise_multiplier": mechanism.noise_multiplier,
        "sampling_rate": mechanism.sampling_rate,
        "steps": mechanism.steps,
        "steps_resumed": min(earlier, mechanism.steps),
        "accountant": plan.accountant,
        "label": SEEDED if plan.seeded else "" if plan.private else NO_NOISE,
        "risk": plan.risk["sentence"] if plan.private else "",
        "runs": runs,
        "epsilon_all": _finite(accountant.epsilon([mechanism] * runs, plan.delta)),
        "epsilon_best_of_random_repeats": None,
        "budget": None,
    }
    if runs > 1 and math.isfinite(plan.epsilon):
        repeated = accountant.repeat_and_select(mechanism, plan.delta, runs)
        found["epsilon_best_of_random_repeats"] = repeated
    ledger = ledger_for(home.ledger, recipe.chosen(values))
    if ledger is not None:
        account = ledger.account()
        refused = ""
        left = remaining(plan, earlier)
        cost = accountant.rho(left, account.order) * left.steps
        try:
            check_named(ledger, plan)
            if plan.private and (error := refusal(recipe.name, plan, account, earlier)):
                refused = str(error)
        except BudgetRefused as error:
            refused = str(error)
        found["budget"] = {
            "name": account.name,
            "epsilon_budget": account.epsilon,
            "delta": account.delta,
            "exposed": account.exposed_by,
            "order": account.order,
            "rho_budget": account.rho_budget,
            "rho_cost": _finite(cost),
            "rho_left": account.rho_left,
            "refused": refused,
            "fits": plan.private and not refused and cost * runs <= account.rho_left,
            "more_such_runs": int(account.rho_left / cost) if 0 < cost <= account.rho_left else 0,
        }
    return found


def _composed(home: Home, account: Account) -> dict[str, Any]:
    """PLD epsilon, naive sum and risk of what has been spent, from the cache while it is true.

    There is no risk to name where a run was exposed, or does not do what it claims.
    """
    path = home.ledger / f"{account.name}.composed.json"
    known = read_json(path) or {}
    if known.get("head") == account.head and "naive_delta" in known:
        return known
    from traindeck.core.privacy import accountant
    from traindeck.core.privacy.risk import risk

    spent = [run.mechanism.with_steps(run.released) for run in account.runs if run.released]
    relied = not account.exposed and not any(run.quarantined for run in account.runs)
    found = {
        "head": account.head,
        "accountant": accountant.name(),
        "pld": None if account.exposed else accountant.epsilon(spent, account.delta),
        "naive": None if account.exposed else _naive_sum(spent, account.delta),
        "naive_delta": len(spent) * account.delta,
        "risk": risk(spent).to_json() if relied else None,
    }
    with contextlib.suppress(OSError):
        write_json(path, found)
    return found


def _naive_sum(spent: list[Mechanism], delta: float) -> float:
    """Each run's own epsilon at the budget's delta, added up; so add up the deltas."""
    from traindeck.core.privacy import accountant

    counts = Counter(spent)
    return sum(count * accountant.epsilon([one], delta) for one, count in counts.items())


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
