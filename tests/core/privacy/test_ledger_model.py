"""Any sequence of operations and losses, beside a model that says the rules in a few lines."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.privacy.ledgers import RHO, imports, made, reserve
from traindeck.core.base.errors import BudgetRefused
from traindeck.core.privacy.ledger.account import Account
from traindeck.core.privacy.ledger.ledger import Ledger

Op = tuple[str, int, int]
RUNS = 4


def ops() -> st.SearchStrategy[list[Op]]:
    kinds = st.sampled_from(
        ["reserve"] * 4
        + ["commit"] * 6
        + ["settle"] * 3
        + ["import"] * 2
        + ["end", "set", "torn", "old", "headless"]
    )
    return st.lists(st.tuples(kinds, st.integers(0, RUNS - 1), st.integers(0, 40)), max_size=25)


class Model:
    """The rules of spending, as simply as they can be said. Costs are whole steps."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.reserved: dict[int, int] = {}
        self.committed: dict[int, int] = {}
        self.settled: dict[int, int] = {}

    def charged(self) -> int:
        return sum(self.settled.get(run, steps) for run, steps in self.reserved.items())

    def released(self) -> int:
        return sum(self.settled.get(run, steps) for run, steps in self.committed.items())

    def may(self, kind: str, run: int, steps: int) -> bool:
        """Do it, if it may be done."""
        if kind == "set":
            self.budget = steps + 20
            return True
        if kind == "reserve":
            if run in self.reserved or self.charged() + steps > self.budget:
                return False
            self.reserved[run], self.committed[run] = steps, 0
            return True
        if kind == "import":  # over at once, and charged beyond the budget when it must
            fits = self.charged() + steps <= self.budget
            if run in self.reserved or not (fits or steps % 2):
                return False
            self.reserved[run] = self.committed[run] = self.settled[run] = steps
            return True
        if kind == "commit":
            is_open = run in self.reserved and run not in self.settled
            if not is_open or not self.committed[run] <= steps <= self.reserved[run]:
                return False
            more = steps - self.committed[run]
            if more and self.released() + more > self.budget:  # it was lowered
                return False
            self.committed[run] = steps
            return True
        if run not in self.reserved or run in self.settled:
            return True
        taken = self.committed[run] if kind == "end" else steps
        if taken > self.reserved[run]:
            return False
        self.settled[run] = taken
        return True

    def agrees(self, account: Account) -> None:
        assert {int(run.id): run.reserved for run in account.runs} == self.reserved
        assert {int(run.id): run.committed for run in account.runs} == self.committed
        ended = {int(run.id): run.settled for run in account.runs if run.settled is not None}
        assert ended == self.settled
        assert account.rho_spent + account.rho_reserved == self.charged() * RHO
        assert account.rho_left == (self.budget - self.charged()) * RHO


def do(ledger: Ledger, kind: str, run: int, steps: int) -> bool:
    try:
        if kind == "reserve":
            reserve(ledger, str(run), steps)
        elif kind == "import":
            imports(ledger, str(run), [steps], beyond=steps % 2 == 1)
        elif kind == "commit":
            ledger.commit(str(run), steps)
        elif kind == "settle":
            ledger.settle(str(run), "stopped", steps)
        elif kind == "end":
            ledger.settle(str(run), "killed")
        else:
            ledger.set_budget(3.0, (steps + 20) * RHO)
    except (BudgetRefused, ValueError):
        return False
    return True


def live(folder: Path, done: list[Op]) -> None:
    """Do all that on a ledger and on the model; they agree at every moment."""
    ledger, model = made(folder, rho_budget=60 * RHO), Model(60)
    old = ledger._chain.head.read_bytes()
    for kind, run, steps in done:
        if kind == "torn":
            with ledger.path.open("ab") as file:
                file.write(b'{"v":1,"n":' + b"9" * steps)
        elif kind == "old":
            ledger._chain.head.write_bytes(old)
        elif kind == "headless":
            ledger._chain.head.unlink(missing_ok=True)
        else:
            assert do(ledger, kind, run, steps) == model.may(kind, run, steps), (kind, run, steps)
            if steps % 3 == 0 and ledger._chain.head.exists():
                old = ledger._chain.head.read_bytes()
        model.agrees(ledger.account())
        assert all(problem.mendable for problem in ledger.verify())


@settings(max_examples=150, deadline=None, derandomize=True)
@given(ops())
@pytest.mark.slow
def test_whatever_is_done_and_lost_in_between_the_account_is_right(
    tmp_path_factory: pytest.TempPathFactory, done: list[Op]
) -> None:
    with pytest.MonkeyPatch.context() as hasty:
        hasty.setattr(os, "fsync", lambda descriptor: None)
        live(tmp_path_factory.mktemp("ledger"), done)
