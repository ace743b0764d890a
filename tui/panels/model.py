"""What is known of one version of a model."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.events import Resize
from textual.widgets import Static

from traindeck.tui.keys import SCROLL_KEYS
from traindeck.tui.panels.model_lines import lines
from traindeck.tui.readers.models import Version


class ModelPanel(VerticalScroll, inherit_bindings=False):
    """Its server as it fares, its formats, where it comes from."""

    DEFAULT_CSS = """
    ModelPanel { scrollbar-size-vertical: 1; }
    ModelPanel > Static { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = SCROLL_KEYS

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._version: Version | None = None

    def compose(self) -> ComposeResult:
        yield Static()

    def show(self, version: Version) -> None:
        if version is not self._version:
            other = self._version is None or version.key != self._version.key
            self._version = version
            self._draw()
            if other:
                self.scroll_home(animate=False)

    def on_resize(self, _: Resize) -> None:
        self._draw()

    def _draw(self) -> None:
        width = self.scrollable_content_region.width
        if self._version is not None and width:
            self.query_one(Static).update(lines(self._version, width))
