"""The rules of a ledger: which entry may come next, and what it does to the account.

The gate is a Rényi privacy filter at one fixed order (Feldman & Zrnic 2021; Lécuyer 2021): runs may
be chosen after seeing what earlier ones released, and as long as the divergences of all of them
together stay within the budget, so does the privacy of everything released. A run counts with its
whole plan from its reservation on, and with the steps that it took once it is settled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from traindeck.core.errors import BudgetRefused, TraindeckError
from traindeck.core.privacy.account import Account, Charge, Child, Exposure, exact, inexact
from traindeck.core.privacy.chain import Entry, Problem, Scan
from traindeck.core.privacy.entries import MAX_TEXT, check, new_entry
from traindeck.core.privacy.mechanism import Mechanism


class LedgerDamaged(TraindeckError):
    """The ledger cannot be trusted, so nothing is spent from it."""

    def __init__(self, path: Path, problem: Problem) -> None:
        super().__init__(
            f"{path}: {problem}. Nothing is spent on this budget until that is mended: put"
            " this file and its .head.json back from one backup"
        )
        self.path = path
        self.problem = problem


class OverBudget(BudgetRefused):
    """More than is left; `steps` of what was asked would fit."""

    def __init__(self, message: str, steps: int) -> None:
        super().__init__(message)
        self.steps = steps


class NotOpen(BudgetRefused):
    """The run has no reservation that could be spent, or has one already."""


class OtherData(BudgetRefused):
    """The budget is that of other data."""


class Book:
    """An account in the making: entries are applied one after the other.

    The rules by which an entry is admitted are those by which it is believed when it is read back.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.created: Entry | None = None
        self.epsilon = 0.0
        self.rho_budget = 0.0
        self.fingerprints: dict[str, str | None] = {}
        self.runs: dict[str, Charge] = {}
        self.exposures: dict[str, Exposure] = {}
        self.children: dict[str, Child] = {}
        self._charged = 0
        self._rules: dict[str, Callable[[Entry], None]] = {
            "create": self._create,
            "set": self._set,
            "pin": self._pin,
            "derive": self._derive,
            "reserve": self._reserve,
            "commit": self._commit,
            "settle": self._settle,
            "expose": self._expose,
            "quarantine": self._quarantine,
            "mend": lambda entry: None,
        }

    def apply(self, entry: Entry) -> None:
        """Raises ValueError or BudgetRefused for an entry, itself sound, that may not come next."""
        if (self.created is None) != (entry["type"] == "create"):
            raise ValueError("a ledger begins with its create entry, and has no other")
        self._rules[entry["type"]](entry)

    def account(self, entries: int, head: str) -> Account:
        """What all entries applied come to."""
        made = self.created
        if made is None:
            raise ValueError("a ledger begins with its create entry")
        released = sum(run.cost(run.released) for run in self.runs.values())
        return Account(
            name=self.name,
            fingerprint=self.fingerprints[self.name],
            unit=made["unit"],
            relation=made["relation"],
            delta=made["delta"],
            epsilon=self.epsilon,
            order=made["order"],
            rho_budget=self.rho_budget,
            rho_spent=inexact(released),
            rho_reserved=inexact(self._charged - released),
            runs=tuple(self.runs.values()),
            exposures=tuple(self.exposures.values()),
            children=tuple(
                Child(**{**one, "fingerprint": self.fingerprints[one["name"]]})
                for one in self.children.values()
            ),
            created=made["t"],
            entries=entries,
            head=head,
            exact_left=self._left,
        )

    def is_open(self, run: str) -> bool:
        return run in self.runs and self.runs[run].open

    def summary(self) -> dict[str, Any]:
        """What the next writer needs to commit and settle runs, and whoever looks for a name."""
        runs = self.runs.values()
        return {
            "open": {run.id: [run.reserved, run.committed] for run in runs if run.open},
            "datasets": self.fingerprints,
        }

    @property
    def _left(self) -> int:
        return exact(self.rho_budget) - self._charged

    def _create(self, entry: Entry) -> None:
        if entry["name"] != self.name:
            raise ValueError(f"it is the ledger of {entry['name']}, not of {self.name}")
        self.created = entry
        self.fingerprints[self.name] = entry["fingerprint"]
        self._set(entry)

    def _set(self, entry: Entry) -> None:
        self.epsilon, self.rho_budget = entry["epsilon"], entry["rho_budget"]

    def _pin(self, entry: Entry) -> None:
        dataset, fingerprint = entry["dataset"], entry["fingerprint"]
        pinned = self.fingerprints[self._known(dataset)]
        if pinned not in (None, fingerprint):
            raise OtherData(
                f"the budget of {dataset} is that of data with the fingerprint {pinned}, and this"
                f" data has {fingerprint}: if it was made of that, say so by `budget derive`; if it"
                " is other data, give it a name and a budget of its own"
            )
        self.fingerprints[dataset] = fingerprint

    def _derive(self, entry: Entry) -> None:
        name = entry["child"]
        if name in self.fingerprints:
            raise ValueError(f"{name} spends the budget of {self.name} already")
        of = self._known(entry["of"])
        self.fingerprints[name] = entry["fingerprint"]
        self.children[name] = Child(
            name=name, of=of, kind=entry["kind"], fingerprint=entry["fingerprint"], at=entry["t"]
        )

    def _reserve(self, entry: Entry) -> None:
        if entry["run"] in self.runs:
            raise NotOpen(f"run {entry['run']} has a reservation already")
        mechanism = _mechanism(*entry["mechanism"].items())
        if mechanism.noise_multiplier == 0:
            raise ValueError("a run without noise cannot be reserved: it is exposed")
        run = Charge(
            id=entry["run"],
            recipe=entry["recipe"],
            dataset=self._known(entry["dataset"]),
            mechanism=mechanism,
            rho=entry["rho"],
            epsilon=entry["epsilon"],
            who=entry["who"],
            reserved_at=entry["t"],
        )
        cost = run.cost(run.reserved)
        if cost > self._left:
            raise self._over_budget(run, cost)
        self._charged += cost
        self.runs[run.id] = run

    def _over_budget(self, run: Charge, cost: int) -> OverBudget:
        asked, left, steps = inexact(cost), inexact(self._left), run.fitting(self._left)
        order = self.created["order"] if self.created else 0
        fit = f"at most {steps} such steps fit" if steps else "not one such step fits"
        return OverBudget(
            f"{self.name}: {run.reserved} steps of {run.recipe} cost {asked:.4g} of Rényi"
            f" divergence at order {order:g}, and {max(left, 0.0):.4g} of {self.rho_budget:.4g} is"
            f" left: {fit}",
            steps,
        )

    def _commit(self, entry: Entry) -> None:
        run = self._open(entry["run"])
        _check_commit(run.id, entry["steps"], run.committed, run.reserved)
        run.committed, run.committed_at, run.state = entry["steps"], entry["t"], "running"

    def _settle(self, entry: Entry) -> None:
        run = self._open(entry["run"])
        _check_settle(run.id, entry["steps"], run.reserved)
        self._charged -= run.cost(run.charged)
        run.settled, run.settled_at, run.state = entry["steps"], entry["t"], entry["state"]
        self._charged += run.cost(run.charged)

    def _expose(self, entry: Entry) -> None:
        run, dataset = entry["run"], self._known(entry["dataset"])
        if run in self.exposures:
            raise ValueError(f"run {run} is exposed already")
        self.exposures[run] = Exposure(
            run=run,
            recipe=entry["recipe"],
            dataset=dataset,
            reason=entry["reason"],
            at=entry["t"],
        )

    def _quarantine(self, entry: Entry) -> None:
        run = self.runs.get(entry["run"])
        if run is None:
            raise NotOpen(f"run {entry['run']} has nothing in the ledger of {self.name}")
        run.quarantined = entry["reason"]

    def _open(self, run: str) -> Charge:
        charge = self.runs.get(run)
        if charge is None:
            raise NotOpen(f"run {run} has no reservation in the ledger of {self.name}")
        if not charge.open:
            raise NotOpen(f"run {run} was settled as {charge.state}: it may spend no more")
        return charge

    def _known(self, dataset: str) -> str:
        if dataset not in self.fingerprints:
            raise ValueError(f"{dataset} does not spend the budget of {self.name}")
        return dataset


@lru_cache(maxsize=256)
def _mechanism(*items: tuple[str, Any]) -> Mechanism:
    """Many runs have the same. Raises ValueError for what is not one."""
    return Mechanism.from_json(dict(items))


def replay(name: str, path: Path, scan: Scan) -> Book:
    """The book that a ledger's entries make.

    Raises LedgerDamaged, also for entries that no rule admits.
    """
    problem = scan.damage or (None if scan.entries else Problem(0, "there is nothing in it"))
    if problem is not None:
        raise LedgerDamaged(path, problem)
    book = Book(name)
    for line, entry in enumerate(scan.entries, 1):
        try:
            check(entry)
            book.apply(entry)
        except (ValueError, TypeError, OverflowError, BudgetRefused) as error:
            raise LedgerDamaged(path, Problem(line, str(error))) from None
    return book


def advance(summary: dict[str, Any], entry: Entry) -> None:
    """Bring a summary up to date with a commit or a settle entry of a run that is open in it.

    Raises what applying it to a book would raise.
    """
    run, steps = entry["run"], entry["steps"]
    reserved, committed = summary["open"][run]
    if entry["type"] == "commit":
        _check_commit(run, steps, committed, reserved)
        summary["open"][run] = [reserved, steps]
    else:
        _check_settle(run, steps, reserved)
        del summary["open"][run]


def _check_commit(run: str, steps: int, committed: int, reserved: int) -> None:
    """Raises OverBudget past the reservation, ValueError when steps are taken back."""
    if steps > reserved:
        raise OverBudget(
            f"run {run} has reserved {reserved} steps; step {steps} is not among them",
            reserved - committed,
        )
    if steps < committed:
        raise ValueError(f"run {run} has committed {committed} steps and cannot go back to {steps}")


def _check_settle(run: str, steps: int, reserved: int) -> None:
    """Raises ValueError when a run says it took more steps than it had."""
    if steps > reserved:
        raise ValueError(f"run {run} has reserved {reserved} steps and cannot have taken {steps}")


def mends(scan: Scan) -> list[Entry]:
    """What the next append mends, for the record."""
    return [
        new_entry("mend", dropped=scan.torn if one.line else 0, reason=one.what[:MAX_TEXT])
        for one in scan.problems
    ]


def check_covered(rho_budget: float, epsilon: float, delta: float, order: float) -> None:
    """Raises ValueError when (epsilon, delta) does not cover the divergence."""
    from traindeck.core.privacy import accountant

    covered = accountant.rho_budget(epsilon, delta, order)
    if rho_budget > covered * (1 + 1e-9):
        raise ValueError(
            f"a Rényi divergence of {rho_budget:.6g} at order {order:g} is not covered by epsilon"
            f" {epsilon:g} at delta {delta:g}, which admits {covered:.6g}"
        )
