"""What launching a recipe, once or many times, would cost of a budget and leave of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from traindeck.core.base.errors import BudgetRefused
from traindeck.core.base.home import Home
from traindeck.core.privacy.bounds import or_null
from traindeck.core.privacy.gate import account_now, check_named, ledger_for, refusal, remaining
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.origin import Inherited, inherited
from traindeck.core.privacy.plan import Plan, make
from traindeck.core.recipe.params import Value
from traindeck.core.recipe.recipe import Recipe


@dataclass(frozen=True, slots=True)
class BudgetForecast:
    """What runs would take of a data set's budget, in Rényi divergence of the filter's order.

    name            the data set that has the budget
    epsilon_budget  all that it admits, at delta
    exposed         in words, the run that made its epsilon infinite; empty when none did
    rho_budget      the same as a divergence
    rho_cost        what one of the runs takes; infinite without noise
    rho_left        what is left before them
    refused         why one of them would not be admitted; empty when it would
    refused_short   the same in one line, where there is one
    fits            whether all of them would be
    more_such_runs  how many of them would be, one after the other
    """

    name: str
    epsilon_budget: float
    delta: float
    exposed: str
    order: float
    rho_budget: float
    rho_cost: float
    rho_left: float
    refused: str
    refused_short: str
    fits: bool
    more_such_runs: int

    def to_json(self) -> dict[str, Any]:
        """An infinite cost is null."""
        return asdict(self) | {"rho_cost": or_null(self.rho_cost)}


@dataclass(frozen=True, slots=True)
class Forecast:
    """What so many runs of one plan would cost together.

    recipe         its name
    plan           of each run: its epsilon at its delta, its mechanism, its risk
    runs           how many
    steps_resumed  steps of the plan that a checkpoint holds and the run does not pay for: of
                   budgeted data those that the budget was charged for already
    steps_owed     those that it holds and the budget was never charged for: the run pays them too
    epsilon_all    of all runs together, at the plan's delta; infinite without noise
    epsilon_best_of_random_repeats  were their number random, `runs` on average, and only the best
                   ever shown; None for one run, and without noise
    budget         what becomes of the budget; None when the data set has none
    """

    recipe: str
    plan: Plan
    runs: int
    steps_resumed: int
    steps_owed: int
    epsilon_all: float
    epsilon_best_of_random_repeats: float | None
    budget: BudgetForecast | None

    @property
    def fits(self) -> bool:
        """Whether a budget, if there is one, admits all runs."""
        return self.budget is None or self.budget.fits

    @property
    def risk_in_words(self) -> str:
        """Of one run; empty when it has no privacy."""
        return self.plan.risk.sentence if self.plan.private else ""

    def to_json(self) -> dict[str, Any]:
        """As `budget forecast --json` has it; an infinite epsilon is null."""
        plan, mechanism = self.plan, self.plan.mechanism
        return {
            "recipe": self.recipe,
            "dataset": plan.dataset,
            "epsilon": or_null(plan.epsilon),
            "delta": plan.delta,
            "unit": plan.unit,
            "noise_multiplier": mechanism.noise_multiplier,
            "bands": mechanism.bands,
            "sampling_rate": mechanism.sampling_rate,
            "steps": mechanism.steps,
            "steps_resumed": self.steps_resumed,
            "steps_owed": self.steps_owed,
            "accountant": plan.accountant,
            "label": plan.label,
            "risk": self.risk_in_words,
            "runs": self.runs,
            "epsilon_all": or_null(self.epsilon_all),
            "epsilon_best_of_random_repeats": self.epsilon_best_of_random_repeats,
            "budget": self.budget.to_json() if self.budget else None,
        }


def forecast(home: Home, recipe: Recipe, params: Mapping[str, Value], runs: int) -> Forecast | None:
    """What launching a recipe so often would cost and leave; None for one without accounting.

    Raises PlanError, LedgerDamaged and OSError.
    """
    from traindeck.core.privacy import accountant

    values = recipe.validate(params)
    plan = make(recipe, values)
    if plan is None:
        return None
    earlier = inherited(values, "", home.root)
    best = None
    if runs > 1 and math.isfinite(plan.epsilon):
        best = accountant.repeat_and_select(plan.mechanism, plan.delta, runs)
    ledger = ledger_for(home.ledger, recipe.chosen(values))
    resumed = held = min(earlier.steps, plan.mechanism.steps)
    if ledger is not None:
        resumed = earlier.paid_steps(account_now(ledger), plan.mechanism)
    return Forecast(
        recipe=recipe.name,
        plan=plan,
        runs=runs,
        steps_resumed=min(resumed, held),
        steps_owed=max(0, held - resumed),
        epsilon_all=accountant.epsilon([plan.mechanism] * runs, plan.delta),
        epsilon_best_of_random_repeats=best,
        budget=None if ledger is None else _of_budget(ledger, recipe.name, plan, runs, earlier),
    )


def _of_budget(
    ledger: Ledger, recipe: str, plan: Plan, runs: int, earlier: Inherited
) -> BudgetForecast:
    from traindeck.core.privacy import accountant

    account = account_now(ledger)
    left = remaining(plan, earlier.paid_steps(account, plan.mechanism))
    cost = accountant.rho(left, account.order, account.delta) * left.steps
    refused = short = ""
    try:
        check_named(ledger, plan)
        if plan.private and (error := refusal(recipe, plan, account, earlier)):
            refused, short = str(error), error.short
    except BudgetRefused as error:
        refused = str(error)
    return BudgetForecast(
        name=account.name,
        epsilon_budget=account.epsilon,
        delta=account.delta,
        exposed=account.exposed_by,
        order=account.order,
        rho_budget=account.rho_budget,
        rho_cost=cost,
        rho_left=account.rho_left,
        refused=refused,
        refused_short=short,
        fits=plan.private and not refused and cost * runs <= account.rho_left,
        more_such_runs=account.more(cost),
    )
