"""The Rényi privacy filter: which entry a ledger may take next.

Runs may be chosen after seeing what earlier ones released: as long as the divergences, at one fixed
order, of all of them together stay within the budget, so does the privacy of everything released
(Feldman & Zrnic 2021; Lécuyer 2021). A run counts with its whole plan from its reservation on, and
with the steps that it took once it is settled.

Sums are exact: a double is a whole multiple of 2^-1074, and these multiples are added as integers.
No rounding admits what does not fit, and the order in which runs come and go changes nothing.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from traindeck.core.base.errors import BudgetRefused
from traindeck.core.privacy.ledger.lines import Entry
from traindeck.core.privacy.mechanism import Mechanism

_BITS = 1074
_ONE = 1 << _BITS


class OverBudget(BudgetRefused):
    """More than is left; `steps` of what was asked would fit. `short` is the message in a line."""

    def __init__(self, message: str, steps: int, short: str = "") -> None:
        super().__init__(message)
        self.steps, self.short = steps, short


class NotOpen(BudgetRefused):
    """The run has no reservation that could be spent, or has had one already."""


class OtherData(BudgetRefused):
    """The budget is that of other data."""


@dataclass(slots=True)
class Reservation:
    """What an open run may spend, and how many steps it has committed of that."""

    mechanism: Mechanism
    rho: float
    committed: int = 0


@dataclass(slots=True)
class Filter:
    """What must be known to admit the next entry, and not more.

    charged   what all runs count for, exactly
    datasets  those that spend this budget, and their fingerprints
    open      the runs that may still commit; ended: those that are settled
    exposed   the runs without privacy
    truncated whether a run with truncated sampling was reserved: its price is for budgets of an
              epsilon up to `truncation.MOST_EPSILON`
    """

    name: str
    delta: float
    order: float
    rho_budget: float
    charged: int = 0
    datasets: dict[str, str | None] = field(default_factory=dict)
    open: dict[str, Reservation] = field(default_factory=dict)
    ended: dict[str, None] = field(default_factory=dict)
    exposed: dict[str, None] = field(default_factory=dict)
    truncated: bool = False

    @classmethod
    def begun(cls, name: str, entry: Entry) -> Filter:
        """The filter of a ledger that has this first entry. Raises ValueError for another's."""
        if entry["type"] != "create":
            raise ValueError("a ledger begins with its create entry")
        if entry["name"] != name:
            raise ValueError(f"it is the ledger of {entry['name']}, not of {name}")
        datasets = {name: entry["fingerprint"]}
        return cls(name, entry["delta"], entry["order"], entry["rho_budget"], datasets=datasets)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "delta": self.delta,
            "order": self.order,
            "rho_budget": self.rho_budget,
            "charged": hex(self.charged),
            "datasets": dict(self.datasets),
            "open": {
                run: [one.mechanism.to_json(), one.rho, one.committed]
                for run, one in self.open.items()
            },
            "ended": list(self.ended),
            "exposed": list(self.exposed),
            **({"truncated": True} if self.truncated else {}),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Filter:
        """The inverse of `to_json`."""
        return cls(
            data["name"],
            data["delta"],
            data["order"],
            data["rho_budget"],
            int(data["charged"], 16),
            data["datasets"],
            {
                run: Reservation(Mechanism.from_json(mechanism), rho, committed)
                for run, (mechanism, rho, committed) in data["open"].items()
            },
            dict.fromkeys(data["ended"]),
            dict.fromkeys(data["exposed"]),
            data.get("truncated", False),
        )

    @property
    def left(self) -> int:
        """Negative when more is charged, by imports or since the budget was lowered."""
        return exact(self.rho_budget) - self.charged

    def apply(self, entry: Entry) -> None:
        """Take an entry that is itself sound.

        Raises BudgetRefused when it may not come next, ValueError when it makes no sense.
        """
        _RULES[entry["type"]](self, entry)

    def _create(self, entry: Entry) -> None:
        raise ValueError("a ledger has one create entry, its first")

    def _set(self, entry: Entry) -> None:
        if self.truncated:
            self._check_truncated(entry["rho_budget"])
        self.rho_budget = entry["rho_budget"]

    def _pin(self, entry: Entry) -> None:
        dataset, fingerprint = entry["dataset"], entry["fingerprint"]
        pinned = self.datasets[self._known(dataset)]
        if pinned not in (None, fingerprint):
            raise OtherData(
                f"the budget of {dataset} is that of other data than this: if this was made of"
                " that, say so by `budget derive`; else give it a name and a budget of its own"
            )
        self.datasets[dataset] = fingerprint

    def _derive(self, entry: Entry) -> None:
        self._known(entry["of"])
        if entry["child"] in self.datasets:
            raise ValueError(f"{entry['child']} spends the budget of {self.name} already")
        self.datasets[entry["child"]] = entry["fingerprint"]

    def _reserve(self, entry: Entry) -> None:
        run, rho = entry["run"], entry["rho"]
        if run in self.open or run in self.ended:
            raise NotOpen(f"run {run} has a reservation already")
        self._known(entry["dataset"])
        mechanism = mechanism_of(entry["mechanism"])
        truncated = mechanism.sampler == "truncated"
        if truncated:
            self._check_truncated(self.rho_budget)
        cost = cost_of(mechanism, rho, mechanism.steps)
        if cost > self.left:
            raise over_budget(
                self.name,
                entry["recipe"],
                mechanism,
                rho,
                left=self.left,
                budget=self.rho_budget,
                delta=self.delta,
                order=self.order,
            )
        self.charged += cost
        self.open[run] = Reservation(mechanism, rho)
        self.truncated |= truncated

    def _check_truncated(self, rho_budget: float) -> None:
        from traindeck.core.privacy.accountant import epsilon_budget
        from traindeck.core.privacy.truncation import MOST_EPSILON

        epsilon = epsilon_budget(rho_budget, self.delta, self.order)
        if rho_budget and epsilon > MOST_EPSILON * (1 + 1e-9):
            raise BudgetRefused(
                f"a budget of {self.name} of epsilon {epsilon:.4g} is too large for truncated"
                f" sampling, which is priced for budgets up to {MOST_EPSILON:g}"
            )

    def still_admits(self, run: str, steps: int) -> None:
        """Raises OverBudget for a commit that a budget no longer covers.

        It was lowered since, or charged by an import. No rule of `apply`: what was committed before
        stays in the ledger.
        """
        if self.left >= 0 or run not in self.open:
            return
        released = self.charged
        for id, one in self.open.items():
            taken = steps if id == run else one.committed
            plan = one.mechanism
            released -= cost_of(plan, one.rho, plan.steps) - cost_of(plan, one.rho, taken)
        if released > exact(self.rho_budget):
            raise OverBudget(
                f"the budget of {self.name} was lowered since run {run} was launched, or charged"
                " for what was released elsewhere, and admits no more than the"
                f" {self.open[run].committed} steps that it has taken",
                0,
            )

    def _commit(self, entry: Entry) -> None:
        run, steps = entry["run"], entry["steps"]
        reservation = self._opened(run)
        reserved, committed = reservation.mechanism.steps, reservation.committed
        if steps > reserved:
            raise OverBudget(
                f"run {run} has reserved {reserved} steps; step {steps} is not among them",
                reserved - committed,
            )
        if steps < committed:
            raise ValueError(f"run {run} has committed {committed} steps: {steps} cannot follow")
        reservation.committed = steps

    def _settle(self, entry: Entry) -> None:
        run, steps = entry["run"], entry["steps"]
        reservation = self._opened(run)
        mechanism, rho = reservation.mechanism, reservation.rho
        if steps > mechanism.steps:
            raise ValueError(f"run {run} has reserved {mechanism.steps} steps, not {steps}")
        self.charged += cost_of(mechanism, rho, steps) - cost_of(mechanism, rho, mechanism.steps)
        del self.open[run]
        self.ended[run] = None

    def _import(self, entry: Entry) -> None:
        """What was released is charged, whether it fits or not."""
        run = entry["run"]
        if run in self.open or run in self.ended:
            raise NotOpen(f"run {run} is in the ledger of {self.name} already")
        self._known(entry["dataset"])
        mechanism = mechanism_of(entry["mechanism"])
        self.charged += cost_of(mechanism, entry["rho"], mechanism.steps)
        self.ended[run] = None

    def _expose(self, entry: Entry) -> None:
        self._known(entry["dataset"])
        if entry["run"] in self.exposed:
            raise ValueError(f"run {entry['run']} is exposed already")
        self.exposed[entry["run"]] = None

    def _quarantine(self, entry: Entry) -> None:
        if entry["run"] not in self.open and entry["run"] not in self.ended:
            raise NotOpen(f"run {entry['run']} has nothing in the ledger of {self.name}")

    def _mend(self, entry: Entry) -> None:
        pass

    def _opened(self, run: str) -> Reservation:
        if run in self.ended:
            raise NotOpen(f"run {run} was settled: it may spend no more")
        if run not in self.open:
            raise NotOpen(f"run {run} has no reservation in the ledger of {self.name}")
        return self.open[run]

    def _known(self, dataset: str) -> str:
        if dataset not in self.datasets:
            raise ValueError(f"{dataset} does not spend the budget of {self.name}")
        return dataset


_RULES: dict[str, Callable[[Filter, Entry], None]] = {
    "create": Filter._create,
    "set": Filter._set,
    "pin": Filter._pin,
    "derive": Filter._derive,
    "reserve": Filter._reserve,
    "commit": Filter._commit,
    "settle": Filter._settle,
    "import": Filter._import,
    "expose": Filter._expose,
    "quarantine": Filter._quarantine,
    "mend": Filter._mend,
}


def over_budget(
    name: str,
    recipe: str,
    mechanism: Mechanism,
    rho: float,
    *,
    left: int,
    budget: float,
    delta: float,
    order: float,
    largest: float | None = None,
) -> OverBudget:
    """Why a plan does not fit into what is left of a budget, and what would.

    largest  epsilon of such a run that would, if it was worked out
    """
    if not budget:
        return OverBudget(
            f"the budget of {name} is frozen, it admits nothing more:"
            f" `traindeck budget set {name} --epsilon E` opens it again",
            0,
            f"the budget of {name} is frozen",
        )
    from traindeck.core.privacy import accountant
    from traindeck.core.privacy.bounds import at_least, at_most, percent

    cost = cost_of(mechanism, rho, mechanism.steps)
    steps = bisect_right(
        range(1, mechanism.steps + 1), left, key=lambda n: cost_of(mechanism, rho, n)
    )
    total = exact(budget) - left + cost  # all that the budget would then have to cover
    wanted = at_most(accountant.epsilon_budget(inexact(total), delta, order))
    needed, there = percent(inexact(cost) / budget), percent(inexact(left) / budget, at_least)
    epochs = steps * mechanism.sampling_rate
    fit = (
        f"{steps:,} of its {mechanism.steps:,} steps {'fits' if steps == 1 else 'fit'} at the same"
        f" noise ({at_least(epochs)} epochs)"
        if steps
        else "not one of its steps fits"
    )
    smaller = f", and so would a run of epsilon {largest:g}" if largest else ""
    return OverBudget(
        f"{recipe} would take {needed} of the budget of {name}, and {there} of it is left: {fit};"
        f" a budget of epsilon {wanted} would admit it (`traindeck budget set {name} --epsilon"
        f" {wanted}`){smaller} [Rényi divergence of order {order:g}: it costs {inexact(cost):.4g},"
        f" {max(inexact(left), 0.0):.4g} of {budget:.4g} is left]",
        steps,
        f"{needed} needed, {there} left" + (f"; epsilon ≤ {largest:g} fits" if largest else ""),
    )


def overdrawing(source: str, cost: int, now: Filter) -> OverBudget:
    """Why what was released elsewhere does not fit into what is left of a budget."""
    from traindeck.core.privacy.bounds import at_least, percent

    budget = now.rho_budget
    of = f"{percent(inexact(cost) / budget)} of the budget" if budget else "a part of the budget"
    left = percent(max(0.0, inexact(now.left)) / budget, at_least) if budget else "nothing"
    return OverBudget(
        f"{source} took {of} of {now.name}, and {left} of it is left. Nothing was recorded, but"
        " what is released is released: --already-released charges it all the same, the budget is"
        " then overdrawn and admits nothing more",
        0,
    )


def mechanism_of(data: dict[str, Any]) -> Mechanism:
    """A run's plan. Raises ValueError for what is none, or has no noise."""
    try:
        return _mechanism(*data.items())
    except (TypeError, OverflowError) as error:
        raise ValueError(f"not a mechanism: {error}") from None


@lru_cache(maxsize=2048)
def _mechanism(*items: tuple[str, Any]) -> Mechanism:
    mechanism = Mechanism.from_json(dict(items))
    if mechanism.noise_multiplier == 0:
        raise ValueError("a run without noise has no finite cost: it is exposed, not reserved")
    return mechanism


def cost_of(mechanism: Mechanism, rho: float, steps: int) -> int:
    """What so many steps of a plan cost, exactly, if one costs rho.

    It is the share of the plan's cost that their releases are of the plan's: for a sampler that
    sees every record once in each pass, part of a pass costs as much as the whole of it.
    """
    if mechanism.releases == mechanism.steps:
        return steps * exact(rho)
    releases = mechanism.with_steps(steps).releases
    return -(-mechanism.steps * exact(rho) * releases // mechanism.releases)


@lru_cache(maxsize=1024)
def exact(value: float) -> int:
    """A number as a multiple of 2^-1074."""
    numerator, denominator = value.as_integer_ratio()
    return numerator << (_BITS - denominator.bit_length() + 1)


def inexact(units: int) -> float:
    try:
        return units / _ONE
    except OverflowError:
        return math.inf
