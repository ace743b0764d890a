"""What a data set's budget comes to, as columns and lines of text."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.cells import cell_len
from textual.content import Content

from traindeck.core.base.sanitize import plain
from traindeck.core.catalogue.document import RunDoc
from traindeck.core.privacy.bounds import counted
from traindeck.core.privacy.budget_state import BudgetState, Composed
from traindeck.core.privacy.ledger.account import Account, Charge
from traindeck.core.privacy.ledger.entries import own_fields
from traindeck.core.privacy.ledger.lines import Entry
from traindeck.core.privacy.report import epsilon_of
from traindeck.tui.panels.privacy_lines import at_most
from traindeck.tui.readers.budgets import Budget
from traindeck.tui.widgets.columns import Part
from traindeck.tui.widgets.row_table import RowColumn
from traindeck.tui.widgets.rows import Row, rows

NONE: Sequence[Part] = (("–", "dim"),)
MOST_EXPOSURES = 3
LEFT = 2
"""The place of what is left among the shares."""
CREATE = "traindeck budget create NAME --epsilon 3 --delta 1e-5"
NO_BUDGETS = (
    "No data set has a privacy budget yet.\n\n"
    "A budget limits what all runs together may reveal about any one record of a data set. Give"
    " one to a data set, by the name that its recipes give it (mnist, digits, cancer …):\n\n"
    f"    {CREATE}\n\n"
    "or press B here.\n\n"
    "From then on every private run on it reserves what it will spend before it starts, a run that"
    " does not fit is refused, and one without privacy needs --accept-no-privacy, which is recorded"
    " for good. Without a budget private runs train all the same, and nothing is charged."
)


def shares(account: Account) -> tuple[float, float, float]:
    """Spent, reserved and left, of what the filter admits; left is negative when overdrawn."""
    whole = account.rho_budget
    if not whole:  # frozen
        return 1.0, 0.0, 0.0
    spent, reserved = account.rho_spent / whole, account.rho_reserved / whole
    return spent, reserved, 1.0 - spent - reserved


# The table of budgets


def _name(budget: Budget, width: int) -> Sequence[Part]:
    return [(plain(budget.name), "bad" if budget.damaged or budget.exposed else "")]


def _gauge(budget: Budget, width: int) -> Sequence[Part]:
    if budget.state is None:
        return [("damaged", "bad")]
    spent, reserved, _ = shares(budget.state.account)
    parts: list[Part] = []
    used = 0
    for share, glyph, tone in ((spent, "━", "live"), (reserved, "╍", "warn")):
        cells = min(width - used, max(1 if share > 0 else 0, round(share * width)))
        parts.append((glyph * cells, "bad" if budget.exposed else tone))
        used += cells
    return [*parts, ("─" * (width - used), "faint")]


def _used(budget: Budget) -> float | None:
    if budget.state is None:
        return None
    spent, reserved, _ = shares(budget.state.account)
    return spent + reserved


def _share(place: int) -> Any:
    def parts(budget: Budget, width: int) -> Sequence[Part]:
        if budget.state is None or (budget.exposed and place == LEFT):
            return NONE
        share = shares(budget.state.account)[place]
        return [(rough_percent(share), "bad" if share < 0 else "")]

    return parts


def rough_percent(share: float) -> str:
    """A share in hundredths; what is not nothing is not 0%, what is not all is not 100%."""
    if 0 < share < 0.01:
        return "<1%"
    return f"{99 if 0.99 < share < 1 else round(100 * share)}%"


def _epsilon(value: float) -> Sequence[Part]:
    return [(at_most(value), "" if math.isfinite(value) else "bad")]


def _composed(epsilon: Callable[[Composed], float]) -> Any:
    def parts(budget: Budget, width: int) -> Sequence[Part]:
        return NONE if budget.state is None else _epsilon(epsilon(budget.state.composed))

    return parts


def _filter(budget: Budget, width: int) -> Sequence[Part]:
    return NONE if budget.damaged else _epsilon(budget.filter_epsilon)


def _text(text: Callable[[Account], str]) -> Any:
    def parts(budget: Budget, width: int) -> Sequence[Part]:
        return NONE if budget.state is None else [(plain(text(budget.state.account)), "")]

    return parts


def _ledger(budget: Budget, width: int) -> Sequence[Part]:
    if budget.damaged:
        return [("✗ damaged", "bad")]
    return [("mends", "warn")] if budget.problems else [("✓ whole", "good")]


_NAME_LEAST, _NAME_MOST = 10, 36
_BUDGETS = (
    RowColumn("name", "Data set", _NAME_LEAST, 0, _name),
    RowColumn("gauge", "Spent ━ reserved ╍", 8, 4, _gauge, grow=3, most=40, sorts=_used),
    RowColumn("spent", "Spent", 5, 6, _share(0), right=True),
    RowColumn("left", "Left", 5, 1, _share(LEFT), right=True),
    RowColumn("budget", "Budget ε", 8, 1, _text(lambda each: f"{each.epsilon:g}"), right=True),
    RowColumn("filter", "Filter", 6, 2, _filter, right=True),
    RowColumn("pld", "PLD", 5, 7, _composed(lambda each: each.epsilon_pld), right=True),
    RowColumn("naive", "Sum", 5, 8, _composed(lambda each: each.epsilon_naive), right=True),
    RowColumn("delta", "δ", 6, 2, _text(lambda each: f"{each.delta:g}"), right=True),
    RowColumn("unit", "Unit", 7, 3, _text(lambda each: each.unit)),
    RowColumn("ledger", "Ledger", 9, 5, _ledger),
)


def columns(budgets: Sequence[Budget]) -> tuple[RowColumn, ...]:
    """Those of the table of budgets: each name in full, which alone may tell two owners apart."""
    longest = max((cell_len(plain(budget.name)) for budget in budgets), default=0)
    name = replace(_BUDGETS[0], width=max(_NAME_LEAST, min(longest, _NAME_MOST)))
    return (name, *_BUDGETS[1:])


# The facts of one


def facts(budget: Budget, width: int) -> Content:
    """All but the runs and the history of a budget."""
    if budget.state is None:
        lines = [Content.styled(f"✗ the ledger of {budget.name} is damaged", "bold $text-error")]
        lines += [Content.styled(plain(each, 500), "$text-error") for each in budget.problems]
        return Content("\n").join([part for line in lines for part in line.wrap(max(8, width))])
    account, composed = budget.state.account, budget.state.composed
    spent, reserved, left = shares(account)
    pairs: list[Row] = []
    if budget.exposed:
        pairs.append(("", Content.styled(plain(account.exposed_by, 300), "bold $text-error")))
    for one in account.exposures[:MOST_EXPOSURES]:
        line = f"by {one.run} ({one.recipe}): {one.reason}; ε is infinite, for good"
        pairs.append(("exposed", Content.styled(plain(line, 300), "bold $text-error")))
    if (more := len(account.exposures) - MOST_EXPOSURES) > 0:
        pairs.append(("", Content.styled(f"and {more:,} more", "$text-error")))
    over = "" if left >= 0 else "$text-error"
    at_delta = "" if budget.exposed else f" at δ {composed.delta_naive:g}"
    pairs += [
        (
            "budget",
            f"ε {account.epsilon:g} at δ {account.delta:g} for one {account.unit}"
            f" ({account.relation})" + ("" if account.rho_budget else ": frozen, admits nothing"),
        ),
        (
            "filter",
            Content.assemble(
                _bold(budget.filter_epsilon),
                f" · {rough_percent(spent)} spent, {rough_percent(reserved)} reserved, ",
                (f"{rough_percent(left)} left" if left >= 0 else "overdrawn", over),
                (" · holds though each run is chosen after the last", "dim"),
            )
            if not budget.exposed
            else Content.assemble(
                _bold(math.inf),
                (" · limits what private runs add, protects nothing any more", "dim"),
            ),
        ),
        (
            "PLD",
            Content.assemble(
                _bold(composed.epsilon_pld),
                (" had this schedule been fixed in advance", "dim"),
            ),
        ),
        (
            "naive sum",
            Content.assemble(
                _bold(composed.epsilon_naive),
                (f"{at_delta}: each run's own ε and δ added up", "dim"),
            ),
        ),
        ("forecast", _forecast(account)),
        ("data", _data(account)),
    ]
    lineage = ", ".join(f"{child.name} ({child.kind} of {child.of})" for child in account.children)
    if lineage:
        pairs.append(("lineage", plain(lineage, 500)))
    pairs.append(("ledger", _verified(budget, account)))
    return rows(pairs, width)


def _bold(value: float) -> tuple[str, str]:
    return (f"ε {at_most(value)}", "bold" if math.isfinite(value) else "bold $text-error")


def _forecast(account: Account) -> Content:
    """How many more runs like the last one fit into what is left."""
    if account.exposed:
        return Content.styled("nothing is left to protect: a run was exposed", "$text-error")
    if not account.runs:
        return Content("no run yet; `traindeck budget forecast RECIPE` says what one would cost")
    last = account.runs[-1]
    more = account.more(last.rho * last.reserved)
    like = f"like the last one ({plain(last.recipe)}, ε {at_most(last.epsilon)})"
    if not more:
        return Content.styled(f"no more run {like} fits", "$text-warning")
    return Content(f"{counted(more)} more run{f' {like} fits' if more == 1 else f's {like} fit'}")


def _data(account: Account) -> str:
    if not account.fingerprint:
        return "not pinned yet: the first run says which data it is"
    return f"{account.fingerprint[:21]}…, its SHA-256 keyed with this home's secret"


def _verified(budget: Budget, account: Account) -> Content:
    entries = f"{account.entries:,} entr{'y' if account.entries == 1 else 'ies'}"
    kept = f"{entries}, filter of order {account.order:g}"
    if budget.problems:
        why = "; ".join(plain(each, 200) for each in budget.problems)
        return Content.styled(f"{why}: mended by the next entry · {kept}", "$text-warning")
    return Content.assemble(("verified", "$text-success"), f": the chain is whole · {kept}")


# Its runs

_STATES = {"reserved": "dim", "running": "live", "finished": "good", "stopped": "warn"}


@dataclass(frozen=True, slots=True)
class ChargeRow:
    """A run in the table of runs.

    reserved, committed, settled  its steps; None of a run that exposed the budget
    spent  epsilon, as it says itself, else at most its plan's; infinite where there is no bound
    delta  of its epsilon, where that is not the budget's
    note   what speaks against it
    """

    id: str
    recipe: str
    state: str
    reserved: int | None = None
    committed: int | None = None
    settled: int | None = None
    spent: float = math.inf
    delta: float | None = None
    note: str = ""


def charges(state: BudgetState | None, known: Mapping[str, RunDoc]) -> list[ChargeRow]:
    """The rows of the table of runs: exposures first, then the newest first.

    known  runs by id, for the epsilon that each has spent by its own account
    """
    if state is None:
        return []
    account = state.account
    exposed = [
        ChargeRow(one.run, one.recipe, "exposed", note=one.reason)
        for one in reversed(account.exposures)
    ]
    return exposed + [
        ChargeRow(
            run.id,
            run.recipe,
            run.state,
            run.reserved,
            run.committed,
            run.settled,
            _spent(run, known.get(run.id)),
            None if run.delta == account.delta else run.delta,
            run.quarantined,
        )
        for run in reversed(account.runs)
    ]


def _spent(run: Charge, doc: RunDoc | None) -> float:
    own = epsilon_of(doc["privacy"]) if doc is not None else None
    if own is not None and math.isfinite(own):
        return own
    return run.epsilon if run.released else 0.0


def _state(run: ChargeRow, width: int) -> Sequence[Part]:
    tone = "bad" if run.state == "exposed" else _STATES.get(run.state, "warn")
    return [(plain(run.state.replace("_", " ")), tone)]


def _steps(steps: Callable[[ChargeRow], int | None]) -> Any:
    def parts(run: ChargeRow, width: int) -> Sequence[Part]:
        count = steps(run)
        return NONE if count is None else [(f"{count:,}", "")]

    return parts


def _run_epsilon(run: ChargeRow, width: int) -> Sequence[Part]:
    return _epsilon(run.spent)


def _note(run: ChargeRow, width: int) -> Sequence[Part]:
    if not run.note and run.delta:
        return [(f"ε at δ {run.delta:g}", "warn")]
    return [(plain(run.note, 200), "bad")] if run.note else [("", "")]


RUNS = (
    RowColumn("id", "Run", 8, 0, lambda run, width: [(plain(run.id), "")], grow=1, most=14),
    RowColumn(
        "recipe", "Recipe", 12, 3, lambda run, width: [(plain(run.recipe), "")], grow=2, most=28
    ),
    RowColumn("state", "State", 9, 1, _state),
    RowColumn("reserved", "Reserved", 8, 2, _steps(lambda run: run.reserved), right=True),
    RowColumn("committed", "Committed", 9, 4, _steps(lambda run: run.committed), right=True),
    RowColumn("settled", "Settled", 7, 3, _steps(lambda run: run.settled), right=True),
    RowColumn("epsilon", "ε", 5, 0, _run_epsilon, right=True),
    RowColumn("note", "Note", 8, 5, _note, grow=1, most=60),
)


# Its history

_TONES = {"expose": "bad", "quarantine": "bad", "mend": "warn", "set": "warn", "import": "warn"}


def _details(entry: Entry) -> str:
    fields = [f"{key} {_word(value)}" for key, value in own_fields(entry).items()]
    return plain(", ".join(fields), 300)


def _word(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


HISTORY = (
    RowColumn(
        "when",
        "When",
        16,
        1,
        lambda entry, width: [(time.strftime("%Y-%m-%d %H:%M", time.localtime(entry["t"])), "dim")],
    ),
    RowColumn(
        "what",
        "What",
        10,
        0,
        lambda entry, width: [(entry["type"], _TONES.get(entry["type"], ""))],
    ),
    RowColumn("run", "Run", 8, 2, lambda entry, width: [(plain(str(entry.get("run", ""))), "")]),
    RowColumn(
        "details", "Details", 12, 1, lambda entry, width: [(_details(entry), "")], grow=1, most=200
    ),
)
