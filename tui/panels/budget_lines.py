"""What a data set's budget comes to, as columns and lines of text."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich.cells import cell_len
from textual.content import Content

from traindeck.core.base.sanitize import plain
from traindeck.core.privacy.bounds import counted
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
    "From then on every private run on it reserves what it will spend before it starts, a run that"
    " does not fit is refused, and one without privacy needs --accept-no-privacy, which is recorded"
    " for good. Without a budget private runs train all the same, and nothing is charged."
)


def shares(budget: Budget) -> tuple[float, float, float]:
    """Spent, reserved and left, of what the filter admits; left is negative when overdrawn."""
    assert budget.found is not None
    gate = budget.found["filter"]
    whole = gate["rho_budget"]
    if not whole:  # frozen
        return 1.0, 0.0, 0.0
    spent, reserved = gate["rho_spent"] / whole, gate["rho_reserved"] / whole
    return spent, reserved, 1.0 - spent - reserved


# The table of budgets


def _name(budget: Budget, width: int) -> Sequence[Part]:
    return [(plain(budget.name), "bad" if budget.damaged or budget.exposed else "")]


def _gauge(budget: Budget, width: int) -> Sequence[Part]:
    if budget.damaged:
        return [("damaged", "bad")]
    spent, reserved, _ = shares(budget)
    parts: list[Part] = []
    used = 0
    for share, glyph, tone in ((spent, "━", "live"), (reserved, "╍", "warn")):
        cells = min(width - used, max(1 if share > 0 else 0, round(share * width)))
        parts.append((glyph * cells, "bad" if budget.exposed else tone))
        used += cells
    return [*parts, ("─" * (width - used), "faint")]


def _share(place: int) -> Any:
    def parts(budget: Budget, width: int) -> Sequence[Part]:
        if budget.damaged or (budget.exposed and place == LEFT):
            return NONE
        share = shares(budget)[place]
        return [(percent(share), "bad" if share < 0 else "")]

    return parts


def percent(share: float) -> str:
    """A share in hundredths; what is not nothing is not 0%, what is not all is not 100%."""
    if 0 < share < 0.01:
        return "<1%"
    return f"{99 if 0.99 < share < 1 else round(100 * share)}%"


def _epsilon(value: float | None) -> Sequence[Part]:
    return [("∞", "bad")] if value is None else [(at_most(value), "")]


def _found(field: str) -> Any:
    def parts(budget: Budget, width: int) -> Sequence[Part]:
        return NONE if budget.found is None else _epsilon(budget.found[field])

    return parts


def _filter(budget: Budget, width: int) -> Sequence[Part]:
    return NONE if budget.damaged else _epsilon(budget.filter_epsilon)


def _text(field: str, form: str = "{}") -> Any:
    def parts(budget: Budget, width: int) -> Sequence[Part]:
        if budget.found is None:
            return NONE
        return [(plain(form.format(budget.found[field])), "")]

    return parts


def _ledger(budget: Budget, width: int) -> Sequence[Part]:
    if budget.damaged:
        return [("✗ damaged", "bad")]
    return [("mends", "warn")] if budget.problems else [("✓ whole", "good")]


_NAME_LEAST, _NAME_MOST = 10, 36
_BUDGETS = (
    RowColumn("name", "Data set", _NAME_LEAST, 0, _name),
    RowColumn("gauge", "Spent ━ reserved ╍", 8, 4, _gauge, grow=3, most=40),
    RowColumn("spent", "Spent", 5, 6, _share(0), right=True),
    RowColumn("left", "Left", 5, 1, _share(LEFT), right=True),
    RowColumn("budget", "Budget ε", 8, 1, _text("epsilon_budget", "{:g}"), right=True),
    RowColumn("filter", "Filter", 6, 2, _filter, right=True),
    RowColumn("pld", "PLD", 5, 7, _found("epsilon_spent_pld"), right=True),
    RowColumn("naive", "Sum", 5, 8, _found("epsilon_naive_sum"), right=True),
    RowColumn("delta", "δ", 6, 2, _text("delta", "{:g}"), right=True),
    RowColumn("unit", "Unit", 7, 3, _text("unit")),
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
    if budget.found is None:
        lines = [Content.styled(f"✗ the ledger of {budget.name} is damaged", "bold $text-error")]
        lines += [Content.styled(plain(each, 500), "$text-error") for each in budget.problems]
        return Content("\n").join([part for line in lines for part in line.wrap(max(8, width))])
    found, gate = budget.found, budget.found["filter"]
    spent, reserved, left = shares(budget)
    pairs: list[Row] = []
    if budget.exposed:
        pairs.append(("", Content.styled(plain(found["exposed"], 300), "bold $text-error")))
    for one in found["exposures"][:MOST_EXPOSURES]:
        said = f"by {one['run']} ({one['recipe']}): {one['reason']}; ε is infinite, for good"
        pairs.append(("exposed", Content.styled(plain(said, 300), "bold $text-error")))
    if (more := len(found["exposures"]) - MOST_EXPOSURES) > 0:
        pairs.append(("", Content.styled(f"and {more:,} more", "$text-error")))
    over = "" if left >= 0 else "$text-error"
    at_delta = "" if budget.exposed else f" at δ {found['delta_naive_sum']:g}"
    pairs += [
        (
            "budget",
            f"ε {found['epsilon_budget']:g} at δ {found['delta']:g} for one {found['unit']}"
            f" ({found['relation']})" + ("" if gate["rho_budget"] else ": frozen, admits nothing"),
        ),
        (
            "filter",
            Content.assemble(
                _bold(budget.filter_epsilon),
                f" · {percent(spent)} spent, {percent(reserved)} reserved, ",
                (f"{percent(left)} left" if left >= 0 else "overdrawn", over),
                (" · holds though each run is chosen after the last", "dim"),
            )
            if not budget.exposed
            else Content.assemble(
                _bold(None), (" · limits what private runs add, protects nothing any more", "dim")
            ),
        ),
        (
            "PLD",
            Content.assemble(
                _bold(found["epsilon_spent_pld"]),
                (" had this schedule been fixed in advance", "dim"),
            ),
        ),
        (
            "naive sum",
            Content.assemble(
                _bold(found["epsilon_naive_sum"]),
                (f"{at_delta}: each run's own ε and δ added up", "dim"),
            ),
        ),
        ("forecast", _forecast(budget)),
        ("data", _data(found)),
    ]
    lineage = ", ".join(f"{one['name']} ({one['kind']} of {one['of']})" for one in found["lineage"])
    if lineage:
        pairs.append(("lineage", plain(lineage, 500)))
    pairs.append(("ledger", _verified(budget, gate["order"])))
    return rows(pairs, width)


def _bold(value: float | None) -> tuple[str, str]:
    return (f"ε {at_most(value)}", "bold $text-error" if value is None else "bold")


def _forecast(budget: Budget) -> Content:
    if budget.exposed:
        return Content.styled("nothing is left to protect: a run was exposed", "$text-error")
    one = budget.forecast
    if one is None:
        return Content("no run yet; `traindeck budget forecast RECIPE` says what one would cost")
    like = f"like the last one ({plain(one.recipe)}, ε {at_most(one.epsilon)})"
    if not one.more:
        return Content.styled(f"no more run {like} fits", "$text-warning")
    return Content(
        f"{counted(one.more)} more run{f' {like} fits' if one.more == 1 else f's {like} fit'}"
    )


def _data(found: Mapping[str, Any]) -> str:
    fingerprint = found["fingerprint"]
    if not fingerprint:
        return "not pinned yet: the first run says which data it is"
    return f"sha256 {fingerprint[:16]}…"


def _verified(budget: Budget, order: float) -> Content:
    kept = (
        f"{budget.entries:,} entr{'y' if budget.entries == 1 else 'ies'}, filter of order {order:g}"
    )
    if budget.problems:
        why = "; ".join(plain(each, 200) for each in budget.problems)
        return Content.styled(f"{why}: mended by the next entry · {kept}", "$text-warning")
    return Content.assemble(("verified", "$text-success"), f": the chain is whole · {kept}")


# Its runs

_STATES = {"reserved": "dim", "running": "live", "finished": "good", "stopped": "warn"}


def charges(budget: Budget, known: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of the table of runs: exposures first, then the newest first.

    known  runs by id, for the epsilon that each has spent by its own account
    """
    found = budget.found
    if found is None:
        return []
    exposed = [
        {"id": one["run"], "recipe": one["recipe"], "state": "exposed", "note": one["reason"]}
        for one in reversed(found["exposures"])
    ]
    return exposed + [
        {
            **run,
            "spent": _spent(run, known.get(run["id"])),
            "note": run["quarantined"],
            "delta": None if run.get("delta") == found["delta"] else run.get("delta"),
        }
        for run in reversed(found["runs"])
    ]


def _spent(run: Mapping[str, Any], doc: Mapping[str, Any] | None) -> float | None:
    """Epsilon of one run: as it says itself, else at most its plan's."""
    own = (doc["privacy"] or {}).get("epsilon") if doc is not None else None
    if isinstance(own, int | float):
        return float(own)
    released = run["committed"] if run["settled"] is None else run["settled"]
    return float(run["epsilon_planned"]) if released else 0.0


def _state(run: Mapping[str, Any], width: int) -> Sequence[Part]:
    tone = "bad" if run["state"] == "exposed" else _STATES.get(run["state"], "warn")
    return [(plain(str(run["state"]).replace("_", " ")), tone)]


def _steps(field: str) -> Any:
    def parts(run: Mapping[str, Any], width: int) -> Sequence[Part]:
        value = run.get(field)
        return NONE if value is None else [(f"{value:,}", "")]

    return parts


def _run_epsilon(run: Mapping[str, Any], width: int) -> Sequence[Part]:
    return _epsilon(run.get("spent"))


def _note(run: Mapping[str, Any], width: int) -> Sequence[Part]:
    if not run["note"] and run.get("delta"):
        return [(f"ε at δ {run['delta']:g}", "warn")]
    return [(plain(run["note"], 200), "bad")] if run["note"] else [("", "")]


RUNS = (
    RowColumn("id", "Run", 8, 0, lambda run, width: [(plain(run["id"]), "")], grow=1, most=14),
    RowColumn(
        "recipe", "Recipe", 12, 3, lambda run, width: [(plain(run["recipe"]), "")], grow=2, most=28
    ),
    RowColumn("state", "State", 9, 1, _state),
    RowColumn("reserved", "Reserved", 8, 2, _steps("reserved"), right=True),
    RowColumn("committed", "Committed", 9, 4, _steps("committed"), right=True),
    RowColumn("settled", "Settled", 7, 3, _steps("settled"), right=True),
    RowColumn("epsilon", "ε", 5, 0, _run_epsilon, right=True),
    RowColumn("note", "Note", 8, 5, _note, grow=1, most=60),
)


# Its history

_SKIPPED = {"v", "n", "t", "type", "run", "prev", "hash", "who", "mechanism"}
_TONES = {"expose": "bad", "quarantine": "bad", "mend": "warn", "set": "warn"}


def _details(entry: Mapping[str, Any]) -> str:
    told = [f"{key} {_word(value)}" for key, value in entry.items() if key not in _SKIPPED]
    return plain(", ".join(told), 300)


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
