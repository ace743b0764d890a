"""What is said of a sweep: its line in the list, its facts, its trials' columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from textual.content import Content

from traindeck.core.base.format import compact, counted
from traindeck.core.base.sanitize import plain
from traindeck.core.sweeps.price import Price
from traindeck.core.sweeps.space import Axis, shown
from traindeck.core.sweeps.trials import COMPLETE, FAILED, LOST, PRUNED, RUNNING, Trial
from traindeck.tui.readers.sweeps import Sweep
from traindeck.tui.widgets.columns import Key, Part
from traindeck.tui.widgets.row_table import RowColumn
from traindeck.tui.widgets.rows import Row, rows

NO_SWEEPS = (
    "There are no sweeps yet.\n\nA sweep tries a recipe's parameters, each trial chosen by what"
    " came of those before:\n\n  traindeck sweep torch-digits -p lr=log:1e-3..1 --trials 20"
    "\n\nOr here: on a recipe's form, ctrl+g."
)
_TONES = {
    "running": "live",
    "stopping": "live",
    "finished": "good",
    "interrupted": "warn",
    "stopped": "dim",
    "failed": "bad",
    "damaged": "bad",
}
_TRIAL_TONES = {RUNNING: "live", COMPLETE: "", PRUNED: "dim", FAILED: "bad", LOST: "bad"}


def _best(sweep: Sweep, width: int) -> Sequence[Part]:
    found = sweep.best
    return [(number(found.value) if found else "–", "" if found else "dim")]


def _by(sweep: Sweep, width: int) -> Sequence[Part]:
    found = sweep.best
    return [(plain(shown(found.values)) if found else "", "dim")]


SWEEPS = (
    RowColumn("name", "Sweep", 12, 0, lambda one, width: [(plain(one.design.name), "")], grow=2),
    RowColumn("id", "Id", 8, 4, lambda one, width: [(one.id, "dim")]),
    RowColumn("state", "State", 11, 1, lambda one, _: [(one.state, _TONES.get(one.state, ""))]),
    RowColumn(
        "done", "Trials", 9, 1, lambda one, _: [(f"{one.done}/{one.design.trials}", "")], right=True
    ),
    RowColumn("series", "Sought", 14, 3, lambda one, _: [(plain(one.design.series), "dim")]),
    RowColumn("best", "Best", 9, 0, _best, right=True),
    RowColumn("by", "By", 12, 2, _by, grow=3, most=100),
)


def number(value: float | None) -> str:
    return "–" if value is None else compact(value)


def facts(sweep: Sweep, width: int) -> Content:
    """What is known of one sweep, in a few lines."""
    design, found = sweep.design, sweep.best
    pairs: list[Row] = []
    if sweep.reason:
        pairs.append((sweep.state, plain(sweep.reason)))
    if found is not None:
        spread = f" ± {compact(found.spread)} over {design.seeds} seeds" if found.spread else ""
        value = f"{number(found.value)}{spread}, trial {found.number}: {shown(found.values)}"
        pairs.append(("best", plain(value)))
    if sweep.importance:
        decided = ", ".join(f"{name} {share:.0%}" for name, share in sweep.importance.items())
        pairs.append(("decided by", plain(decided)))
    pruned = f", pruned by {design.pruner}" if design.pruner != "none" else ""
    repeats = f", {design.seeds} seeds each" if design.seeds > 1 else ""
    how = f"{design.sampler}{pruned}{repeats}, {design.at_once} at once on {design.on}"
    pairs.append(("search", plain(f"{design.direction} {design.series}, {how}")))
    if design.price is not None:
        pairs.append(("privacy", _price(sweep)))
    return rows(pairs, width)


def _price(sweep: Sweep) -> str:
    assert sweep.design.price is not None
    try:
        price = Price.from_json(sweep.design.price)
    except TypeError:
        return "its price cannot be read"
    charged = (
        f"tuning is charged to the budget of {price.budget}"
        if price.budget
        else f"tuning is not charged: {price.dataset} has no budget"
    )
    return plain(
        f"{charged}; all {counted(price.runs, 'run')}: ε ≤ {compact(price.epsilon_all)}"
        f" at δ {price.delta:g}"
        f" (one: {compact(price.epsilon_run)}; had only the best of a random number been shown:"
        f" {compact(min(price.epsilon_poisson, price.epsilon_geometric))})"
    )


def _value(trial: Trial, width: int) -> Sequence[Part]:
    tone = "" if trial.value is not None else "dim"
    return [(number(trial.last), tone)]


def _sorted_value(trial: Trial) -> Key:
    return trial.value


def trial_columns(axes: Sequence[Axis], seeds: int) -> tuple[RowColumn, ...]:
    """The columns of a table of trials: those of its parameters among them."""

    def of(name: str) -> RowColumn:
        def parts(trial: Trial, width: int) -> Sequence[Part]:
            value: Any = trial.values.get(name)
            text = compact(value) if isinstance(value, float) else plain(str(value))
            return [("–", "faint")] if name not in trial.values else [(text, "")]

        return RowColumn(f"p.{name}", plain(name)[:12], 8, 3, parts, grow=1, most=20, right=True)

    spread = RowColumn(
        "spread", "±", 8, 4, lambda one, _: [(number(one.spread), "dim")], right=True
    )
    return (
        RowColumn("number", "Trial", 5, 0, lambda one, _: [(str(one.number), "")], right=True),
        RowColumn(
            "state", "State", 8, 1, lambda one, _: [(one.state, _TRIAL_TONES.get(one.state, "dim"))]
        ),
        RowColumn("value", "Value", 8, 0, _value, right=True, sorts=_sorted_value),
        *((spread,) if seeds > 1 else ()),
        *(of(axis.name) for axis in axes),
        RowColumn("run", "Run", 8, 5, lambda one, _: [(one.attempts[-1].run, "dim")]),
        RowColumn(
            "reason", "Why", 8, 6, lambda one, _: [(plain(one.reason), "dim")], grow=1, most=60
        ),
    )
