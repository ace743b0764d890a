"""A picture that is drawn from a handful of points and looked at, without cursor or zoom.

Importing this module imports numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from traindeck.tui.plot.marks import Mark, with_marks
from traindeck.tui.plot.palette import TITLE, palette_of
from traindeck.tui.plot.raster import AXIS, draw
from traindeck.tui.plot.reduce import Curve
from traindeck.tui.plot.scale import Axes
from traindeck.tui.plot.strips import Words, cut_words, paint, words_width


class Sketch(Widget):
    """A title with a legend, and curves with marks in them."""

    ALLOW_SELECT = False
    DEFAULT_CSS = "Sketch { height: 10; }"

    def __init__(self, title: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._title = title
        self._legend: Words = []
        self._curves: tuple[Curve, ...] = ()
        self._marks: tuple[Mark, ...] = ()
        self._axes: Axes | None = None
        self._strips: list[Strip] = []
        self._drawn: object = None

    def show(
        self,
        curves: Sequence[Curve],
        axes: Axes | None,
        marks: Sequence[Mark] = (),
        legend: Words | None = None,
    ) -> None:
        """Take what is to be drawn; the first curve lies on top."""
        self._curves, self._axes, self._marks = tuple(curves), axes, tuple(marks)
        self._legend = legend or []
        self._drawn = None
        self.refresh()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._drawn = None

    def _head(self, width: int, palette: Mapping[int, Style]) -> Strip:
        """The title and the legend; of too little room the title keeps its first word."""
        legend = cut_words(self._legend, width)
        room = width - words_width(legend)
        title: Words = [(f"{self._title} ", TITLE)]
        if words_width(title) > room:
            title = cut_words([(f"{self._title.split()[0]} ", TITLE)], room)
        rule = "─" * (width - words_width(title) - words_width(legend))
        words = [*title, (rule, AXIS), *legend]
        return Strip([Segment(text, palette[style]) for text, style in words if text], width)

    def render_line(self, y: int) -> Strip:
        width, height = self.size
        if self._drawn != (width, height):
            palette = palette_of(self)
            title = self._head(width, palette)
            frame = draw(self._curves, self._axes, width, max(height - 1, 1))
            frame = with_marks(frame, self._marks)
            self._strips = [title, *paint(frame, palette).strips]
            self._drawn = (width, height)
        return self._strips[y] if y < len(self._strips) else Strip.blank(width)
