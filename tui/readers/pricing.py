"""What a launch would cost in privacy, and what it would leave: worked out while one types.

The accountant takes a second or two for each answer, so a thread gives them, and only to the newest
question: while one types on, none is asked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from traindeck.core.base.errors import TraindeckError, UsageError
from traindeck.core.base.home import Home
from traindeck.core.privacy.bounds import at_least, at_most, counted, percent
from traindeck.core.recipe.params import Value
from traindeck.core.recipe.recipe import Recipe

if TYPE_CHECKING:
    from traindeck.core.privacy.forecast import Forecast

A = TypeVar("A")

SETTLE = 0.3
"""Seconds without another question before one is answered."""


@dataclass(frozen=True, slots=True)
class LaunchPrice:
    """What is known of a launch's cost; empty for one that costs nothing.

    line     for people
    refused  why the launch would be refused as it stands, in short; empty when it would not be
    why      the same in full
    accept   it has no privacy and its data set a budget: it must be accepted by name
    """

    line: str = ""
    refused: str = ""
    accept: bool = False
    why: str = ""


class Pricing(Generic[A]):
    """Answers the newest question on a thread of its own.

    answered  called on the thread with the number of the question and its price
    """

    def __init__(self, answered: Callable[[int, A], object]) -> None:
        self._answered = answered
        self._question: Callable[[], A] | None = None
        self._number = 0
        self._news = threading.Event()
        self._stopped = False
        self._thread: threading.Thread | None = None

    def ask(self, question: Callable[[], A] | None) -> int:
        """Put a question in place of the one before it; None: no answer is wanted any more.

        Returns its number. An answer to any other number is stale.
        """
        self._number += 1
        self._question = question
        self._news.set()
        if self._thread is None and self._question is not None:
            # A daemon: a ledger that never answers must not keep the program from ending.
            self._thread = threading.Thread(target=self._answer, name="pricing", daemon=True)
            self._thread.start()
        return self._number

    def stop(self) -> None:
        """Ask the thread to end; returns at once."""
        self._stopped = True
        self._news.set()

    def _answer(self) -> None:
        while not self._stopped:
            self._news.wait()
            self._news.clear()
            while self._news.wait(SETTLE) and not self._stopped:
                self._news.clear()
            number, question = self._number, self._question
            if question is None or self._stopped:
                continue
            answer = question()
            if number == self._number and not self._stopped:
                self._answered(number, answer)


BRIEF = 110
"""Characters that a line of the form has at most."""


def brief(text: str) -> str:
    """The first sentence, or its first clause where that is long: enough to go on with."""
    first = text.split(". ")[0]
    return first if len(first) <= BRIEF else first.split(": ")[0].split("; ")[0]


def price(home: Home, recipe: Recipe, values: Mapping[str, Value]) -> LaunchPrice:
    """What launching a recipe would cost and leave. Takes 1 to 3 s for a private one."""
    from traindeck.core.privacy.forecast import forecast
    from traindeck.core.privacy.gate import ledger_for
    from traindeck.core.privacy.plan import SEEDED

    try:
        recipe = recipe.chosen(values)
        ledger = ledger_for(home.ledger, recipe)
        if recipe.accounting is None:
            return _unprotected(ledger.name, "no privacy") if ledger else LaunchPrice()
        priced = forecast(home, recipe, values, 1)
        if priced is None:
            return LaunchPrice()
        plan = priced.plan
        why = SEEDED if plan.seeded else "" if plan.private else "infinite epsilon"
        if why and ledger is not None:
            return _unprotected(ledger.name, why)
    except UsageError as error:
        return LaunchPrice(refused=brief(str(error)), why=str(error))
    except (OSError, TraindeckError, ValueError) as error:
        return LaunchPrice(refused=f"the budget cannot be read: {error}")
    return _in_words(priced, why)


def _unprotected(name: str, why: str) -> LaunchPrice:
    return LaunchPrice(f"{name} has a privacy budget: this run has {why}", accept=True)


def _in_words(priced: Forecast, why: str) -> LaunchPrice:
    plan, budget = priced.plan, priced.budget
    steps = plan.mechanism.steps
    line = (
        f"ε {at_most(plan.epsilon, infinite='∞')} at δ {plan.delta:g} per {plan.unit}"
        f" · noise {plan.mechanism.noise_multiplier:.4g} · {steps:,} steps"
    )
    if plan.adaptive is not None:
        line += f" · the clipping norm follows the {plan.adaptive.quantile:g} quantile"
    line += f" · {why}" if why else ""
    if priced.steps_resumed:
        line += f" ({steps - priced.steps_resumed:,} left to pay)"
    if priced.steps_owed:
        line += f" ({priced.steps_owed:,} of them in the checkpoint, never paid for here)"
    if budget is None:
        return LaunchPrice(f"{line} · {plan.dataset} has no budget: nothing is charged")
    if budget.delta != plan.delta:
        line += f" (the budget is at δ {budget.delta:g})"
    if budget.exposed:
        line += f" · {budget.exposed}"
    if not budget.fits:
        short = budget.refused_short or brief(budget.refused)
        return LaunchPrice(line, f"does not fit: {short}", why=budget.refused)
    if budget.exposed:
        return LaunchPrice(line)
    left, cost, whole = budget.rho_left, budget.rho_cost, budget.rho_budget
    more = budget.more_such_runs - 1
    such = f"{counted(more)} more such run{'s' if more > 1 else ''}" if more else "no more such run"
    return LaunchPrice(
        f"{line} · takes {percent(cost / whole)} of the budget of {budget.name}, leaves"
        f" {percent((left - cost) / whole, at_least)} ({such})"
    )
