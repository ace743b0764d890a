"""What one data set's budget comes to."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.widgets import Static

from traindeck.core.base.sanitize import plain
from traindeck.tui.keys import SCROLL_KEYS
from traindeck.tui.panels.budget_lines import facts
from traindeck.tui.readers.budgets import Budget


class BudgetPanel(VerticalScroll, inherit_bindings=False):
    """The budget by three ways of adding up, what else fits, and whether the ledger is sound."""

    DEFAULT_CSS = """
    BudgetPanel { height: auto; scrollbar-size-vertical: 1; }
    BudgetPanel > Static { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = SCROLL_KEYS

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._budget: Budget | None = None

    def compose(self) -> ComposeResult:
        yield Static()

    def show(self, budget: Budget) -> None:
        if budget is not self._budget:
            self._budget = budget
            self._draw()

    def on_resize(self, _: Resize) -> None:
        self._draw()

    def _draw(self) -> None:
        width = self.scrollable_content_region.width
        if self._budget is not None and width:
            text = facts(self._budget, width)
            if sentence := risk(self._budget):
                text = Content("\n").join((Content.styled(sentence, "italic"), text))
            self.query_one(Static).update(text)


def risk(budget: Budget) -> str:
    """What all that was spent lets an attacker find out; empty when that is not known."""
    return plain(budget.state.composed.risk_in_words) if budget.state else ""
