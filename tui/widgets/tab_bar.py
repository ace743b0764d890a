"""One line of tabs, each with the key that chooses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.content import Content
from textual.message import Message
from textual.widget import Widget


@dataclass(frozen=True, slots=True)
class Tab:
    """A tab: its id, its word, and its key as people know it."""

    id: str
    word: str
    key: str


class TabBar(Widget):
    """`4 Curves  5 Log …`, the chosen one marked; a click chooses. The screen minds the keys."""

    ALLOW_SELECT = False
    BINDINGS: ClassVar = []
    DEFAULT_CSS = """
    TabBar { height: 1; padding: 0 1; background: $panel; color: $foreground; pointer: pointer; }
    TabBar:ansi { background: ansi_default; color: ansi_default; }
    """

    class Chosen(Message):
        """A tab was clicked."""

        def __init__(self, tab: str) -> None:
            super().__init__()
            self.tab = tab

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._tabs: Sequence[Tab] = ()
        self._chosen = ""

    def show(self, tabs: Sequence[Tab], chosen: str) -> None:
        """Take the tabs and which of them is chosen."""
        if (tabs, chosen) != (self._tabs, self._chosen):
            self._tabs, self._chosen = tabs, chosen
            self.refresh()

    def render(self) -> Content:
        parts: list[Content] = []
        for tab in self._tabs:
            if tab.id == self._chosen:
                parts.append(Content.styled(f" {tab.key} {tab.word} ", "reverse bold"))
            else:
                parts.append(
                    Content.assemble((f" {tab.key}", "bold $text-accent"), (f" {tab.word} ", "dim"))
                )
        return Content("").join(parts).truncate(max(1, self.content_size.width))

    def on_click(self, event: events.Click) -> None:
        left = self.styles.padding.left
        for tab in self._tabs:
            right = left + len(tab.key) + len(tab.word) + 3
            if left <= event.x < right:
                self.post_message(self.Chosen(tab.id))
                return
            left = right
