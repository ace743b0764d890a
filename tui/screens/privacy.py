"""The privacy budgets: what is spent of each, by whom, and what is left."""

from __future__ import annotations

import time
from typing import ClassVar

from textual import getters, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Static

from traindeck.tui.host import Host
from traindeck.tui.keys import SCREEN_KEYS
from traindeck.tui.panels.budget import BudgetPanel
from traindeck.tui.panels.budget_lines import HISTORY, NO_BUDGETS, RUNS, charges, columns
from traindeck.tui.readers.budgets import Budget, BudgetWatch
from traindeck.tui.readers.feed import RunsSnapshot
from traindeck.tui.screens.watching import WatchingScreen
from traindeck.tui.widgets.key_bar import KeyBar
from traindeck.tui.widgets.row_table import RowTable
from traindeck.tui.widgets.top_bar import TopBar

SLOW_SECONDS = 5.0
"""After so long without an answer it is said that the ledgers give none."""
MOST_COMPARED = 12
"""So many runs of a data set are laid over each other, the newest ones."""


class PrivacyScreen(WatchingScreen[BudgetWatch], inherit_bindings=False):
    """Every data set with a budget; below it the runs and the history of the one chosen.

    The ledgers are read on a thread, and only while the screen is on show.
    """

    CSS_PATH = "privacy.tcss"
    AUTO_FOCUS = "#budgets"
    BINDING_GROUP_TITLE = "Privacy"
    HORIZONTAL_BREAKPOINTS = [(0, "narrow"), (100, "wide"), (160, "broad")]  # noqa: RUF012
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "enter",
            "open",
            "Open",
            id="privacy.open",
            tooltip="From a data set to its runs; from a run to its screen",
        ),
        Binding(
            "h",
            "history",
            "History",
            id="privacy.history",
            tooltip="Every entry of the ledger instead of the runs, and back",
        ),
        Binding(
            "V",
            "compare",
            "Compare",
            id="privacy.compare",
            tooltip="Lay the data set's newest runs over each other: accuracy against epsilon",
        ),
        Binding(
            "y",
            "copy",
            "Copy",
            id="privacy.copy",
            tooltip="Copy the command that shows the same",
        ),
        Binding(
            "B",
            "create",
            "New budget",
            id="privacy.create",
            tooltip="Give a data set a privacy budget",
        ),
        Binding(
            "E",
            "change",
            "Epsilon",
            id="privacy.change",
            tooltip="Give the data set's budget another epsilon; 0 freezes it",
        ),
        Binding(
            "f5",
            "refresh",
            "Look anew",
            id="privacy.refresh",
            tooltip="Read and verify every ledger again",
        ),
        *SCREEN_KEYS,
    ]

    app = getters.app(Host)

    class Looked(Message):
        """The ledgers were read."""

        def __init__(self, budgets: tuple[Budget, ...]) -> None:
            super().__init__()
            self.budgets = budgets

    def __init__(self) -> None:
        super().__init__()
        self._read = False
        self._history_first = False
        self._wanted: str | None = None

    def compose(self) -> ComposeResult:
        yield TopBar("privacy")
        yield Static("reading the ledgers…", id="privacy-none")
        with Vertical(id="privacy-body"):
            yield RowTable(columns(()), lambda budget: budget.name, id="budgets")
            yield BudgetPanel(id="budget-facts")
            with Horizontal(id="budget-details"):
                yield RowTable(RUNS, lambda run: run.id, id="budget-runs")
                yield RowTable(HISTORY, lambda entry: str(entry["n"]), id="budget-history")
        yield KeyBar()

    @property
    def budgets(self) -> RowTable:
        return self.query_one("#budgets", RowTable)

    @property
    def runs(self) -> RowTable:
        return self.query_one("#budget-runs", RowTable)

    @property
    def history(self) -> RowTable:
        return self.query_one("#budget-history", RowTable)

    @property
    def current(self) -> Budget | None:
        """The data set under the cursor."""
        budget: Budget | None = self.budgets.current
        return budget

    # Looking, while on show

    def on_mount(self) -> None:
        self.query_one("#privacy-body").display = False
        self.watch(self.app, "snapshot", self._take, init=False)
        self.set_interval(1.0, self._tick)
        self._watch = BudgetWatch(
            self.app.home,
            ready=lambda budgets: self.from_thread(self.Looked(budgets)),
            failed=lambda error: self.from_thread(self.Failed(error)),
        )
        self._watch.start()

    def action_refresh(self) -> None:
        if self._watch is not None:
            self._watch.look_anew()

    def _tick(self) -> None:
        """Say so when the ledgers do not answer."""
        since = self._watch.looking_since if self._watch is not None else None
        if self._read or since is None or time.monotonic() - since < SLOW_SECONDS:
            return
        waited = int(time.monotonic() - since)
        self.query_one("#privacy-none", Static).update(
            f"reading the ledgers… no answer from {self.app.home.ledger} for {waited} s"
        )

    @on(Looked)
    def _show(self, message: Looked) -> None:
        self._read = True
        budgets = message.budgets
        nothing = self.query_one("#privacy-none", Static)
        body = self.query_one("#privacy-body")
        with self.app.batch_update():
            if not budgets:
                nothing.update(NO_BUDGETS)
            nothing.display, body.display = not budgets, bool(budgets)
            self.budgets.styles.height = len(budgets) + 1
            self.budgets.take_columns(columns(budgets))
            self.budgets.show(budgets)
            if self._wanted is not None:
                self.turn_to(self._wanted)
            self._show_current()
        if budgets and self.focused is None:
            self.budgets.focus()

    @on(WatchingScreen.Failed)
    def _tell(self, message: WatchingScreen.Failed) -> None:
        self.app.tell_error("The privacy budgets cannot be read", message.error)

    def _take(self, _: RunsSnapshot | None) -> None:
        """Runs tell their own epsilon as they go."""
        if self.current is not None and self.is_current:
            self._show_runs(self.current)

    @on(RowTable.Moved, "#budgets")
    def _other(self) -> None:
        self._show_current()

    def _show_current(self) -> None:
        budget = self.current
        if budget is None:
            return
        if self._watch is not None:
            self._watch.want_history(budget.name)
        self.query_one(BudgetPanel).show(budget)
        self._show_runs(budget)
        # The newest first: that is what one looks for.
        self.history.show(budget.history[::-1])
        self.refresh_bindings()

    def _show_runs(self, budget: Budget) -> None:
        known = self.app.snapshot.by_id if self.app.snapshot else {}
        self.runs.show(charges(budget.state, known))

    # Going to runs and history

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("open", "history", "compare", "copy", "change"):
            return self.current is not None
        return True

    def action_open(self) -> None:
        if self.history.has_focus:
            entry = self.history.current
            self._open(str(entry.get("run", "")) if entry else "")
        elif self.runs.has_focus:
            self._open(self.runs.current.id if self.runs.current else "")
        else:
            (self.history if self._history_first and not self._broad else self.runs).focus()

    @on(RowTable.Opened)
    def _clicked(self) -> None:
        self.action_open()

    def _open(self, run_id: str) -> None:
        if not run_id:
            return
        if self.app.snapshot is not None and run_id in self.app.snapshot.by_id:
            self.app.open_runs([run_id])
        else:
            self.app.notify(f"{run_id} has no folder among the runs", markup=False)

    @property
    def _broad(self) -> bool:
        return self.has_class("broad")

    def action_history(self) -> None:
        self._history_first = not self._history_first
        self.set_class(self._history_first, "-history")
        self.app.stylesheet.update(self)
        (self.history if self._history_first else self.runs).focus()

    def action_compare(self) -> None:
        snapshot = self.app.snapshot
        known = snapshot.by_id if snapshot is not None else {}
        ids = [run.id for run in self.runs.items if run.id in known][:MOST_COMPARED]
        if len(ids) < 2:
            self.app.notify("There are no two runs to compare.")
        else:
            self.app.open_runs(ids)

    # Making and changing budgets

    def turn_to(self, name: str) -> None:
        """Put the cursor on a data set, now or once the ledgers were read."""
        self._wanted = None if self.budgets.select(name) else name

    def action_create(self) -> None:
        from traindeck.tui.screens.budget_dialog import Asked, BudgetDialog

        home = self.app.home

        def answered(asked: Asked | None) -> None:
            if asked is None:
                return

            def make() -> list[str]:
                from traindeck.core.privacy import budget

                given = (asked.name, asked.epsilon, asked.delta, asked.unit)
                concerns = budget.concerns(home, *given)
                budget.create(home, *given, None, asked.reason)
                return concerns

            def made(concerns: list[str]) -> None:
                for concern in concerns:
                    self.app.tell_problem(concern)
                self.app.notify(f"{asked.name} has a privacy budget", markup=False)
                self.action_refresh()
                self._wanted = asked.name

            self.app.in_background(f"{asked.name} was given no budget", make, made)

        self.app.push_screen(BudgetDialog(), answered)

    def action_change(self) -> None:
        from traindeck.tui.screens.budget_dialog import not_an_epsilon
        from traindeck.tui.screens.dialogs import PromptDialog

        budget = self.current
        if budget is None or budget.state is None:
            return
        now = f"{budget.state.account.epsilon:g}"

        def answered(text: str | None) -> None:
            if text is not None and text.strip() != now:
                self._change(budget.name, float(text), below=False)

        question = f"Another epsilon for {budget.name}, which has {now} (0 freezes it)"
        self.app.push_screen(PromptDialog(question, now, check=not_an_epsilon), answered)

    def _change(self, name: str, epsilon: float, *, below: bool) -> None:
        """Changes it; where that is below what is spent, asks first."""
        from traindeck.tui.screens.dialogs import ConfirmDialog

        home = self.app.home

        def act() -> str:
            from traindeck.core.base.errors import BudgetRefused
            from traindeck.core.privacy import budget
            from traindeck.core.privacy.ledger.ledgers import named

            try:
                budget.change(named(home.ledger, name), epsilon, below=below)
            except BudgetRefused as error:
                if below:
                    raise
                return str(error)
            return ""

        def done(refused: str) -> None:
            self.action_refresh()
            if not refused:
                self.app.notify(f"the budget of {name} is epsilon {epsilon:g}", markup=False)
                return

            def answered(yes: bool | None) -> None:
                if yes:
                    self._change(name, epsilon, below=True)

            question = f"Lower the budget of {name} to {epsilon:g} all the same?"
            self.app.push_screen(ConfirmDialog(question, refused, "Lower it"), answered)

        self.app.in_background(f"The budget of {name} was not changed", act, done)

    def action_copy(self) -> None:
        if self.current is not None:
            self.app.copy(f"traindeck budget show {self.current.name}", "The command")
