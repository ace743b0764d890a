"""Per data set: what every run reserved and spent of its privacy budget.

    <folder>/<name>.jsonl   append-only, hash-chained, fsynced (`chain`); what may stand in it is
                            whitelisted (`entries`) and admitted by a Rényi filter (`filter`);
                            what is outside the folder bears witness of it (`witness`)

A run's whole plan is reserved before its process starts, each step is committed before its noise
is released, and the rest is given back when the run is settled. Whatever crashes in between stays
charged for at least what it released. A ledger that cannot be trusted is not spent from.

The filter's state stands in the file's head: who writes takes it from there, after every line was
checked (1 ms for each 1,000) or, to commit and settle, after seeing that nobody touched the file.
Who reads replays the entries (6 ms for each 1,000), which checks the filter's state too.

Standard library only: recipes and the supervisor import this.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from traindeck.core.base.errors import BudgetRefused, NotFoundError, UsageError
from traindeck.core.base.files import locked, sweep
from traindeck.core.privacy.ledger.account import HANDED_ON, Account, Charge
from traindeck.core.privacy.ledger.book import LedgerDamaged, mends, replay
from traindeck.core.privacy.ledger.chain import Chain, Writer
from traindeck.core.privacy.ledger.entries import MAX_TEXT, is_name, new_entry
from traindeck.core.privacy.ledger.filter import Filter, NotOpen, cost_of, overdrawing
from traindeck.core.privacy.ledger.lines import Entry, Problem, Scan
from traindeck.core.privacy.ledger.witness import Witness, Witnesses
from traindeck.core.privacy.mechanism import Mechanism

FOLDER_LOCK = ".lock"
"""Held while names are given, so that two ledgers never claim the same one."""


class Ledger:
    """The ledger of a data set, by which a data set derived of it is known too.

    folder   where the ledgers of a home lie
    name     of the data set that has the budget
    dataset  what is trained on: that data set, or one derived of it

    What writes raises OSError when the disk does not take it, LedgerDamaged when the
    ledger cannot be trusted, and NotFoundError when there is none; nothing has been counted then.
    ValueError is for callers: what they gave may not stand in a ledger.
    """

    def __init__(self, folder: Path, name: str, dataset: str | None = None) -> None:
        """Raises UsageError for a name that no ledger can have."""
        if not is_name(name.lower()):
            raise UsageError(
                f"{name!r} cannot have a privacy budget: letters, digits and . _ - make its name"
            )
        self.folder = folder
        self.name = name.lower()
        self.dataset = (dataset or name).lower()
        self._chain = Chain(folder, self.name)
        self._witnesses = Witnesses(folder, self.name)

    @property
    def path(self) -> Path:
        return self._chain.path

    @property
    def exists(self) -> bool:
        """One that the home bears witness of counts: it has been taken away."""
        return self._chain.exists or self._witnesses.exists

    @property
    def is_known(self) -> bool:
        """Whether it exists, or a run knows that it did."""
        return self.exists or bool(self._witnesses.all())

    # Looking

    def account(
        self, ended: Callable[[Charge], str] | None = None, *, everyone: bool = False
    ) -> Account:
        """What the whole ledger comes to, read and verified anew.

        ended     how a run that is open here has ended, empty where it goes on: it is counted as
                  if its settling stood in the ledger already, which is not written to
        everyone  ask each run that paid what it knows of the ledger, not only the home
        """
        return self._account_of(self._scan(everyone=everyone), ended)

    def _account_of(self, scan: Scan, ended: Callable[[Charge], str] | None = None) -> Account:
        book = replay(self.name, self.path, scan)
        if ended is not None:
            book.settle(ended)
        return book.account(len(scan.entries), scan.last)

    def history(self) -> list[Entry]:
        """All entries, as they stand in the file, verified."""
        scan = self._scan()
        replay(self.name, self.path, scan)
        return scan.entries

    def verify(self) -> list[Problem]:
        """All that is wrong with the ledger, by all that bears witness of it."""
        scan = self._scan(everyone=True)
        if scan.damage is None:
            try:
                replay(self.name, self.path, scan)
            except LedgerDamaged as error:
                return [*scan.problems, error.problem]
        return scan.problems

    def datasets(self) -> dict[str, str | None]:
        """The data sets that spend this budget, and their fingerprints."""
        summary = self._chain.summary()
        if summary is not None:
            return cast("dict[str, str | None]", summary["datasets"])
        return replay(self.name, self.path, self._scan()).filter.datasets

    # Writing

    def begin(self, first: Entry) -> None:
        """Write its first entry, of type create."""
        self._chain.create([first], Filter.begun(self.name, first).to_json())
        with self._writing() as writer:
            writer.scan()
            self._witnesses.bear(*writer.end, runs=())

    def add(self, new: Callable[[Filter], Sequence[Entry]], *, verified: bool = True) -> None:
        """Add the entries that are to be added, if any, given what is there.

        verified  check every line before; else only whether somebody has touched the file
        """
        with self._writing() as writer:
            known = writer.summary(verified=verified)
            mended: list[Entry] = []
            if known is not None:
                now = Filter.from_json(known)
                count, last = writer.end
                missed = self._witnesses.against(self._witnesses.of_home(), count, [last])
                if missed:
                    raise LedgerDamaged(self.path, missed[0])
            else:
                scan = self._heard(writer.scan(), self._witnesses.of_home())
                now, mended = replay(self.name, self.path, scan).filter, mends(scan)
            entries = new(now)
            if not entries:
                return
            entries = [*mended, *entries]
            for entry in entries:
                now.apply(entry)
            writer.append(entries, now.to_json())
            paid = {entry["run"] for entry in entries if "run" in entry}
            self._witnesses.bear(*writer.end, runs=paid)

    # Spending

    def reserve(
        self,
        run: str,
        recipe: str,
        mechanism: Mechanism,
        rho: float,
        epsilon: float,
        who: dict[str, str | int] | None,
        delta: float | None = None,
        place: str = "",
    ) -> None:
        """Take a run's whole plan out of the budget, before its process starts.

        rho      what one step costs: Rényi divergence at the ledger's order
        epsilon  what the whole plan costs, for people to read; at its own delta
        who      the process that stands for the run until it is settled
        place    one that a sweep holds (`hold`): it is given back in the same write

        Raises OverBudget, and NotOpen for a run that has a reservation already.
        """
        new = new_entry(
            "reserve",
            run=run,
            recipe=recipe[:MAX_TEXT],
            dataset=self.dataset,
            mechanism=mechanism.to_json(),
            rho=rho,
            epsilon=epsilon,
            who=who,
            **({} if delta is None else {"delta": delta}),
        )
        sweep(self.folder)

        taken = new_entry("settle", run=place, steps=0, state=HANDED_ON) if place else None
        self.add(lambda now: [taken, new] if taken and place in now.open else [new])

    def commit(self, run: str, steps: int, mechanism: Mechanism | None = None) -> None:
        """Say that noise will be released for the run's steps up to this many, from its first.

        mechanism  what the run goes by: it must be what was reserved, whatever its plan's file
                   says by now, but for the steps: one that was resumed has reserved what was left

        Raises OverBudget for more than was reserved, or than a budget that was lowered since
        covers, and NotOpen when the run was settled (by
        others, perhaps, who thought it dead) or has become another: the step must then not be
        taken. A run that is exposed has an infinite epsilon already: nothing is counted.
        """
        new = new_entry("commit", run=run, steps=steps)

        def add(now: Filter) -> list[Entry]:
            if run in now.open:
                reserved = now.open[run].mechanism
                if mechanism and not mechanism.like(reserved):
                    raise NotOpen(f"run {run} has reserved {reserved}, and goes by {mechanism}")
                if now.open[run].committed == steps:
                    return []
                now.still_admits(run, steps)
                return [new]
            return [] if run in now.exposed and run not in now.ended else [new]

        self.add(add, verified=False)

    def settle(self, run: str, state: str, steps: int | None = None) -> None:
        """End a run's spending, and give the rest of its plan back.

        steps  how many it took, when it knows; None: all that it committed

        The first to settle a run is right: later ones change nothing, and so it is for a run that
        has no reservation.
        """

        def add(now: Filter) -> list[Entry]:
            if run not in now.open:
                return []
            taken = now.open[run].committed if steps is None else steps
            return [new_entry("settle", run=run, steps=taken, state=state)]

        self.add(add, verified=False)

    def import_runs(
        self,
        runs: Sequence[tuple[str, Mechanism, float, float]],
        source: str,
        *,
        beyond: bool = False,
        why: str = "",
    ) -> None:
        """Charge runs that were made elsewhere and are over, in one write.

        What is there already, of an import that a crash cut short, is not charged again.

        runs    the id of each, what it released, what a step costs (Rényi divergence at the
                ledger's order) and its epsilon at the budget's delta
        source  where that is known from, for people to read
        beyond  also where it does not fit: what was released is not undone by not counting it

        Raises OverBudget, and NotOpen when all of them are in the ledger already.
        """
        delta = self.account().delta
        new = [
            new_entry(
                "import",
                run=run,
                recipe=source[:MAX_TEXT],
                dataset=self.dataset,
                mechanism=mechanism.to_json(),
                rho=rho,
                epsilon=epsilon,
                delta=delta,
                **decided(why),
            )
            for run, mechanism, rho, epsilon in runs
        ]

        def add(now: Filter) -> list[Entry]:
            left = [run for run in runs if run[0] not in now.ended]  # a crash may lose the last
            if not left:
                raise NotOpen(f"it was imported already, as run {runs[0][0]} of {self.name}")
            cost = sum(cost_of(one, rho, one.steps) for _, one, rho, _ in left)
            if cost > now.left and not beyond:
                raise overdrawing(source, cost, now)
            return new[-len(left) :]

        self.add(add)

    def expose(self, run: str, recipe: str, reason: str, why: str = "") -> None:
        """Record, for good, a run that has no finite epsilon.

        reason  what it lacks; `why` is that of whoever accepted it
        """
        new = new_entry(
            "expose",
            run=run,
            recipe=recipe[:MAX_TEXT],
            dataset=self.dataset,
            reason=reason[:MAX_TEXT],
            **decided(why),
        )
        self.add(lambda now: [] if run in now.exposed else [new])

    def quarantine(self, run: str, reason: str) -> None:
        """Record that a run's claim is not to be believed. Raises NotOpen for an unknown run."""
        new = new_entry("quarantine", run=run, reason=reason[:MAX_TEXT])
        self.add(lambda now: [new])

    # What the budget is

    def set_budget(self, epsilon: float, rho_budget: float, why: str = "") -> None:
        """Change the budget; one of 0 admits nothing more.

        What is charged stays charged, even when it is more: open runs then commit no further.
        """
        made = self.account()
        if rho_budget:
            check_covered(rho_budget, epsilon, made.delta, made.order)
        new = new_entry(
            "set", epsilon=epsilon, rho_budget=rho_budget, was=made.epsilon, **decided(why)
        )
        self.add(lambda now: [new])

    def check_unused(self) -> None:
        """Raises BudgetRefused once a run was reserved or exposed: it can then not be removed."""
        self._check_unused(self.account())

    def _check_unused(self, account: Account) -> None:
        if account.runs or account.exposures:
            raise BudgetRefused(
                f"{self.name}: runs are recorded against this budget, so it stays;"
                f" `traindeck budget set {self.name} --epsilon 0` freezes it"
            )

    def remove(self) -> Path:
        """Take away a budget on which nothing was ever recorded; returns where it is kept.

        Raises BudgetRefused once a run was reserved or exposed.
        """
        with locked(self.folder / FOLDER_LOCK), self._writing():
            self._check_unused(self._account_of(self._chain.scanned()))
            kept = self.folder / "removed" / f"{self.name}-{time.strftime('%Y%m%d-%H%M%S')}"
            kept.mkdir(parents=True)
            self._witnesses.drop()
            for path in (self.path, self._chain.head):
                path.rename(kept / path.name)
        return kept

    # How

    def _require(self) -> None:
        if not self.exists:
            raise NotFoundError(
                f"{self.name} has no privacy budget; traindeck budget create {self.name} gives one"
            )

    def _scan(self, *, everyone: bool = False) -> Scan:
        # Witnesses first: they know nothing then that was not in the file when it is read.
        known = self._witnesses.all() if everyone else self._witnesses.of_home()
        if not known:
            self._require()
        return self._heard(self._chain.scan(), known)

    def _heard(self, scan: Scan, known: list[Witness]) -> Scan:
        """The same, with what those who bear witness miss in it."""
        if scan.damage is None:
            hashes = [entry["hash"] for entry in scan.entries]
            scan.problems.extend(self._witnesses.against(known, len(hashes), hashes))
        return scan

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Writer]:
        self._require()
        try:
            with self._chain.writing() as writer:
                yield writer
        except OSError:
            if self._chain.is_replaced:
                replay(self.name, self.path, self._chain.scanned())  # says what is gone
            raise


def decided(why: str) -> dict[str, Any]:
    """Who decides, and the reason given."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        user = str(os.getuid())
    by = {"by": f"{user}@{os.uname().nodename}"[:MAX_TEXT]}
    return {**by, "why": why[:MAX_TEXT]} if why else by


def check_covered(rho_budget: float, epsilon: float, delta: float, order: float) -> None:
    """Raises ValueError when (epsilon, delta) does not cover the divergence."""
    from traindeck.core.privacy import accountant

    covered = accountant.rho_budget(epsilon, delta, order)
    if rho_budget > covered * (1 + 1e-9):
        raise ValueError(
            f"a Rényi divergence of {rho_budget:.6g} at order {order:g} is not covered by epsilon"
            f" {epsilon:g} at delta {delta:g}, which admits {covered:.6g}"
        )
