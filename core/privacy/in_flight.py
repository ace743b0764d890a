"""Runs that go on while their data set is given a budget: it charges them, or is not made.

What such a run has taken and will take is charged. It looks for a budget before each block of steps
(`spending`), and writes down what it takes before it looks; whoever makes the budget has made it
before it reads that. So one of the two sees the other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from traindeck.core.base.errors import BudgetRefused
from traindeck.core.base.home import Home
from traindeck.core.privacy.gate import admit, check_fit, refusal
from traindeck.core.privacy.ledger.account import Account
from traindeck.core.privacy.ledger.filter import NotOpen, cost_of
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.plan import Plan
from traindeck.core.run import events
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.state import ENDED


@dataclass(frozen=True, slots=True)
class LiveRun:
    """A run that has not ended; `plan` is None for one without differential privacy."""

    id: str
    recipe: str
    folder: Path
    plan: Plan | None

    @property
    def taken(self) -> int:
        """Steps whose noise may have been released so far, by its own word."""
        event: Any = (events.last(self.folder / "events.jsonl", "spend") or {}).get("event")
        steps = event.get("steps") if isinstance(event, dict) else 0
        return steps if isinstance(steps, int) else 0


def live(home: Home, dataset: str) -> list[LiveRun]:
    """The runs that train on a data set of this name, or wait to, and nobody charges yet."""
    runs = []
    for folder in sorted(home.runs.iterdir()) if home.runs.is_dir() else ():
        run = RunFolder(folder)
        spec = run.spec()
        if spec is None or spec.get("ledger"):
            continue
        if str(spec.get("dataset") or "").lower() != dataset.lower():  # an imported run has none
            continue
        if run.state()[0] not in ENDED:
            plan = Plan.read(folder)
            runs.append(LiveRun(folder.name, spec["recipe"] or spec["name"], folder, plan))
    return runs


def check(runs: list[LiveRun], account: Account) -> None:
    """Raises BudgetRefused where a budget such as this would not cover what goes on."""
    from traindeck.core.privacy import accountant

    left = account
    for run in runs:
        mend = f": `traindeck stop {run.id}` first, or wait for its end"
        if run.plan is None or not run.plan.private:
            raise BudgetRefused(
                f"run {run.id} ({run.recipe}) is training on {account.name} without privacy, which"
                f" no budget covers{mend}"
            )
        check_fit(run.plan, account)
        mechanism = run.plan.mechanism
        if error := refusal(run.recipe, run.plan, left):
            raise BudgetRefused(
                f"run {run.id}, which goes on and has taken {run.taken:,} of its"
                f" {mechanism.steps:,} steps, counts against the budget: {error}{mend}"
            )
        rho = accountant.rho(mechanism, account.order, account.delta)
        cost = cost_of(mechanism, rho, mechanism.steps)
        left = replace(left, exact_left=left.exact_left - cost)


def charge(ledger: Ledger, runs: list[LiveRun]) -> None:
    """Reserve the whole plan of each run, and commit what it has taken. Raises BudgetRefused."""
    for run in runs:
        try:
            admit(ledger, run.id, run.recipe, run.plan)
            ledger.commit(run.id, run.taken)
        except NotOpen:  # it has seen the budget and was quicker
            continue
