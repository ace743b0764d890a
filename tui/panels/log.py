"""A run's log: the lines, what there is of them, and a search through all of them."""

from __future__ import annotations

import re
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from traindeck.core.base.format import size
from traindeck.core.run.state import LIVE
from traindeck.tui.readers.log import MAX_HITS, LogSearch
from traindeck.tui.readers.picture import LogState
from traindeck.tui.widgets.log_view import LogView
from traindeck.tui.widgets.rows import shorten


class LogPanel(Vertical):
    """Shows `LogState`s; asks for searches with `SearchChanged`."""

    BORDER_TITLE = "log"
    BINDING_GROUP_TITLE = "Log"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f", "follow", "Follow", id="log.follow", tooltip="Stay at the end as it grows"),
        Binding("n", "next_match", "Next", id="log.next", tooltip="To the next match"),
        Binding(
            "N",
            "previous_match",
            "Previous",
            show=False,
            id="log.previous",
            tooltip="To the match before",
        ),
        Binding(
            "y", "copy", "Copy", id="log.copy", tooltip="Copy the current line, or the visible ones"
        ),
        Binding("escape", "end_search", "End search", id="log.end_search"),
    ]
    DEFAULT_CSS = """
    LogPanel { height: 1fr; }
    LogPanel > #log-status { height: 1; color: $text-muted; }
    LogPanel > #log-search { height: 1; display: none; }
    LogPanel.-searching > #log-search { display: block; }
    LogPanel #log-search > Static { width: 2; color: $text-accent; }
    LogPanel #log-needle { width: 1fr; border: none; padding: 0; height: 1; background: $surface; }
    LogPanel:ansi #log-needle { background: ansi_default; color: ansi_default; }
    LogPanel:ansi > #log-status { color: ansi_default; text-style: dim; }
    """

    class SearchChanged(Message):
        """Another text is looked for; an empty one ends the search."""

        def __init__(self, needle: str) -> None:
            super().__init__()
            self.needle = needle

    class CopyAsked(Message):
        """Lines should be copied."""

        def __init__(self, text: str, what: str) -> None:
            super().__init__()
            self.text, self.what = text, what

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._state = LogState()
        self._restarts = 0
        self._needle = ""
        self._origin = 0
        self._jump_due = False
        self._live = False
        self._status = ""

    def compose(self) -> ComposeResult:
        yield Static(id="log-status")
        yield LogView(id="log-view")
        with Horizontal(id="log-search"):
            yield Static("/")
            yield Input(id="log-needle", placeholder="text to find", compact=True)

    @property
    def view(self) -> LogView:
        return self.query_one(LogView)

    @property
    def searching(self) -> bool:
        """Whether a search is on."""
        return bool(self._needle) or self.has_class("-searching")

    # What the reader brings

    def show(self, state: LogState, *, run_state: str) -> None:
        """Take the log as it is now."""
        self._state = state
        self._live = run_state in LIVE
        restarted = state.restarts != self._restarts
        self._restarts = state.restarts
        self.view.show(state.lines, state.window, restarted=restarted)
        if self._jump_due:
            self._jump()
        self._tell()

    def _tell(self) -> None:
        state = self._state
        if state.error:
            text = state.error
        elif not state.on_disk:
            text = "nothing printed yet" if self._live else "nothing was printed"
        else:
            lines = "1 line" if state.lines == 1 else f"{state.lines:,} lines"
            text = f"{lines}, {size(state.on_disk)}"
            if state.indexed < state.on_disk:
                text += f" · reading {state.indexed * 100 // state.on_disk} %"
        search = self._search_status()
        mode = "following" if self.view.follow else f"line {self._place():,}"
        parts = (text, mode if state.lines else "", search)
        status = shorten(" · ".join(part for part in parts if part), self.size.width or 80)
        if status != self._status:
            self._status = status
            self.query_one("#log-status", Static).update(Content(status), layout=False)

    def _place(self) -> int:
        current = self.view.current
        return (self.view.first_visible if current is None else current) + 1

    def _search_status(self) -> str:
        search = self._search()
        if search is None:
            return "searching" if self._needle else ""
        count = f"{search.count:,}{'+' if search.count >= MAX_HITS else ''}"
        done = ""
        if not self._state.searched and self._state.on_disk:
            done = f", searched {search.scanned * 100 // self._state.on_disk} %"
        if not search.count:
            return f"no match for {self._needle!r}" + done
        current = self.view.current
        place = f"{search.rank(current):,} of " if current is not None else ""
        return f"match {place}{count}{done}"

    def _search(self) -> LogSearch | None:
        """The search under way, if it is for what is asked now."""
        search = self._state.search
        return search if search is not None and search.needle == self._needle else None

    # Searching

    def start_search(self) -> None:
        """Open the search field."""
        self._origin = self.view.current if self.view.current is not None else self._top()
        self.add_class("-searching")
        needle = self.query_one(Input)
        needle.focus()
        needle.action_select_all()

    def _top(self) -> int:
        return max(0, self.view.first_visible)

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self._look_for(event.value)

    def _look_for(self, needle: str) -> None:
        if needle == self._needle:
            return
        self._needle = needle
        self._jump_due = bool(needle)
        pattern = re.compile(re.escape(needle), re.IGNORECASE | re.ASCII) if needle else None
        self.view.highlight(pattern)
        self.post_message(self.SearchChanged(needle))
        self._tell()

    @on(Input.Submitted)
    def _taken(self, event: Input.Submitted) -> None:
        event.stop()
        if event.value:
            self.remove_class("-searching")
            self.view.focus()
        else:
            self.action_end_search()

    def _jump(self) -> None:
        """To the first match from where the search began; back to the top when there is none."""
        search = self._search()
        if search is None:
            return
        line = search.after(self._origin - 1)
        if line is None and self._state.searched:
            line = search.after(-1)
        if line is not None:
            self._jump_due = False
            self.view.go_to(line)
        elif self._state.searched:
            self._jump_due = False

    def action_next_match(self) -> None:
        search = self._search()
        if search is not None and search.count:
            here = self._here()
            line = search.after(here)
            self._go(line if line is not None else search.after(-1))

    def action_previous_match(self) -> None:
        search = self._search()
        if search is not None and search.count:
            line = search.before(self._here())
            self._go(line if line is not None else search.before(self._state.lines))

    def _here(self) -> int:
        return self.view.current if self.view.current is not None else self._top() - 1

    def _go(self, line: int | None) -> None:
        if line is not None:
            self.view.go_to(line)
            self._tell()

    def action_end_search(self) -> None:
        self.remove_class("-searching")
        self.query_one(Input).clear()
        self._look_for("")
        self.view.current = None
        self.view.focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "end_search":
            return self.searching
        if action in ("next_match", "previous_match"):
            return bool(self._needle)
        return True

    # The rest

    def action_follow(self) -> None:
        self.view.follow = not self.view.follow
        self._tell()

    def action_copy(self) -> None:
        text = self.view.text_to_copy()
        what = "The line" if self.view.current is not None else "The visible lines"
        self.post_message(self.CopyAsked(text, what))
