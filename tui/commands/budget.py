"""`traindeck budget …`: what may be learned about a data set, and what has been."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from traindeck.core.errors import FAILED, NotFoundError, UsageError
from traindeck.tui.commands.output import AS_JSON, print_json, print_table, say

if TYPE_CHECKING:
    from traindeck.core.privacy.ledger import Ledger

Name = Annotated[str, typer.Argument(help="A data set, as recipes call it: mnist, cancer …")]
FINGERPRINT_SECONDS = 120


def register(app: typer.Typer) -> None:
    group = typer.Typer(no_args_is_help=True, help="Privacy budgets of data sets.")
    for command in (create, ls, show, history, verify, export, forecast, derive):
        group.command(command.__name__)(command)
    group.command("set")(change)
    app.add_typer(group, name="budget")


def create(
    name: Name,
    epsilon: Annotated[float, typer.Option(help="All that may ever be spent.")],
    delta: Annotated[float, typer.Option(help="Below 1 over the number of records.")],
    unit: Annotated[str, typer.Option(help="Whose privacy: example, user or owner.")] = "example",
    fingerprint: Annotated[
        str | None, typer.Option(help="SHA-256 of the training data's contents.")
    ] = None,
) -> None:
    """Give a data set a privacy budget; unit, delta and relation never change afterwards."""
    from traindeck.core.home import Home
    from traindeck.core.privacy import budget

    known = fingerprint or _fingerprint(name)
    ledger = budget.create(Home.default(), name, epsilon, delta, unit, known)
    account = ledger.account()
    say(
        f"{name} has a privacy budget of epsilon {epsilon:g} at delta {delta:g}, kept in"
        f" {ledger.path} (filter order {account.order:g}, {account.rho_budget:.4g} of divergence)"
    )
    if known is None:
        say(f"its data is not here to be looked at: the first run on {name} says which data it is")


def ls(as_json: Annotated[bool, AS_JSON] = False) -> None:
    """List the budgets and what is left of them."""
    from traindeck.core.home import Home
    from traindeck.core.privacy import budget
    from traindeck.core.privacy.ledger import LedgerDamaged, ledgers

    home = Home.default()
    found: list[dict[str, Any]] = []
    for ledger in ledgers(home.ledger):
        try:
            found.append(budget.describe(home, ledger))
        except LedgerDamaged as error:
            found.append({"name": ledger.name, "verified": False, "problem": str(error)})
    if as_json:
        print_json(found)
        return
    if not found:
        say("no budgets yet; `traindeck budget create NAME --epsilon E --delta D` makes one")
        return
    print_table(
        ("DATA SET", "BUDGET ε", "DELTA", "UNIT", "SPENT ε", "FILTER USED", "RUNS"),
        (_line(one) for one in found),
    )
    for one in found:
        if not one["verified"]:
            say(f"{one['name']}: {one.get('problem', 'see `traindeck budget verify`')}")


def show(name: Name, as_json: Annotated[bool, AS_JSON] = False) -> None:
    """Show a budget: spent, reserved and left, by three ways of adding up, and every run."""
    from traindeck.core.home import Home
    from traindeck.core.privacy import budget
    from traindeck.core.privacy.gate import tend

    home = Home.default()
    ledger = _ledger(name)
    tend(ledger)
    found = budget.describe(home, ledger)
    if as_json:
        print_json(found)
        return
    gate = found["filter"]
    left = gate["rho_budget"] - gate["rho_spent"] - gate["rho_reserved"]
    facts = {
        "data": found["fingerprint"] or "not pinned yet: the first run does that",
        "budget": f"epsilon {found['epsilon_budget']:g} at delta {found['delta']:g}"
        f" for one {found['unit']} ({found['relation']})",
        "filter": f"order {gate['order']:g}: {gate['rho_spent']:.4g} spent,"
        f" {gate['rho_reserved']:.4g} reserved, {left:.4g} of {gate['rho_budget']:.4g} left",
        "PLD": f"epsilon {_epsilon(found['epsilon_spent_pld'])} spent, had this schedule been fixed"
        f" in advance ({found['accountant']})",
        "naive sum": f"epsilon {_epsilon(found['epsilon_naive_sum'])} spent by basic composition",
        "risk": found["risk"]["sentence"] if found["risk"] else "not known, see below",
        "lineage": ", ".join(f"{one['name']} ({one['kind']})" for one in found["lineage"]),
        "verified": "the chain is whole" if found["verified"] else "",
    }
    print(found["name"])
    for key, value in facts.items():
        if value:
            print(f"  {key:<10} {value}")
    for problem in ledger.verify():
        say(f"{found['name']}: {problem}")
    for one in found["runs"]:
        if one["quarantined"]:
            say(f"{one['id']} does not do what it claims ({one['quarantined']})")
    for one in found["exposures"]:
        say(f"exposed by {one['run']} ({one['recipe']}): {one['reason']}; epsilon is infinite")
    if found["runs"]:
        print()
        print_table(
            ("RUN", "RECIPE", "STATE", "STEPS", "COMMITTED", "SETTLED", "PLANNED ε", "NOTE"),
            (
                (
                    run["id"],
                    run["recipe"],
                    run["state"],
                    str(run["reserved"]),
                    str(run["committed"]),
                    "–" if run["settled"] is None else str(run["settled"]),
                    _epsilon(run["epsilon_planned"]),
                    run["quarantined"],
                )
                for run in found["runs"]
            ),
        )


def change(
    name: Name, epsilon: Annotated[float, typer.Option(help="The budget from now on.")]
) -> None:
    """Change a budget; what is spent stays spent, and the change is in its history."""
    from traindeck.core.privacy import budget

    budget.change(_ledger(name), epsilon)
    say(f"the budget of {name} is epsilon {epsilon:g} from now on")


def derive(
    name: Name,
    child: Annotated[str, typer.Argument(help="The data set that was made of it.")],
    kind: Annotated[str, typer.Option(help="subset, augmentation or features.")] = "subset",
) -> None:
    """Declare that a data set was made of another one: it spends the other one's budget."""
    try:
        _ledger(name).derive(child, kind)
    except ValueError as error:
        raise UsageError(str(error)) from None
    say(f"{child} spends the budget of {name}")
    if kind == "augmentation":
        say(
            f"runs on it keep the promise to one record of {name} only if they clip all that was"
            " made of one record together"
        )


def history(name: Name, as_json: Annotated[bool, AS_JSON] = False) -> None:
    """Every entry of a ledger, the oldest first."""
    entries = _ledger(name).history()
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
                _details(entry),
            )
            for entry in entries
        ),
    )


def verify(
    name: Annotated[str | None, typer.Argument(help="A data set; none: all of them.")] = None,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Check ledgers for torn, changed and missing entries; exits with 1 if there are any."""
    from traindeck.core.home import Home
    from traindeck.core.privacy.ledger import ledgers

    chosen = [_ledger(name)] if name else ledgers(Home.default().ledger)
    found = {ledger.name: ledger.verify() for ledger in chosen}
    if as_json:
        print_json(
            [
                {
                    "name": name,
                    "verified": not problems,
                    "problems": [{"line": one.line, "what": one.what} for one in problems],
                }
                for name, problems in found.items()
            ]
        )
    for name, problems in found.items():
        for one in problems:
            say(f"{name}: {one}")
        if not problems:
            say(f"{name}: whole")
    if any(found.values()):
        raise typer.Exit(FAILED)


def export(name: Name) -> None:
    """Print a budget and its whole history as JSON, for anyone to account for again."""
    from traindeck.core.home import Home
    from traindeck.core.privacy import budget

    ledger = _ledger(name)
    print_json({**budget.describe(Home.default(), ledger), "history": ledger.history()})


def forecast(
    recipe: Annotated[str, typer.Argument(help="A private recipe.")],
    param: Annotated[
        list[str] | None,
        typer.Option("-p", "--param", metavar="KEY=VALUE", help="A parameter; may be repeated."),
    ] = None,
    runs: Annotated[int, typer.Option(min=1, max=100_000, help="How many such runs.")] = 1,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Say what a launch would cost, what it would leave, and how many more such would fit."""
    from traindeck.core.home import Home
    from traindeck.core.privacy import budget
    from traindeck.core.shelf import find_recipe
    from traindeck.tui.commands.run import params

    home = Home.default()
    found = budget.forecast(home, find_recipe(home, recipe), params(param or []), runs)
    if found is None:
        raise UsageError(f"{recipe} has no privacy accounting: it costs an infinite epsilon")
    if as_json:
        print_json(found)
        return
    print(
        f"{recipe}: epsilon {_epsilon(found['epsilon'])} at delta {found['delta']:g}"
        f" ({found['steps']} steps, sampling rate {found['sampling_rate']:.4g}, noise multiplier"
        f" {found['noise_multiplier']:.4g}; {found['accountant']})"
    )
    if found["label"]:
        print(found["label"])
    if found["risk"]:
        print(found["risk"])
    if runs > 1:
        print(f"{runs} such runs: epsilon {_epsilon(found['epsilon_all'])} together")
        best = found["epsilon_best_of_random_repeats"]
        if best is not None:
            print(
                f"a random number of them, {runs} on average, of which only the best is ever shown:"
                f" epsilon {_epsilon(best)} (the number must be drawn before anything is seen)"
            )
    left = found["budget"]
    if left is None:
        say(f"{found['dataset']} has no budget: nothing would be charged")
        return
    if left["refused"]:
        print(left["refused"])
        return
    verdict = "fits" if left["fits"] else "does not fit"
    print(
        f"budget of {left['name']}, epsilon {left['epsilon_budget']:g}: it {verdict};"
        f" {left['more_such_runs']} such runs fit into what is left"
    )


def _ledger(name: str) -> Ledger:
    from traindeck.core.home import Home
    from traindeck.core.privacy.ledger import find

    ledger = find(Home.default().ledger, name)
    if ledger is None:
        raise NotFoundError(
            f"{name} has no privacy budget; `traindeck budget create {name} --epsilon E --delta D`"
            " gives it one"
        )
    return ledger


def _fingerprint(name: str) -> str | None:
    """That of a data set which the built-in recipes know; None when it is not to be had here."""
    import subprocess

    from traindeck.core.text import plain

    known = [sys.executable, "-m", "traindeck.recipes.shared.datasets", name]
    try:
        said = subprocess.run(known, capture_output=True, text=True, timeout=FINGERPRINT_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if said.returncode:
        lines = said.stderr.strip().splitlines()
        say(plain(lines[-1], 1000) if lines else "")
        return None
    return said.stdout.strip()


def _line(one: dict[str, Any]) -> tuple[str, ...]:
    if "problem" in one:
        return (one["name"], "damaged", "", "", "", "", "")
    gate = one["filter"]
    used = (gate["rho_spent"] + gate["rho_reserved"]) / gate["rho_budget"]
    return (
        one["name"],
        f"{one['epsilon_budget']:g}",
        f"{one['delta']:g}",
        one["unit"],
        _epsilon(one["epsilon_spent_pld"]),
        f"{used:.0%}",
        str(len(one["runs"])),
    )


def _epsilon(value: float | None) -> str:
    from traindeck.core.privacy.report import at_most

    return "infinite" if value is None else at_most(value, 4)


def _details(entry: dict[str, Any]) -> str:
    skipped = ("v", "n", "t", "type", "run", "prev", "hash", "who", "mechanism")
    told = [f"{key} {value}" for key, value in entry.items() if key not in skipped]
    if "mechanism" in entry:
        one = entry["mechanism"]
        told.append(f"noise {one['noise_multiplier']:g}, q {one['sampling_rate']:.4g}")
    return ", ".join(told)
