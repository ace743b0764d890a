"""Reads the ledgers of a home off the event loop, and again when one has changed.

What a ledger comes to takes a replay of all of it, a lock that a writer may hold, and sometimes the
accountant, whose import alone takes most of a second: nothing of that is for a screen to wait for.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from traindeck.core.base.errors import TraindeckError
from traindeck.core.base.home import Home
from traindeck.core.privacy.ledger.ledger import Ledger, LedgerDamaged
from traindeck.core.privacy.ledger.ledgers import ledgers
from traindeck.tui.readers.watch import Watch

LOOK_EVERY = 2.0

Stamp = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class Forecast:
    """How many more runs like the last one fit into what is left."""

    recipe: str
    epsilon: float
    more: int


@dataclass(frozen=True, slots=True)
class Budget:
    """A data set's budget as it was last read.

    found     what `budget.describe` says; None when the ledger cannot be trusted or read
    entries   how many lines the ledger has
    problems  what is wrong with it; with `found` they are mended by the next writer
    history   its entries, the oldest first; empty unless they were asked for
    """

    name: str
    found: Mapping[str, Any] | None = None
    entries: int = 0
    problems: tuple[str, ...] = ()
    forecast: Forecast | None = None
    history: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)

    @property
    def damaged(self) -> bool:
        return self.found is None

    @property
    def exposed(self) -> bool:
        return bool(self.found and self.found["exposures"])

    @property
    def filter_epsilon(self) -> float | None:
        """What the filter's divergence spent so far covers, at its order; None when infinite.

        The budget's own conversion, so that all of the divergence is all of the budget.
        """
        if self.found is None or self.exposed:
            return None
        from traindeck.core.privacy import accountant

        gate = self.found["filter"]
        if not gate["rho_spent"]:
            return 0.0
        return accountant.epsilon_budget(gate["rho_spent"], self.found["delta"], gate["order"])


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
        found: dict[str, tuple[Stamp, Budget]] = {}
        for ledger in ledgers(self._home.ledger):
            before = None if anew else self._known.get(ledger.name)
            if before is not None and not before[1].damaged and _has_open(before[1]):
                self._tend(ledger)
            stamp = _stamp(ledger)
            if before is None or before[0] != stamp:
                budget = _read(self._home, ledger)
                stamp = _stamp(ledger)  # reading has settled what had ended
            else:
                budget = replace(before[1], history=())
            found[ledger.name] = stamp, budget
            if ledger.name == self._wanted and not budget.damaged:
                kept = before[1].history if before is not None and before[0] == stamp else ()
                budget = replace(budget, history=kept or _history(ledger))
                found[ledger.name] = stamp, budget
        self._known = found
        return tuple(budget for _, budget in found.values())

    def _tend(self, ledger: Ledger) -> None:
        from traindeck.core.privacy.gate import tend

        # What is wrong with it the reading that follows says.
        with contextlib.suppress(OSError, TraindeckError):
            tend(ledger)


class BudgetLook:
    """The epsilon of one budget, for whoever reads a run of its data set: None until it is known.

    It is read once, on a thread of its own: a long ledger takes a while, and curves must not wait.
    """

    def __init__(self, root: Path) -> None:
        self.epsilon: float | None = None
        self._told: float | None = None
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
        before, self._told = self._told, self.epsilon
        return self._told != before

    def _read(self, name: str) -> None:
        # Without it a line is missing in a chart; what is wrong the privacy screen says.
        with contextlib.suppress(OSError, TraindeckError):
            self.epsilon = Ledger(self._folder, name).account().epsilon


def _read(home: Home, ledger: Ledger) -> Budget:
    from traindeck.core.privacy import budget
    from traindeck.core.privacy.gate import tend

    name = ledger.name
    try:
        with contextlib.suppress(OSError):  # one that cannot be written can still be read
            tend(ledger)
        found = budget.describe(home, ledger)
        account = ledger.account()
        problems = ledger.verify()
    except LedgerDamaged as error:
        every = [str(problem) for problem in ledger.verify()] or [str(error.problem)]
        return Budget(name, problems=(*every, str(error)))
    except (OSError, TraindeckError) as error:
        return Budget(name, problems=(f"it cannot be read: {error}",))
    forecast = None
    if account.runs:
        last = account.runs[-1]
        cost = last.rho * last.reserved
        fits = 0 < cost <= account.rho_left and not account.exposed
        more = int(account.rho_left / cost) if fits else 0
        forecast = Forecast(last.recipe, last.epsilon, more)
    told = tuple(str(problem) for problem in problems)
    return Budget(name, found, account.entries, told, forecast)


def _history(ledger: Ledger) -> tuple[Mapping[str, Any], ...]:
    try:
        return tuple(ledger.history())
    except (OSError, TraindeckError):
        return ()  # damaged since: the next look says so


def _has_open(budget: Budget) -> bool:
    return budget.found is not None and any(run["settled"] is None for run in budget.found["runs"])


def _stamp(ledger: Ledger) -> Stamp:
    """Changes whenever the ledger does."""
    return tuple(_file_stamp(path) for path in (ledger.path, ledger.path.with_suffix(".head.json")))


def _file_stamp(path: os.PathLike[str]) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
