"""A picture in a terminal: two pixels a cell, one above the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

UPPER = "▀"


class HalfBlocks(Widget):
    """Draws colors (height, width, 3), as they are, from the upper left."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._strips: list[Strip] = []

    def show(self, rgb: NDArray[np.uint8] | None) -> None:
        """Take a picture; none leaves the place blank."""
        self._strips = [] if rgb is None else strips(rgb)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        line = self._strips[y] if y < len(self._strips) else Strip.blank(0)
        return line.adjust_cell_length(self.size.width, self.visual_style.rich_style)


def strips(rgb: NDArray[np.uint8]) -> list[Strip]:
    """A picture's lines of cells; one of odd height ends with half a line."""
    lines = []
    for top in range(0, len(rgb), 2):
        upper = rgb[top].tolist()
        lower = rgb[top + 1].tolist() if top + 1 < len(rgb) else [None] * len(upper)
        segments: list[Segment] = []
        begin = 0
        for at in range(1, len(upper) + 1):
            if at < len(upper) and upper[at] == upper[begin] and lower[at] == lower[begin]:
                continue
            style = Style(color=_color(upper[begin]), bgcolor=_color(lower[begin]))
            segments.append(Segment(UPPER * (at - begin), style))
            begin = at
        lines.append(Strip(segments, len(upper)))
    return lines


def _color(rgb: list[int] | None) -> Color | None:
    return Color.from_rgb(*rgb) if rgb is not None else None
