"""One row of words under the curves."""

from __future__ import annotations

from textual.strip import Strip
from textual.widget import Widget

from traindeck.tui.plot.palette import Palette, palette_of
from traindeck.tui.plot.strips import Words, words_strip
from traindeck.tui.plot.ticks import elapsed


class StatusLine(Widget):
    """Words at the left and the right end of a row; drawn again only when they change."""

    DEFAULT_CSS = "StatusLine { height: 1; width: 1fr; }"

    def __init__(self) -> None:
        super().__init__()
        self._words: tuple[Words, Words] = ([], [])
        self._palette: Palette | None = None

    def say(self, left: Words, right: Words) -> None:
        if (left, right) != self._words:
            self._words = left, right
            self.refresh()

    @property
    def text(self) -> str:
        """What it says, for tests and screen readers."""
        return " ".join("".join(text for text, _ in words) for words in self._words)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._palette = None

    def render_line(self, y: int) -> Strip:
        if self._palette is None:
            self._palette = palette_of(self)
        return words_strip(*self._words, self.size.width, self._palette)


def ago(seconds: float) -> str:
    """How long ago, the coarser the longer: `0.3 s ago`, `12 s ago`, `2h5m ago`."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s ago"
    if seconds < 60:
        return f"{seconds:.0f} s ago"
    unit = 60 if seconds < 86400 else 3600
    return f"{elapsed(int(seconds) // unit * unit)} ago"
