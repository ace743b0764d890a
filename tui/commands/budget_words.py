"""How a privacy budget is told in the shell: its figures as words and rows."""

from __future__ import annotations

from traindeck.core.privacy.accountant import epsilon_budget
from traindeck.core.privacy.bounds import at_least, at_most, percent
from traindeck.core.privacy.budget_state import BudgetState
from traindeck.core.privacy.ledger.account import Account, Charge
from traindeck.core.privacy.ledger.entries import own_fields
from traindeck.core.privacy.ledger.lines import Entry

WORDS = {"why": "because:", "was": "was epsilon"}


def rows(state: BudgetState) -> list[tuple[str, ...]]:
    """A budget, and below it the data sets that spend it too."""
    account = state.account
    used = account.rho_spent + account.rho_reserved
    share = "exposed" if account.exposed else "" if account.rho_budget else "frozen"
    line = (
        account.name,
        f"{account.epsilon:g}",
        f"{account.delta:g}",
        account.unit,
        epsilon(state.composed.epsilon_pld),
        share or percent(used / account.rho_budget),
        str(len(account.runs) + len(account.exposures)),
    )
    return [line, *((child.name, f"of {child.of}", *[""] * 5) for child in account.children)]


def damaged(name: str) -> list[tuple[str, ...]]:
    """In the place of a budget whose ledger cannot be trusted."""
    return [(name, "damaged", *[""] * 5)]


def facts(state: BudgetState) -> dict[str, str]:
    """What is known of a budget, by what it is called; empty where there is nothing to say."""
    account, composed = state.account, state.composed
    return {
        "exposed": account.exposed_by,
        "data": account.fingerprint or "not pinned yet: the first run does that",
        "budget": f"epsilon {account.epsilon:g} at delta {account.delta:g}"
        f" for one {account.unit} ({account.relation})"
        + ("" if account.rho_budget else ": frozen, it admits nothing more"),
        "filter": _filter(account),
        "overdrawn": _overdrawn(account),
        "PLD": f"epsilon {epsilon(composed.epsilon_pld)} spent, had this schedule been fixed"
        f" in advance ({composed.accountant})",
        "naive sum": "epsilon infinite"
        if account.exposed
        else f"epsilon {epsilon(composed.epsilon_naive)} at delta"
        f" {composed.delta_naive:g}: each run's own epsilon and delta added up",
        "risk": composed.risk_in_words or "not known, see below",
        "lineage": ", ".join(f"{child.name} ({child.kind})" for child in account.children),
        "verified": "the chain is whole" if state.verified else "",
    }


def _filter(account: Account) -> str:
    budget, spent, reserved = account.rho_budget, account.rho_spent, account.rho_reserved
    left = budget - spent - reserved
    in_full = (
        f"[Rényi divergence of order {account.order:g}: {spent:.4g} spent, {reserved:.4g} reserved,"
        f" {left:.4g} of {budget:.4g} left]"
    )
    if account.exposed:
        return f"it limits what private runs add, and protects nothing any more {in_full}"
    if not budget:
        return f"nothing is left {in_full}"
    return (
        f"{percent(spent / budget)} spent, {percent(reserved / budget)} reserved,"
        f" {percent(left / budget, at_least)} left {in_full}"
    )


def _overdrawn(account: Account) -> str:
    """Where more is charged than the budget admits: by what it was made for, no promise holds."""
    if account.rho_left >= 0 or not account.rho_budget:
        return ""
    charged = account.rho_spent + account.rho_reserved
    covers = epsilon_budget(charged, account.delta, account.order)
    return (
        f"more is charged than it admits: epsilon {epsilon(covers)} at delta {account.delta:g}"
        f" covers it, not {account.epsilon:g}"
    )


def charges(account: Account) -> list[tuple[str, ...]]:
    """A budget's runs, and below them those that exposed it."""
    return [
        *(_charge(account, run) for run in account.runs),
        *(
            (one.run, one.recipe, "exposed", *"–––", "all", "infinite", one.reason)
            for one in account.exposures
        ),
    ]


def _charge(account: Account, run: Charge) -> tuple[str, ...]:
    budget = account.rho_budget
    other = "" if run.delta in (None, account.delta) else f" at delta {run.delta:g}"
    return (
        run.id,
        run.recipe,
        run.state,
        str(run.reserved),
        str(run.committed),
        "–" if run.settled is None else str(run.settled),
        percent(run.divergence / budget) if budget else "–",
        epsilon(run.epsilon) + other,
        run.quarantined,
    )


def details(entry: Entry) -> str:
    """What a ledger's entry says in its own fields."""
    words = [f"{WORDS.get(key, key)} {value}" for key, value in own_fields(entry).items()]
    if "mechanism" in entry:
        one = entry["mechanism"]
        bands = f" in {one['bands']} bands" if "bands" in one else ""
        words.append(f"noise {one['noise_multiplier']:g}{bands}, q {one['sampling_rate']:.4g}")
    return ", ".join(words)


def epsilon(value: float) -> str:
    return at_most(value, 4)
