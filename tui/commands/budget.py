"""`traindeck budget …`: what may be learned about a data set, and what has been."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from traindeck.core.base.errors import FAILED, UsageError
from traindeck.tui.commands.budget_forecast import forecast
from traindeck.tui.commands.budget_histories import bring, export
from traindeck.tui.commands.output import AS_JSON, print_json, print_table, say, tell
from traindeck.tui.commands.statement import statement

if TYPE_CHECKING:
    from traindeck.core.privacy.ledger.ledger import Ledger

Why = Annotated[
    str, typer.Option("--reason", help="Why, for the ledger, which also keeps who and when.")
]
Name = Annotated[str, typer.Argument(help="A data set, as recipes call it: mnist, cancer …")]
FINGERPRINT_SECONDS = 120


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Privacy budgets of data sets.")
    for command in (create, ls, show, history, verify, export, forecast, derive, statement):
        group.command(command.__name__)(command)
    group.command("set")(change)
    group.command("import")(bring)
    group.command("rm")(remove)
    app.add_typer(group, name="budget")


def create(
    name: Name,
    epsilon: Annotated[float, typer.Option(help="All that may ever be spent.")],
    delta: Annotated[float, typer.Option(help="Below 1 over the number of records.")],
    unit: Annotated[str, typer.Option(help="Whose privacy: example, user or owner.")] = "example",
    fingerprint: Annotated[
        str | None, typer.Option(help="SHA-256 of the training data's contents.")
    ] = None,
    relation: Annotated[
        str | None,
        typer.Option(help="add-or-remove-one (usual), or zero-out: what shuffled batches need."),
    ] = None,
    reason: Why = "",
) -> None:
    """Give a data set a privacy budget; unit, delta and relation never change afterwards."""
    from traindeck.core.base.home import Home
    from traindeck.core.privacy import accountant, budget
    from traindeck.core.privacy.bounds import at_least
    from traindeck.core.privacy.ledger.ledger import Ledger

    home = Home.default()
    known = fingerprint
    budget.check(home, name, epsilon, delta, unit, fingerprint)
    for concern in budget.concerns(home, name, epsilon, delta, unit):
        say(f"warning: {concern}")
    if fingerprint is None and not Ledger(home.ledger, name).exists:
        known = _fingerprint(name)
    ledger = budget.create(home, name, epsilon, delta, unit, known, reason, relation)
    account = ledger.account()
    fills = accountant.fills(account.rho_budget, delta, account.order)
    tell(
        f"{name} has a privacy budget of epsilon {epsilon:g} at delta {delta:g} for one {unit},"
        f" kept in {ledger.path}: for this home alone, no other home, user or machine knows of it"
    )
    for run in account.runs:
        tell(
            f"run {run.id} ({run.recipe}) goes on: the {run.committed:,} steps it has taken are"
            f" charged, and its whole plan of epsilon {run.epsilon:.4g} is reserved"
        )
    tell(
        f"it admits one run of about epsilon {at_least(fills)}, or several smaller ones: the rest"
        " is what it takes to let each run be chosen after the last was seen"
        f" [filter of order {account.order:g}, Rényi divergence {account.rho_budget:.4g}]"
    )
    if known is None:
        say(f"its data is not here to be looked at: the first run on {name} says which data it is")


def ls(as_json: Annotated[bool, AS_JSON] = False) -> None:
    """List the budgets and what is left of them."""
    from traindeck.core.base.home import Home
    from traindeck.core.privacy.budget_state import BudgetState, describe
    from traindeck.core.privacy.ledger.book import LedgerDamaged
    from traindeck.core.privacy.ledger.ledgers import ledgers
    from traindeck.tui.commands.budget_words import damaged, rows

    home = Home.default()
    budgets: dict[str, BudgetState | LedgerDamaged] = {}
    for ledger in ledgers(home.ledger):
        try:
            budgets[ledger.name] = describe(home, ledger)
        except LedgerDamaged as error:
            budgets[ledger.name] = error
    if as_json:
        print_json(
            [
                {"name": name, "verified": False, "problem": str(each)}
                if isinstance(each, LedgerDamaged)
                else each.to_json()
                for name, each in budgets.items()
            ]
        )
        return
    if not budgets:
        say("no budgets yet; `traindeck budget create NAME --epsilon E --delta D` makes one")
        return
    print_table(
        ("DATA SET", "BUDGET ε", "DELTA", "UNIT", "PLD ε", "FILTER USED", "RUNS"),
        (
            row
            for name, each in budgets.items()
            for row in (damaged(name) if isinstance(each, LedgerDamaged) else rows(each))
        ),
    )
    for name, each in budgets.items():
        if isinstance(each, LedgerDamaged):
            say(f"{name}: {each}")
        elif not each.verified:
            say(f"{name}: see `traindeck budget verify`")
        elif each.account.exposed:
            tell(each.account.exposed_by)


def show(name: Name, as_json: Annotated[bool, AS_JSON] = False) -> None:
    """Show a budget: spent, reserved and left, by three ways of adding up, and every run."""
    from traindeck.core.base.home import Home
    from traindeck.core.privacy.budget_state import describe
    from traindeck.tui.commands.budget_words import charges, facts

    home = Home.default()
    ledger = _ledger(name)
    state = describe(home, ledger)
    if as_json:
        print_json(state.to_json())
        return
    account = state.account
    tell(account.name)
    for key, value in facts(state).items():
        if value:
            tell(f"  {key:<10} {value}")
    for problem in state.problems:
        say(f"{account.name}: {problem}")
    for run in account.runs:
        if run.quarantined:
            say(f"{run.id} does not do what it claims ({run.quarantined})")
    for one in account.exposures:
        tell(f"exposed by {one.run} ({one.recipe}): {one.reason}; epsilon is infinite")
    if account.runs or account.exposures:
        print()
        print_table(
            (
                *("RUN", "RECIPE", "STATE", "STEPS", "COMMITTED", "SETTLED"),
                *("CHARGED", "PLANNED ε", "NOTE"),
            ),
            charges(account),
        )


def change(
    name: Name,
    epsilon: Annotated[
        float, typer.Option(help="The budget from now on; 0 freezes it: nothing more is admitted.")
    ],
    reason: Why = "",
    yes: Annotated[
        bool, typer.Option("--yes", help="Also below what is spent and reserved: runs then end.")
    ] = False,
) -> None:
    """Change a budget; what is spent stays spent, and the change is in its history."""
    from traindeck.core.privacy import budget

    ledger = _ledger(name)
    before = ledger.account().epsilon
    budget.change(ledger, epsilon, reason, below=yes)
    if epsilon:
        tell(f"the budget of {ledger.name} is epsilon {epsilon:g} from now on, not {before:g}")
    else:
        tell(
            f"the budget of {ledger.name} is frozen: it admits nothing more, and runs that go on"
            f" end as over_budget at their next steps; `traindeck budget set {ledger.name}"
            f" --epsilon {before:g}` opens it again"
        )


def remove(
    name: Name, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False
) -> None:
    """Take back a budget on which nothing was recorded yet; its ledger is moved aside."""
    ledger = _ledger(name)
    if ledger.dataset != ledger.name:
        raise UsageError(f"{name} spends the budget of {ledger.name}: name that one")
    ledger.check_unused()
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(f"nobody can be asked here; --yes removes the budget of {ledger.name}")
        typer.confirm(f"Remove the budget of {ledger.name}?", abort=True, err=True)
    tell(f"{ledger.name} has no budget any more; its ledger is kept in {ledger.remove()}")


def derive(
    name: Name,
    child: Annotated[str, typer.Argument(help="The data set that was made of it.")],
    kind: Annotated[str, typer.Option(help="subset, or features: one record for each.")] = "subset",
    reason: Why = "",
) -> None:
    """Declare that a data set was made of another one: it spends the other one's budget."""
    from traindeck.core.privacy.ledger import ledgers
    from traindeck.core.privacy.ledger.entries import COPIES, KINDS, is_name

    if kind == COPIES:
        raise UsageError(
            "kind: several records that are made of one are spent together, and a run's epsilon is"
            f" for one: train on {name} itself and augment within the step, where the gradients of"
            " one record's copies are averaged before they are clipped. Where each record is made"
            " into one other, the kind is features"
        )
    if kind not in KINDS:
        raise UsageError(f"kind: {kind!r} is none; a kind is {', '.join(KINDS)}")
    if not is_name(child.lower()):
        raise UsageError(f"{child!r} is no data set's name: letters, digits and . _ - make it")
    ledger = _ledger(name)
    ledgers.derive(ledger, child, kind, why=reason)
    tell(
        f"runs on {child} spend the budget of {ledger.name} from now on: recipes name it by"
        f' dataset = "{child}"'
    )


def history(name: Name, as_json: Annotated[bool, AS_JSON] = False) -> None:
    """Every entry of a ledger, the oldest first."""
    from traindeck.core.privacy.ledger.ledgers import shown_entries
    from traindeck.tui.commands.budget_words import details

    ledger = _ledger(name)
    entries = shown_entries(ledger.folder, ledger.history())
    if as_json:
        print_json(entries)
        return
    print_table(
        ("N", "WHEN", "WHAT", "RUN", "DETAILS"),
        (
            (
                str(entry["n"]),
                time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry["t"])),
                entry["type"],
                str(entry.get("run", "")),
                details(entry),
            )
            for entry in entries
        ),
    )


def verify(
    name: Annotated[str | None, typer.Argument(help="A data set; none: all of them.")] = None,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Check ledgers for torn, changed and missing entries; exits with 1 if there are any."""
    from traindeck.core.base.home import Home
    from traindeck.core.privacy.ledger.ledgers import ledgers

    folder = Home.default().ledger
    chosen = [_known(folder, name)] if name else ledgers(folder, of_runs=True)
    checked = {ledger.name: ledger.verify() for ledger in chosen}
    if as_json:
        print_json(
            [
                {
                    "name": name,
                    "verified": not problems,
                    "problems": [{"line": one.line, "what": one.what} for one in problems],
                }
                for name, problems in checked.items()
            ]
        )
    for name, problems in checked.items():
        for one in problems:
            say(f"{name}: {one}")
        if not problems:
            say(f"{name}: whole")
    if any(checked.values()):
        raise typer.Exit(FAILED)


def _ledger(name: str) -> Ledger:
    from traindeck.core.base.home import Home
    from traindeck.core.privacy.ledger.ledgers import named

    return named(Home.default().ledger, name)


def _known(folder: Path, name: str) -> Ledger:
    """The ledger of a data set, also one that runs alone know of."""
    from traindeck.core.privacy.ledger.ledgers import ledgers, named

    of_runs = {each.name: each for each in ledgers(folder, of_runs=True)}
    return of_runs.get(name.lower()) or named(folder, name)


def _fingerprint(name: str) -> str | None:
    """That of a data set which the built-in recipes know; None when it is not to be had here."""
    import subprocess

    from traindeck.core.base.sanitize import plain

    argv = [sys.executable, "-m", "traindeck.recipes.shared.training.data.datasets", name]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=FINGERPRINT_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        say(plain(lines[-1], 1000) if lines else "")
        return None
    return done.stdout.strip()
