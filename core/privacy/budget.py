"""A data set's budget as people see it: what is spent, what is left, what would fit.

Three numbers stand beside each other. The filter's divergence is what admits and refuses runs, for
people choose the next run after seeing the last. The PLD epsilon is what the same runs cost had the
whole schedule been fixed in advance. The naive sum is what adding up epsilons would say.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from typing import Any

from traindeck.core.errors import BudgetRefused, UsageError
from traindeck.core.files import read_json, write_json
from traindeck.core.home import Home
from traindeck.core.params import Value
from traindeck.core.privacy.account import Account
from traindeck.core.privacy.gate import check_fit
from traindeck.core.privacy.ledger import Ledger, find
from traindeck.core.privacy.mechanism import RELATION, Mechanism
from traindeck.core.privacy.plan import SEEDED, make
from traindeck.core.privacy.report import NO_NOISE
from traindeck.core.recipe import Recipe


def create(
    home: Home, name: str, epsilon: float, delta: float, unit: str, fingerprint: str | None
) -> Ledger:
    """Give a data set a budget. Raises UsageError, and TraindeckError when it has one already."""
    from traindeck.core.privacy import accountant

    if not (0 < epsilon < math.inf):
        raise UsageError(f"epsilon: {epsilon:g} is not a budget: it must be above 0 and finite")
    if not 0 < delta < 1:
        raise UsageError(f"delta: {delta:g} is not between 0 and 1")
    try:
        order = accountant.best_order(epsilon, delta)
    except ValueError as error:
        raise UsageError(str(error)) from None
    home.make()
    return Ledger.create(
        home.ledger,
        name,
        epsilon=epsilon,
        delta=delta,
        order=order,
        rho_budget=accountant.rho_budget(epsilon, delta, order),
        unit=unit,
        relation=RELATION,
        fingerprint=fingerprint,
    )


def change(ledger: Ledger, epsilon: float) -> None:
    """Give it another budget; what was spent stays spent. Raises UsageError."""
    from traindeck.core.privacy import accountant

    account = ledger.account()
    budget = accountant.rho_budget(epsilon, account.delta, account.order)
    if not (math.isfinite(epsilon) and budget > 0):
        raise UsageError(f"epsilon: {epsilon:g} admits nothing at this ledger's order")
    ledger.set_budget(epsilon, budget)


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
        "accountant": composed["accountant"],
        "risk": composed["risk"],
        "exposures": [dict(one) for one in account.exposures],
        "lineage": [dict(one) for one in account.children],
        "runs": [
            {
                "id": run.id,
                "recipe": run.recipe,
                "state": run.state,
                "mechanism": run.mechanism.to_json(),
                "epsilon_planned": run.epsilon,
                "rho": run.rho,
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

    plan = make(recipe, recipe.validate(params))
    if plan is None:
        return None
    mechanism = plan.mechanism
    found: dict[str, Any] = {
        "recipe": recipe.name,
        "dataset": plan.dataset,
        "epsilon": _finite(plan.epsilon),
        "delta": plan.delta,
        "noise_multiplier": mechanism.noise_multiplier,
        "sampling_rate": mechanism.sampling_rate,
        "steps": mechanism.steps,
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
    ledger = find(home.ledger, plan.dataset)
    if ledger is not None:
        account = ledger.account()
        refused = ""
        try:
            check_fit(plan, account)
        except BudgetRefused as error:
            refused = str(error)
        cost = accountant.rho(mechanism, account.order) * mechanism.steps
        found["budget"] = {
            "name": account.name,
            "epsilon_budget": account.epsilon,
            "order": account.order,
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
    if known.get("head") == account.head and "risk" in known:
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
        "risk": risk(spent).to_json() if relied else None,
    }
    with contextlib.suppress(OSError):
        write_json(path, found)
    return found


def _naive_sum(spent: list[Mechanism], delta: float) -> float:
    """Each run's own epsilon at its share of delta, added up (basic composition).

    The shares are of a power of two of runs, so that one more run seldom changes all of them.
    """
    from traindeck.core.privacy import accountant

    share = delta / 2 ** math.ceil(math.log2(max(1, len(spent))))
    counts: dict[Mechanism, int] = {}
    for one in spent:
        counts[one] = counts.get(one, 0) + 1
    return sum(count * accountant.epsilon([one], share) for one, count in counts.items())


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
