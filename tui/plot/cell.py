"""One chart as rows of text: a title with values, a legend if there is room, and the picture."""

from __future__ import annotations

from dataclasses import dataclass

from textual.geometry import Region
from textual.strip import Strip

from traindeck.tui.plot.palette import TEXT, TITLE, TITLE_CHOSEN, Palette
from traindeck.tui.plot.raster import ALERT, LABEL, LINE, MARKERS, MAX_COLORS, Frame
from traindeck.tui.plot.strips import Painting, Words, paint, words_strip, words_width
from traindeck.tui.plot.ticks import short
from traindeck.tui.plot.view import Line, Plot, View

_LEGEND_FROM = 12  # rows a chart must have before its legend gets rows of its own
_LEGEND_MOST = 5


@dataclass(slots=True, eq=False)
class Cell:
    """A plot and the place it has on the canvas.

    Attributes:
        number: its place among the cells.
        region: in the coordinates of the whole canvas, scrolled parts included.
        title: what is written above it; shorter than the plot's where a heading says the rest.
        drawn: how often the picture was made into strips (tests ask).
    """

    number: int
    plot: Plot
    region: Region
    title: str
    drawn: int = 0
    frame: Frame | None = None
    _strips: list[Strip] | None = None
    _painting: Painting | None = None
    _key: object = None

    @property
    def strips(self) -> list[Strip]:
        """The rows as last drawn."""
        return self._strips or []

    def draw(
        self,
        view: View,
        palette: Palette,
        *,
        chosen: bool = False,
        marked: bool = False,
        selection: tuple[int, int] | None = None,
    ) -> list[Strip]:
        """The rows; the same list as before if nothing changed.

        `selection` is a range of columns of this cell that is being dragged over.
        """
        width, height = self.region.size
        head = self._head(view, width, height, chosen, marked)
        frame = self.plot.frame(view, width, max(height - len(head), 1), selection)
        key = (frame, head, palette, width, height)
        if self._strips is None or not _same(key, self._key):
            rows = [words_strip(*head[0], width, palette, "─")]
            rows += [words_strip(*each, width, palette) for each in head[1:]]
            self._painting = paint(frame, palette, self._painting)
            self._strips = (rows + self._painting.strips)[:height]
            self._key = key
            self.frame = frame
            self.drawn += 1
        return self._strips

    def x_at(self, column: int) -> float | None:
        """The x under a column of this cell."""
        return None if self.frame is None else self.frame.x_of(column)

    def _head(
        self, view: View, width: int, height: int, chosen: bool, marked: bool
    ) -> list[tuple[Words, Words]]:
        title = f" {self.title} " if chosen else f"{self.title} "
        left: Words = [("✓ ", TITLE)] if marked else []
        left.append((title, TITLE_CHOSEN if chosen else TITLE))
        lines = self.plot.lines
        if len(lines) == 1:
            return [(left, [(" ", LABEL), *self._value(view, lines[0], width >= 60)])]
        entries = [self._entry(view, line, height >= _LEGEND_FROM) for line in lines]
        if height < _LEGEND_FROM:
            return [(left, _fitting(entries, max(width // 2, 1)))]
        rows: list[tuple[Words, Words]] = [(left, [])]
        row: Words = []
        for number, entry in enumerate(entries):
            if row and words_width(row) + words_width(entry) > width:
                rows.append((row, []))
                row = []
                if len(rows) == _LEGEND_MOST:
                    rows[-1] = (rows[-1][0], [(f"+{len(entries) - number} more", LABEL)])
                    break
            row = [*row, *entry, ("   ", LABEL)]
        if row:
            rows.append((row, []))
        return rows

    def _entry(self, view: View, line: Line, named: bool) -> Words:
        color = line.color % MAX_COLORS
        words: Words = [(f"{MARKERS[color % len(MARKERS)]} ", LINE + color)]
        if named:
            words.append((f"{line.label} ", TEXT))
        return words + self._value(view, line, named)

    def _value(self, view: View, line: Line, full: bool) -> Words:
        """The last value, or the one at the cursor with what its bucket held."""
        snapshot = line.store.snapshot(line.series)
        if snapshot is None:
            return [("no points", LABEL)]
        reading = self.plot.reading(view, line)
        if reading is None:
            value = float(snapshot.last[-1])
            return [(short(value), TITLE if value - value == 0 else ALERT)]
        words: Words = [(reading.value, TITLE if reading.value[-1] not in "fn" else ALERT)]
        if reading.smooth is not None and full:
            words.append((f" ~{short(reading.smooth)}", TEXT))
        if reading.span and full:
            words.append((f" {reading.span}", LABEL))
            words.append((f" of {reading.count:,}", LABEL))
        if reading.odd and reading.count > 1 and full:
            words.append((f" {reading.odd:,} not finite", ALERT))
        return words


def _fitting(entries: list[Words], width: int) -> Words:
    """Whole entries as far as they fit, then how many are left out."""
    words: Words = [(" ", LABEL)]
    for number, entry in enumerate(entries):
        rest = f"+{len(entries) - number}"
        more = len(entries) - number > 1
        if words_width(words) + words_width(entry) + (2 + len(rest)) * more > width:
            return [*words, (rest, LABEL)]
        words = [*words, *entry, *([("  ", LABEL)] if more else [])]
    return words


def _same(new: object, old: object) -> bool:
    """Frames hold arrays, which cannot be compared: they are the same only if identical."""
    if not (isinstance(new, tuple) and isinstance(old, tuple)):
        return False
    return new[0] is old[0] and new[2] is old[2] and new[1] == old[1] and new[3:] == old[3:]
