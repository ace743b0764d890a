"""Reads the ledgers of a home off the event loop, and again when one has changed.

What a ledger comes to takes a replay of all of it, a lock that a writer may hold, and sometimes the
accountant, whose import alone takes most of a second: nothing of that is for a screen to wait for.
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from traindeck.core.base.errors import TraindeckError
from traindeck.core.base.home import Home
from traindeck.core.privacy.budget_state import BudgetState, describe
from traindeck.core.privacy.ledger.book import LedgerDamaged
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.ledger.ledgers import ledgers, shown_entries
from traindeck.core.privacy.ledger.lines import Entry
from traindeck.tui.readers.watch import Watch

LOOK_EVERY = 2.0

Stamp = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class Budget:
    """A data set's budget as it was last read.

    state     None when the ledger cannot be trusted or read
    problems  what is wrong with it; with `state` they are mended by the next writer
    history   its entries, the oldest first; empty unless they were asked for
    """

    name: str
    state: BudgetState | None = None
    problems: tuple[str, ...] = ()
    history: tuple[Entry, ...] = field(default=(), repr=False)

    @property
    def damaged(self) -> bool:
        return self.state is None

    @property
    def exposed(self) -> bool:
        return self.state is not None and self.state.account.exposed

    @property
    def filter_epsilon(self) -> float:
        """What the filter's divergence spent so far covers, at its order; infinite when exposed.

        The budget's own conversion, so that all of the divergence is all of the budget.
        """
        if self.state is None or self.exposed:
            return math.inf
        from traindeck.core.privacy import accountant

        account = self.state.account
        if not account.rho_spent:
            return 0.0
        return accountant.epsilon_budget(account.rho_spent, account.delta, account.order)


class BudgetWatch(Watch[tuple[Budget, ...]]):
    """Looks at all budgets, from `start` on."""

    def __init__(
        self,
        home: Home,
        *,
        ready: Callable[[tuple[Budget, ...]], object],
        failed: Callable[[Exception], object],
        interval: float = LOOK_EVERY,
    ) -> None:
        super().__init__("budget watch", ready=ready, failed=failed, interval=interval)
        self._home = home
        self._known: dict[str, tuple[Stamp, Budget]] = {}
        self._wanted = ""
        self._anew = False

    def park(self, parked: bool) -> None:
        """Look no more while nobody sees it, or go on."""
        self._parked = parked
        if not parked:
            self.look_now()

    def look_anew(self) -> None:
        """Look at once, also at ledgers that seem unchanged."""
        self._anew = True
        self.look_now()

    def want_history(self, name: str) -> None:
        """Read the history of this data set's ledger too, from now on."""
        if name != self._wanted:
            self._wanted = name
            self.look_now()

    def _look(self) -> tuple[Budget, ...]:
        anew, self._anew = self._anew, False
        known: dict[str, tuple[Stamp, Budget]] = {}
        for ledger in ledgers(self._home.ledger):
            before = None if anew else self._known.get(ledger.name)
            stamp = _stamp(ledger)
            if before is None or before[0] != stamp or _has_open(before[1]):
                budget = _read(self._home, ledger)
            else:
                budget = replace(before[1], history=())
            known[ledger.name] = stamp, budget
            if ledger.name == self._wanted and not budget.damaged:
                kept = before[1].history if before is not None and before[0] == stamp else ()
                budget = replace(budget, history=kept or _history(ledger))
                known[ledger.name] = stamp, budget
        self._known = known
        return tuple(budget for _, budget in known.values())


class BudgetLook:
    """The epsilon of one budget, for whoever reads a run of its data set: None until it is known.

    It is read once, on a thread of its own: a long ledger takes a while, and curves must not wait.
    """

    def __init__(self, root: Path) -> None:
        self.epsilon: float | None = None
        self._shown: float | None = None
        self._folder = Home(root).ledger
        self._asked = False

    def look(self, ledger: str | None) -> None:
        """Have this ledger read, if none was so far."""
        if ledger and not self._asked:
            self._asked = True
            threading.Thread(
                target=self._read, args=(ledger,), name="budget look", daemon=True
            ).start()

    def news(self) -> bool:
        """Whether it has become known since this was last asked."""
        before, self._shown = self._shown, self.epsilon
        return self._shown != before

    def _read(self, name: str) -> None:
        # Without it a line is missing in a chart; what is wrong the privacy screen says.
        with contextlib.suppress(OSError, TraindeckError):
            self.epsilon = Ledger(self._folder, name).account().epsilon


def _read(home: Home, ledger: Ledger) -> Budget:
    name = ledger.name
    try:
        state = describe(home, ledger)
    except LedgerDamaged as error:
        every = [str(problem) for problem in ledger.verify()] or [str(error.problem)]
        return Budget(name, problems=(*every, str(error)))
    except (OSError, TraindeckError) as error:
        return Budget(name, problems=(f"it cannot be read: {error}",))
    return Budget(name, state, tuple(map(str, state.problems)))


def _history(ledger: Ledger) -> tuple[Entry, ...]:
    try:
        return tuple(shown_entries(ledger.folder, ledger.history()))
    except (OSError, TraindeckError):
        return ()  # damaged since: the next look says so


def _has_open(budget: Budget) -> bool:
    return budget.state is not None and any(run.open for run in budget.state.account.runs)


def _stamp(ledger: Ledger) -> Stamp:
    """Changes whenever the ledger does."""
    return tuple(_file_stamp(path) for path in (ledger.path, ledger.path.with_suffix(".head.json")))


def _file_stamp(path: os.PathLike[str]) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
