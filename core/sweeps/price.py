"""What a sweep costs in privacy, before its first trial.

Whoever chooses a trial after seeing the last, and shows the best, releases something of every
trial: all of them are charged, as a composition. Where only the best of a random number of trials
is ever shown, it is far less (Papernot & Steinke 2022); what that takes is said beside it.

The parameters that decide a run's plan may take few values, so that the dearest of all trials is
known: so many of it are reserved in the data set's ledger, each to be handed on to the trial that
takes its place, and given back when the sweep ends.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from traindeck.core.base.errors import BudgetRefused
from traindeck.core.base.format import counted
from traindeck.core.base.home import Home
from traindeck.core.privacy.bounds import or_infinite, or_null
from traindeck.core.privacy.gate import (
    SWEEP_PLACE,
    account_now,
    admit,
    check_named,
    ledger_for,
    tend,
)
from traindeck.core.privacy.ledger.account import GIVEN_BACK
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.ledger.places import hold
from traindeck.core.privacy.plan import COSTS_BY, Plan, make
from traindeck.core.recipe.params import Value
from traindeck.core.recipe.recipe import Recipe
from traindeck.core.sweeps.space import Space, SpaceError

if TYPE_CHECKING:
    from traindeck.core.sweeps.study import Design

MOST_PLANS = 64


@dataclass(frozen=True, slots=True)
class Price:
    """What the dearest trials of a sweep cost together, at `delta`.

    runs             how many are charged: trials times their repeats
    epsilon_run      of the dearest of them alone
    epsilon_naive    the sum of as many
    epsilon_all      of all of them, had they been fixed in advance: by PLD where their plans are
                     alike, by RDP where trials may have different ones
    epsilon_poisson, epsilon_geometric    were their number random, `runs` on average, and only the
                     best ever shown
    budget           the data set whose budget pays; empty where none does
    share            of that budget, by its filter
    fits             how many such runs it admits; None without one
    charged          how many runs' worth is charged: all of them, but of a private selection
    """

    recipe: str
    dataset: str
    unit: str
    delta: float
    runs: int
    epsilon_run: float
    epsilon_naive: float
    epsilon_all: float
    epsilon_poisson: float
    epsilon_geometric: float
    budget: str = ""
    share: float = 0.0
    fits: int | None = None
    charged: int = 0

    @property
    def admitted(self) -> bool:
        """Whether a budget, if there is one, admits all of it."""
        return not self.budget or (self.fits is not None and self.fits >= self.charged)

    def to_json(self) -> dict[str, Any]:
        """An infinite number is null."""
        return {
            key: or_null(value) if isinstance(value, float) else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Price:
        """The inverse of `to_json`. Raises TypeError for anything else."""
        known: dict[str, Any] = {
            key: or_infinite(value) if key.startswith("epsilon") or key == "share" else value
            for key, value in data.items()
        }
        return cls(**known)

    def lines(self) -> Iterator[str]:
        """The price in words, a way of accounting a line."""
        from traindeck.core.privacy.bounds import at_most, percent

        if math.isinf(self.epsilon_run):
            yield "some trials have no finite epsilon: nothing bounds what the sweep releases"
            return
        each = f"{at_most(self.epsilon_run)} at delta {self.delta:g} per {self.unit}"
        yield f"{counted(self.runs, 'run')}, each of at most epsilon {each}"
        select = self.charged < self.runs
        yield (
            f"  all seen, composed: epsilon {at_most(self.epsilon_all)}"
            f"{'' if select else '; this is what is charged'}"
        )
        yield f"  added up: epsilon {at_most(self.epsilon_naive)}"
        if self.runs > 1:
            yield (
                f"  only the best of a random number of runs ever shown, {self.runs} on average:"
                f" epsilon {at_most(self.epsilon_poisson)} (Poisson),"
                f" {at_most(self.epsilon_geometric)} (geometric); random search, no pruning"
            )
        if select:
            yield (
                f"  the last is what this sweep is, and it is charged as {self.charged} runs, which"
                " cost no less"
            )
        if self.budget:
            fits = (
                "" if self.admitted else f"; {self.fits or 'none'} of the {self.charged} runs fit"
            )
            yield f"  the budget of {self.budget}: {percent(self.share)} of it{fits}"
        else:
            yield f"  {self.dataset} has no budget: nothing is charged"


def plans(recipe: Recipe, space: Space) -> list[Plan]:
    """The plans that trials may have, each once. Raises SpaceError for too many, PlanError."""
    deciding = COSTS_BY | {"dataset"} | {one.param for one in recipe.variants}
    axes = [axis for axis in space.axes if axis.name in deciding]
    points = []
    for axis in axes:
        values = axis.points()
        if values is None or len(values) > MOST_PLANS:
            raise SpaceError(
                f"{axis.name}: what a trial costs in privacy depends on it, so its values must be"
                f" few enough to be priced one by one: name them, such as {axis.name}=1,2,3"
            )
        points.append(values)
    if math.prod(map(len, points)) > MOST_PLANS:
        raise SpaceError(
            f"{', '.join(axis.name for axis in axes)}: they make more than {MOST_PLANS} plans that"
            " would have to be priced: name fewer values"
        )
    found: dict[str, Plan] = {}
    for values in itertools.product(*points):
        given: dict[str, Value] = {**space.fixed}
        for axis, value in zip(axes, values, strict=True):
            if axis.active(given):
                given[axis.name] = value
        plan = make(recipe, recipe.validate(given))
        if plan is not None:
            found.setdefault(repr(plan.mechanism), plan)
        elif recipe.accounting or found:
            raise SpaceError("some trials have privacy and some do not: make two sweeps of it")
    if len({plan.delta for plan in found.values()}) > 1:
        raise SpaceError("delta: epsilons at different deltas do not compare: give it one value")
    return list(found.values())


def _dearest(found: list[Plan], ledger: Ledger | None) -> Plan:
    from traindeck.core.privacy import accountant

    if ledger is None:
        return max(found, key=lambda plan: plan.epsilon)
    account = ledger.account()

    def cost(plan: Plan) -> float:
        rho = accountant.rho(plan.mechanism, account.order, account.delta)
        return rho * plan.mechanism.steps

    return max(found, key=cost)


def selected(home: Home, recipe: Recipe, space: Space, runs: int) -> tuple[Plan, int]:
    """The plan of each trial of a private selection, and how many runs' worth it is charged.

    Raises SpaceError where that cannot be known, and PlanError.
    """
    from traindeck.core.privacy import accountant

    found = plans(recipe, space)
    usual = [one for one in found if one.mechanism.sampler in ("poisson", "none")]
    if len(found) != 1 or not usual or usual[0].mechanism.bands > 1 or not usual[0].private:
        raise SpaceError(
            "--private-select: every trial has the same private plan, of the sampler poisson or"
            " none and with independent noise: give what decides it one value"
        )
    plan = usual[0]
    ledger = ledger_for(home.ledger, recipe.chosen(space.fixed))
    if ledger is None:
        return plan, 1 if runs == 1 else min(
            runs, accountant.selection_runs(plan.mechanism, plan.delta, 8.0, runs)
        )
    account = ledger.account()
    charged = accountant.selection_runs(plan.mechanism, account.delta, account.order, runs)
    return plan, charged


def charge_selection(home: Home, design: Design, recipe: Recipe, space: Space) -> None:
    """Charge a private selection as a whole, for good: who stops it has seen how long it took.

    Raises BudgetRefused, LedgerDamaged and OSError.
    """
    from traindeck.core.privacy import accountant

    ledger = ledger_for(home.ledger, recipe.chosen(space.fixed))
    if ledger is None:
        return
    plan, runs = selected(home, recipe, space, design.trials)
    tend(ledger)
    check_named(ledger, plan)
    account = ledger.account()
    if any(one.id == design.id for one in account.runs):
        return
    whole = plan.mechanism.with_steps(runs * plan.mechanism.steps)
    rho = accountant.rho(plan.mechanism, account.order, account.delta)
    named = f"the best of some {design.trials} trials of sweep {design.id} ({recipe.name})"
    epsilon = accountant.epsilon([whole], plan.delta)
    ledger.reserve(design.id, named, whole, rho, epsilon, None, plan.delta)
    ledger.commit(design.id, whole.steps)
    ledger.settle(design.id, "finished", whole.steps)


def price(
    home: Home, recipe: Recipe, space: Space, runs: int, *, select: bool = False
) -> Price | None:
    """What so many runs cost at most; None for a recipe without accounting.

    select  only the best is ever shown, of so many on average

    Raises SpaceError where that cannot be known, PlanError, LedgerDamaged and OSError.
    """
    found = plans(recipe, space)
    if not found:
        return None
    from traindeck.core.privacy import accountant

    ledger = ledger_for(home.ledger, recipe.chosen(space.fixed))
    plan = _dearest(found, ledger)
    private = all(one.private for one in found)
    most = max(one.epsilon for one in found)
    mechanisms = [one.mechanism for one in found]
    best = [math.inf, math.inf]
    if private:
        best = [
            max(accountant.repeat_and_select(one, plan.delta, runs, shape) for one in mechanisms)
            for shape in (math.inf, 1.0)
        ]
    share, fits = 0.0, None
    charged = selected(home, recipe, space, runs)[1] if select else runs
    if ledger is not None and private:
        account = account_now(ledger)
        cost = accountant.rho(plan.mechanism, account.order, account.delta) * plan.mechanism.steps
        share = charged * cost / account.rho_budget if account.rho_budget else math.inf
        fits = account.more(cost)
    return Price(
        recipe=recipe.name,
        dataset=plan.dataset,
        unit=plan.unit,
        delta=plan.delta,
        runs=runs,
        epsilon_run=most if private else math.inf,
        epsilon_naive=most * runs if private else math.inf,
        epsilon_all=accountant.any_of(mechanisms, runs, plan.delta) if private else math.inf,
        epsilon_poisson=best[0],
        epsilon_geometric=best[1],
        budget=ledger.name if ledger else "",
        share=share,
        fits=fits,
        charged=charged,
    )


class Held:
    """The places that a sweep holds in its data set's ledger, one for each run to come."""

    def __init__(self, home: Home, design: Design, recipe: Recipe, space: Space) -> None:
        """Raises SpaceError where what it would hold cannot be known, and PlanError."""
        self._id = design.id
        chosen = recipe.chosen(space.fixed)
        self._ledger = ledger_for(home.ledger, chosen)
        self._recipe = chosen
        self._accepted = design.accept_no_privacy
        self._plan: Plan | None = None
        if self._ledger is not None:
            found = plans(recipe, space)
            self._plan = _dearest(found, self._ledger) if found else None

    def hold(self, runs: int) -> None:
        """Hold places for so many runs; those that are held already count.

        Raises BudgetRefused, which says how many would fit, and LedgerDamaged and OSError.
        """
        ledger, plan = self._ledger, self._plan
        if ledger is None:
            return
        if plan is None or not plan.private:
            if not self._accepted:
                instead = self._recipe.private_choices()
                admit(ledger, f"{self._id}.0", self._recipe.name, plan, instead=instead)
            return
        from traindeck.core.privacy import accountant

        tend(ledger)
        check_named(ledger, plan)
        account = ledger.account()
        missing = runs - len(self._places())
        if missing <= 0:
            return
        rho = accountant.rho(plan.mechanism, account.order, account.delta)
        cost = rho * plan.mechanism.steps
        fits = account.more(cost)
        if fits < missing:
            raise BudgetRefused(self._refusal(runs, missing, fits, cost, account.rho_budget))
        first = len(ledger.history())  # no place has a name that one had before
        hold(
            ledger,
            [f"{self._id}{SWEEP_PLACE}{first + k}" for k in range(missing)],
            f"a trial of sweep {self._id} ({self._recipe.name})",
            plan.mechanism,
            rho,
            plan.epsilon,
            plan.delta,
        )

    def _refusal(self, runs: int, missing: int, fits: int, cost: float, budget: float) -> str:
        from traindeck.core.privacy.bounds import percent

        assert self._ledger is not None
        name = self._ledger.name
        would = f"{percent(missing * cost / budget)} of the budget of {name}" if budget else "more"
        mend = f"{fits} of them fit" if fits else "not one of them fits"
        return (
            f"the sweep's {missing} runs would take {would}, more than is left: {mend}. Search with"
            " fewer trials, at a smaller epsilon each, or on public data; `traindeck budget show"
            f" {name}` says what is left"
        )

    def _places(self) -> list[str]:
        assert self._ledger is not None
        return [
            one.id
            for one in self._ledger.account().runs
            if one.open and one.id.startswith(f"{self._id}{SWEEP_PLACE}")
        ]

    def count(self) -> int:
        """How many places it holds."""
        return len(self._places()) if self._ledger is not None else 0

    def next(self) -> str:
        """A place that the next run takes over; empty where none is held."""
        if self._ledger is None:
            return ""
        return next(iter(self._places()), "")

    def give_back(self) -> None:
        """Give back all places that no run took. Raises LedgerDamaged and OSError."""
        if self._ledger is not None:
            for place in self._places():
                self._ledger.settle(place, GIVEN_BACK, 0)
