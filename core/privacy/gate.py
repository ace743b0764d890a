"""Whether a run may start on a data set that has a privacy budget.

A private run reserves its whole plan before its process starts. Anything else on such a data set
has no finite epsilon: it is refused, unless that is accepted by name, and then recorded.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from traindeck.core.base.errors import BudgetRefused
from traindeck.core.base.home import Home, has_ledgers
from traindeck.core.base.process import Identity
from traindeck.core.privacy.ledger.account import GIVEN_BACK
from traindeck.core.privacy.ledger.entries import COPIES, is_name
from traindeck.core.privacy.ledger.filter import OverBudget, cost_of, over_budget
from traindeck.core.privacy.mechanism import Mechanism, covers
from traindeck.core.privacy.origin import Inherited
from traindeck.core.privacy.plan import SEEDED, Plan, usual_delta
from traindeck.core.privacy.truncation import MOST_EPSILON
from traindeck.core.recipe.recipe import Recipe
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.state import ENDED

if TYPE_CHECKING:
    from traindeck.core.privacy.ledger.account import Account, Charge
    from traindeck.core.privacy.ledger.ledger import Ledger

NOTHING = Inherited()
SWEEP_PLACE = "."
"""Between a sweep's id and a number: what it holds for a run to come."""


def ledger_of(folder: Path, dataset: str, fingerprint: str | None = None) -> Ledger | None:
    """The ledger whose budget this data set spends, its own or its parent's; None if none.

    With a fingerprint of its contents, also that of the same data under another name.
    """
    if not dataset or not has_ledgers(folder):
        return None
    from traindeck.core.privacy.ledger.ledgers import find

    return find(folder, dataset, fingerprint)


def check_paid(folder: Path, plan: Plan) -> None:
    """Raises LedgerDamaged when runs have paid for a data set that has no ledger any more."""
    if is_name(plan.dataset.lower()):
        from traindeck.core.privacy.ledger.ledger import Ledger

        ledger = Ledger(folder, plan.dataset)
        if ledger.is_known:
            ledger.account(everyone=True)


def ledger_for(folder: Path, recipe: Recipe) -> Ledger | None:
    """The ledger that a launch of this recipe, as chosen, spends or is refused by.

    It is that of its data set, by any of the names that the recipe's choices give it.
    """
    ledgers = (ledger_of(folder, name) for name in (recipe.dataset, *recipe.also))
    return next((ledger for ledger in ledgers if ledger is not None), None)


def check_parts(ledgers: Path, run: str, recipe: Recipe, accept_no_privacy: bool) -> None:
    """Ask the budgets that parts of the recipe's data set have of their own, such as its owners'.

    In a federation each owner asks its own. Raises BudgetRefused for any other recipe; where no
    privacy is accepted, the parts are exposed.
    """
    if "owners" in recipe.params or not has_ledgers(ledgers):
        return
    from traindeck.core.privacy.ledger.ledgers import ledgers as all_of

    names = [name.lower() for name in (recipe.dataset, *recipe.also) if name]
    of_parts = tuple(f"{name}{end}." for name in names for end in ("", "-owners"))
    for ledger in all_of(ledgers):
        if not ledger.name.startswith(of_parts):
            continue
        if not accept_no_privacy or recipe.accounting is not None:
            raise BudgetRefused(
                f"{ledger.name} has a privacy budget of its own, and its data is part of"
                f" {recipe.dataset}: {recipe.name} would train on it and pay nothing there. A"
                " federated recipe, in which each owner pays for itself, can; or take other data"
            )
        ledger.expose(run, recipe.name, "no privacy")


def check_named(ledger: Ledger, plan: Plan) -> None:
    """Raises BudgetRefused when a plan's data set has its budget by another name only."""
    account = ledger.account()
    check_fit(plan, account)
    kinds = {child.name: child for child in account.children}
    child = kinds.get(ledger.dataset)
    while child is not None:
        if child.kind == COPIES:
            raise BudgetRefused(
                f"{child.name} was declared to hold several records that were made of one of"
                f" {child.of}: these are spent together, and a run's epsilon is for one. Train on"
                f" {child.of} itself and augment within the step"
            )
        child = kinds.get(child.of)
    if ledger.dataset != plan.dataset.lower():
        raise BudgetRefused(
            f"this data is that of {ledger.name}, which has a privacy budget: it spends that one"
            f" once `traindeck budget derive {ledger.name} {plan.dataset}` says so"
        )


def admit(
    ledger: Ledger | None,
    run: str,
    recipe: str,
    plan: Plan | None,
    *,
    earlier: Inherited = NOTHING,
    accept_no_privacy: bool = False,
    instead: str = "",
    why: str = "",
    who: Identity | None = None,
    place: str = "",
) -> None:
    """Reserve a run's plan in a data set's ledger; without a ledger nothing is asked.

    earlier  steps of the plan that a checkpoint holds: those that the ledger does not hold for the
             runs that took them are reserved too
    instead  what would make a run of this recipe private
    why      the reason that was given for accepting no privacy
    who      the process that stands for the run until it is settled
    place    one that a sweep holds for the run

    Raises BudgetRefused, and OSError or LedgerDamaged when the ledger cannot be used.
    """
    if ledger is None:
        return
    tend(ledger)
    if plan is not None and plan.private:
        from traindeck.core.privacy import accountant

        check_named(ledger, plan)
        account = ledger.account()
        paid = earlier.paid_steps(account, plan.mechanism)
        left = remaining(plan, paid)
        cost = accountant.rho(left, account.order, account.delta)
        if not math.isfinite(cost):
            raise BudgetRefused(f"no bound on what a step of {recipe} costs can be computed")
        epsilon = accountant.epsilon([left], plan.delta) if paid else plan.epsilon
        process = who.to_json() if who else None
        try:
            ledger.reserve(run, recipe, left, cost, epsilon, process, plan.delta, place)
        except OverBudget as error:
            again = refusal(recipe, plan, ledger.account(), earlier)
            raise again or error from None
        return
    lacks = "no privacy"
    if plan is not None and plan.seeded:
        lacks, instead = SEEDED, "leave noise_seed out"
    elif plan is not None:
        lacks, instead = "epsilon infinite, without noise", "give it a finite epsilon"
    if not accept_no_privacy:
        raise _unaccepted(ledger, recipe, lacks, instead)
    ledger.expose(run, recipe, lacks, why)


def use_without_privacy(
    ledgers: Path, run: str, recipe: str, fingerprint: str, accepted: bool
) -> None:
    """Ask whether a run without a plan may train on data of these contents, whatever its name.

    Raises BudgetRefused for budgeted data, unless it was accepted: then the budget is exposed.
    """
    if not has_ledgers(ledgers):
        return
    from traindeck.core.privacy.ledger.ledgers import find

    ledger = find(ledgers, "", fingerprint)
    if ledger is None or any(one.run == run for one in ledger.account().exposures):
        return
    if not accepted:
        raise _unaccepted(ledger, recipe, "no privacy")
    ledger.expose(run, recipe, "no privacy")


def _unaccepted(ledger: Ledger, recipe: str, lacks: str, instead: str = "") -> BudgetRefused:
    return BudgetRefused(
        f"{ledger.name} has a privacy budget and {recipe} would train on it with {lacks}:"
        f" {instead or 'take a private recipe'}, or --accept-no-privacy, which is recorded: the"
        " budget's epsilon is then infinite, for ever"
    )


def remaining(plan: Plan, paid: int) -> Mechanism:
    """What is left to be charged of a plan of which so many steps were paid for."""
    return plan.mechanism.rest(min(paid, plan.mechanism.steps))


def refusal(
    recipe: str, plan: Plan, account: Account, earlier: Inherited = NOTHING
) -> OverBudget | None:
    """Why a plan does not fit into a budget, and which one of this recipe would; None: it fits."""
    from traindeck.core.privacy import accountant

    paid = earlier.paid_steps(account, plan.mechanism)
    left = remaining(plan, paid)
    rho = accountant.rho(left, account.order, account.delta)
    if cost_of(left, rho, left.steps) <= account.exact_left:
        return None
    largest = None
    if not earlier.steps:  # a checkpoint of another noise cannot be taken up
        largest = accountant.largest_epsilon(
            left, plan.delta, account.rho_left, account.order, account.delta
        )
    error = over_budget(
        account.name,
        recipe,
        left,
        rho,
        left=account.exact_left,
        budget=account.rho_budget,
        delta=account.delta,
        order=account.order,
        largest=largest,
    )
    message = str(error)
    if unpaid := min(earlier.steps, plan.mechanism.steps) - paid:
        message += (
            f". The checkpoint holds {unpaid:,} steps that this budget was never charged for: they"
            " count as well"
        )
    if account.rho_budget and plan.epsilon <= account.epsilon:
        message += (
            f". An epsilon of {plan.epsilon:.3g} may not fit into {account.epsilon:g}: the filter"
            " lets each run be chosen after the last was seen, and its order is fixed when the"
            " budget is made. One run alone takes more of it than its epsilon, one unlike those"
            " that it was tuned for, such as one of few steps, much more"
        )
    return OverBudget(message, error.steps, error.short)


def tend(ledger: Ledger) -> None:
    """Settle the runs that ended without doing so themselves: their processes were killed.

    For those who write; who only looks takes `account_now`. Raises LedgerDamaged, and OSError when
    the ledger cannot be written.
    """
    for run in ledger.account(everyone=True).runs:
        if run.open and (state := _ended(ledger, run)):
            ledger.settle(run.id, state)


def account_now(ledger: Ledger) -> Account:
    """What a ledger comes to once `tend` has been at it, without writing anything.

    Raises LedgerDamaged and OSError.
    """
    return ledger.account(partial(_ended, ledger))


def _ended(ledger: Ledger, run: Charge) -> str:
    """How an open run has ended; empty while it goes on, or nobody here can know."""
    home = Home(ledger.folder.parent)
    if run.who is not None:
        who = Identity.from_json(run.who)
        return "" if who.alive() or who.out_of_sight else "lost"
    if SWEEP_PLACE in run.id:
        sweep = home.root / "sweeps" / run.id.partition(SWEEP_PLACE)[0]
        return "" if sweep.is_dir() else GIVEN_BACK
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
            f" {plan.unit}: the two cannot be added, and data has one budget. Another home"
            " (TRAINDECK_HOME) can have one of that unit, which knows nothing of this"
        )
    if not covers(account.relation, plan.relation):
        raise BudgetRefused(
            f"the budget of {name} is for the relation {account.relation}, this run's is"
            f" {plan.relation}: it would promise too little. A budget made with"
            f" `--relation {plan.relation}` admits it"
        )
    if plan.mechanism.sampler == "truncated" and account.epsilon > MOST_EPSILON:
        raise BudgetRefused(
            f"the budget of {name} is one of epsilon {account.epsilon:g}, and truncated sampling is"
            f' priced for budgets up to {MOST_EPSILON:g}: take sampler = "poisson"'
        )
    if account.delta >= 1 / plan.records:
        raise BudgetRefused(
            f"the budget of {name} is at delta {account.delta:g}, which is not below"
            f" 1/{plan.records}: one record in each data set could be published whole within it."
            f" While nothing is recorded, `traindeck budget rm {name}` and"
            f" `traindeck budget create {name} --epsilon {account.epsilon:g} --delta"
            f" {usual_delta(plan.records):g}` mend that"
        )
