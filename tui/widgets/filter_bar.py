"""Where a filter is typed: understood with every key, and told at once where it is not."""

from __future__ import annotations

from collections.abc import Callable, Collection

from textual import getters, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from traindeck.core.catalogue.query import Query, QueryError, parse


class FilterBar(Vertical):
    """One line to type in, how many runs fit, and below it what is wrong with what was typed."""

    DEFAULT_CSS = """
    FilterBar {
        height: auto; background: $surface;
        & > Horizontal { height: 1; }
        & #filter { width: 1fr; }
        & #filter-label, & #filter-count { width: auto; padding: 0 1; color: $text-muted; }
        & #filter-error { display: none; padding: 0 1; color: $text-error; }
        &:ansi {
            background: ansi_default;
            & #filter-label, & #filter-count { color: ansi_default; text-style: dim; }
            & #filter-error { color: ansi_red; }
        }
    }
    """

    input = getters.query_one("#filter", Input)

    class Changed(Message):
        """Another filter is asked for; None is none. What makes no sense is never sent."""

        def __init__(self, query: Query | None) -> None:
            super().__init__()
            self.query = query

    class Done(Message):
        """Enter: back to the runs; `empty` says that nothing was typed."""

        def __init__(self, empty: bool) -> None:
            super().__init__()
            self.empty = empty

    def __init__(
        self, clock: Callable[[], float], names: Callable[[], Collection[str]] = tuple
    ) -> None:
        """`names` tells the parameters and metrics that the runs have: others are slips."""
        super().__init__()
        self._clock = clock
        self._names = names

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Static("filter", id="filter-label")
            yield Input(
                placeholder="words, or: state:running recipe:torch* accuracy>0.98",
                id="filter",
                compact=True,
            )
            yield Static("", id="filter-count")
        yield Static("", id="filter-error")

    def count(self, shown: int, all_runs: int) -> None:
        """Says how many runs fit."""
        self.query_one("#filter-count", Static).update(Content(f"{shown:,} of {all_runs:,}"))

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        text = event.value.strip()
        try:
            query = parse(text, self._clock, self._names()) if text else None
        except QueryError as error:
            self._show_error(str(error))
        else:
            self._show_error("")
            self.post_message(self.Changed(query))

    def _show_error(self, text: str) -> None:
        error = self.query_one("#filter-error", Static)
        error.display = bool(text)
        error.update(Content(text))

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        self.post_message(self.Done(not event.value.strip()))
