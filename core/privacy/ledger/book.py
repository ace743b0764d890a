"""A ledger read from its first entry to its last: who has spent what, and whether it may be so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from traindeck.core.base.errors import OVER_BUDGET, BudgetRefused, TraindeckError
from traindeck.core.privacy.ledger.account import (
    GIVEN_BACK,
    HANDED_ON,
    IMPORTED,
    Account,
    Charge,
    Child,
    Exposure,
)
from traindeck.core.privacy.ledger.entries import MAX_TEXT, check, new_entry
from traindeck.core.privacy.ledger.filter import Filter, inexact, mechanism_of
from traindeck.core.privacy.ledger.lines import Entry, Problem, Scan
from traindeck.core.privacy.mechanism import PUBLIC_OWNERS


class LedgerDamaged(TraindeckError):
    """The ledger cannot be trusted, so nothing is spent from it: a refusal, too."""

    exit_code = OVER_BUDGET

    def __init__(self, path: Path, problem: Problem) -> None:
        super().__init__(
            f"{path}: {problem}. Nothing is spent on this budget until that is mended: put"
            " this file and its .head.json back from one backup that holds all of it"
        )
        self.path = path
        self.problem = problem


class Book:
    """What the entries say, in order, each admitted by the filter as it was when it was written."""

    def __init__(self, name: str, first: Entry) -> None:
        """Raises ValueError for a first entry that is not this ledger's."""
        self.filter = Filter.begun(name, first)
        self._created = first
        self._epsilon: float = first["epsilon"]
        self._runs: dict[str, Charge] = {}
        self._exposures: list[Exposure] = []
        self._children: dict[str, Child] = {}

    def add(self, entry: Entry) -> None:
        """Raises BudgetRefused or ValueError for an entry that no rule admits."""
        self.filter.apply(entry)
        match entry["type"]:
            case "commit":
                run = self._runs[entry["run"]]
                run.committed, run.committed_at, run.state = entry["steps"], entry["t"], "running"
            case "reserve":
                self._runs[entry["run"]] = Charge(
                    id=entry["run"],
                    recipe=entry["recipe"],
                    dataset=entry["dataset"],
                    mechanism=mechanism_of(entry["mechanism"]),
                    rho=entry["rho"],
                    epsilon=entry["epsilon"],
                    who=entry["who"],
                    reserved_at=entry["t"],
                    delta=entry.get("delta"),
                )
            case "import":
                steps = entry["mechanism"]["steps"]
                self._runs[entry["run"]] = Charge(
                    id=entry["run"],
                    recipe=entry["recipe"],
                    dataset=entry["dataset"],
                    mechanism=mechanism_of(entry["mechanism"]),
                    rho=entry["rho"],
                    epsilon=entry["epsilon"],
                    who=None,
                    reserved_at=entry["t"],
                    committed=steps,
                    settled=steps,
                    state=IMPORTED,
                    committed_at=entry["t"],
                    settled_at=entry["t"],
                    delta=entry.get("delta"),
                )
            case "settle":
                run = self._runs[entry["run"]]
                run.settled, run.settled_at = entry["steps"], entry["t"]
                run.state = entry["state"]
                if run.state in (HANDED_ON, GIVEN_BACK) and not run.settled:
                    del self._runs[run.id]  # a place that was held for a run is none
            case "set":
                self._epsilon = entry["epsilon"]
            case "derive":
                self._children[entry["child"]] = Child(
                    name=entry["child"],
                    of=entry["of"],
                    kind=entry["kind"],
                    fingerprint=entry["fingerprint"],
                    at=entry["t"],
                )
            case "pin" if entry["dataset"] in self._children:
                child = self._children[entry["dataset"]]
                self._children[child.name] = replace(child, fingerprint=entry["fingerprint"])
            case "expose":
                self._exposures.append(
                    Exposure(
                        run=entry["run"],
                        recipe=entry["recipe"],
                        dataset=entry["dataset"],
                        reason=entry["reason"],
                        at=entry["t"],
                    )
                )
            case "quarantine":
                self._runs[entry["run"]].quarantined = entry["reason"]

    def settle(self, ended: Callable[[Charge], str]) -> None:
        """Settle each open run that has ended, by what is said of it, with what it committed."""
        for run in tuple(self._runs.values()):
            if run.open and (state := ended(run)):
                self.add(new_entry("settle", run=run.id, steps=run.committed, state=state))

    def account(self, entries: int, head: str) -> Account:
        """What all entries come to."""
        made, spends = self._created, self.filter
        released = sum(run.cost(run.released) for run in self._runs.values())
        return Account(
            name=spends.name,
            fingerprint=spends.datasets[spends.name],
            unit=made["unit"],
            relation=PUBLIC_OWNERS if made["unit"] == "owner" else made["relation"],
            delta=made["delta"],
            epsilon=self._epsilon,
            order=made["order"],
            rho_budget=spends.rho_budget,
            rho_spent=inexact(released),
            rho_reserved=inexact(spends.charged - released),
            runs=tuple(self._runs.values()),
            exposures=tuple(self._exposures),
            children=tuple(self._children.values()),
            created=made["t"],
            entries=entries,
            head=head,
            exact_left=spends.left,
        )


def replay(name: str, path: Path, scan: Scan) -> Book:
    """The book of a ledger's entries.

    Raises LedgerDamaged, also when no rule admits an entry, or the head does not agree.
    """
    problem = scan.damage or (None if scan.entries else Problem(0, "there is nothing in it"))
    if problem is not None:
        raise LedgerDamaged(path, problem)
    book: Book | None = None
    for line, entry in enumerate(scan.entries, 1):
        try:
            check(entry)
            if book is None:
                book = Book(name, entry)
            else:
                book.add(entry)
        except (ValueError, BudgetRefused) as error:
            raise LedgerDamaged(path, Problem(line, str(error))) from None
    assert book is not None
    if scan.summary is not None and scan.summary != book.filter.to_json():
        raise LedgerDamaged(path, Problem(0, "its head says something else than its entries"))
    return book


def mends(scan: Scan) -> list[Entry]:
    """What the next append mends, for the record."""
    return [
        new_entry("mend", dropped=scan.torn if one.line else 0, reason=one.what[:MAX_TEXT])
        for one in scan.problems
    ]
