"""A federated run: who does what in which round, what left whom, and who can read it."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.widgets import Static

from traindeck.core.federation.status import FederationStatus
from traindeck.tui.keys import SCROLL_KEYS
from traindeck.tui.panels.federation_lines import figures, phase, protection, words
from traindeck.tui.panels.federation_rounds import hidden, legend, matrix, window

_STEP = 10
"""Rounds that one key goes back."""


class FederationPanel(VerticalScroll, inherit_bindings=False):
    """Owners × rounds, live; left and right go through the rounds."""

    BORDER_TITLE = "federation"
    DEFAULT_CSS = """
    FederationPanel { height: 1fr; padding: 0 1; scrollbar-size-vertical: 1; }
    FederationPanel > Static { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = SCROLL_KEYS

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._federation: FederationStatus | None = None
        self._framework = ""
        self._live = False
        self._back = 0

    def compose(self) -> ComposeResult:
        yield Static()

    def show(self, federation: FederationStatus | None, *, framework: str, live: bool) -> None:
        """Take what is known of a run's federation; `live` is whether the run goes on."""
        if federation is not None and not live:
            federation = federation.over()
        if (federation, framework, live) != (self._federation, self._framework, self._live):
            if self._back and federation is not None and self._federation is not None:
                # Whoever looks back goes on looking at the same rounds.
                self._back += max(0, len(federation.rounds) - len(self._federation.rounds))
            self._federation, self._framework, self._live = federation, framework, live
            self._draw()

    @property
    def _width(self) -> int:
        """Cells for text: beside the padding and the scrollbar, be it there or not."""
        return self.outer_size.width - 3

    def on_resize(self, _: Resize) -> None:
        self._draw()

    def action_scroll_left(self) -> None:
        self._look_back(_STEP)

    def action_scroll_right(self) -> None:
        self._look_back(-_STEP)

    def action_page_left(self) -> None:
        self._look_back(10 * _STEP)

    def action_page_right(self) -> None:
        self._look_back(-10 * _STEP)

    def _look_back(self, rounds: int) -> None:
        if self._federation is None:
            return
        wanted = max(0, self._back + rounds)
        self._back = window(self._federation, self._width, wanted).newer
        self._draw()

    def _draw(self) -> None:
        federation, width = self._federation, self._width
        if federation is None or width <= 0:
            return
        parts = [
            phase(federation, self._framework, self._live) + hidden(federation, width, self._back),
            protection(federation),
            matrix(federation, width, self._back),
            legend(width),
            Content(""),
            words(federation, width),
            Content(""),
            figures(federation, width),
        ]
        self.query_one(Static).update(Content("\n").join(parts))
