"""A window on a log of any length: draws only what is visible, never reads a file itself.

The view says which lines it wants (`LogView.Wanted`); whoever reads the file answers with `show`.
Lines that have not arrived are drawn as a dim dot, so scrolling never waits for a disk. Wide lines
are wrapped into rows, those at hand alone: as lines above come to hand, what is seen stays.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.cache import LRUCache
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from traindeck.tui.keys import SCROLL_KEYS
from traindeck.tui.readers.log import LogLine
from traindeck.tui.widgets.log_rows import LogRows

MARGIN_SCREENS = 2


class LogView(ScrollView, can_focus=True, inherit_bindings=False):
    """Scrolls over lines it is given; follows the end until someone scrolls up."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "log-view--match",
        "log-view--current",
        "log-view--faint",
    }
    DEFAULT_CSS = """
    LogView {
        height: 1fr;
        background: $surface;
        color: $foreground;
        scrollbar-size: 1 1;
        scrollbar-gutter: stable;
        & .log-view--match { background: $warning 40%; color: $foreground; text-style: bold; }
        & .log-view--current { background: $primary 30%; }
        & .log-view--faint { color: $foreground 40%; }
        &:ansi {
            background: ansi_default;
            color: ansi_default;
            & .log-view--match {
                background: ansi_default; color: ansi_yellow; text-style: bold underline;
            }
            & .log-view--current {
                background: ansi_default; color: ansi_default; text-style: reverse;
            }
            & .log-view--faint { color: ansi_default; text-style: dim; }
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *SCROLL_KEYS,
        Binding(
            "semicolon",
            "toggle_wrap",
            "Wrap",
            show=False,
            id="log.wrap",
            tooltip="Wide lines in several rows, or cut and scrolled sideways",
        ),
    ]

    wrap: reactive[bool] = reactive(True, init=False)
    follow: reactive[bool] = reactive(True)
    current: reactive[int | None] = reactive(None)

    @dataclass
    class Wanted(Message):
        """The view shows, or may soon show, `count` lines from line `first` on."""

        first: int
        count: int
        follow: bool

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._line_count = 0
        self._longest = 0
        self._known: dict[int, LogLine] = {}
        self._pattern: re.Pattern[str] | None = None
        self._rows = LogRows()
        self._width = 0
        self._anchoring = False
        self._strips: LRUCache[int, Strip] = LRUCache(1024)
        self._asked: tuple[int, int, bool] | None = None
        self._reveal: int | None = None

    # What the reader brings

    def show(self, line_count: int, lines: Sequence[LogLine], *, restarted: bool = False) -> None:
        """Take the log's length and the lines of a window of it."""
        top = self._rows.at(self.scroll_offset.y)
        if restarted or line_count < self._line_count:
            self._known.clear()
            self._rows = LogRows()
            self._strips.clear()
            self._longest = 0
            self.current = None
        changed = line_count != self._line_count
        for line in lines:
            if self._known.get(line.number) != line:
                self._known[line.number] = line
                self._strips.discard(line.number)
                self._longest = max(self._longest, self._width_of(line))
                self._measure(line)
                changed = True
        if not changed:
            return
        self._line_count = line_count
        self._forget_far_lines()
        self._lay_out(top)
        self.call_after_refresh(self._settle)
        self._reveal_match()
        self.refresh()
        self._want()

    def _measure(self, line: LogLine) -> None:
        if self.wrap and self._width:
            self._rows.measure(line.number, _whole(line), self._width)

    def _measure_anew(self) -> None:
        top = self._rows.at(self.scroll_offset.y)
        self._rows = LogRows()
        for line in self._known.values():
            self._measure(line)
        self._lay_out(top)
        self.refresh()

    def _lay_out(self, top: tuple[int, int]) -> None:
        """Take the size that the rows have now; follow, or keep the row `top` where it is."""
        across = 0 if self.wrap else self._longest
        self.virtual_size = Size(across, self._line_count + self._rows.extra)
        if self.follow:
            self._stick()
            return
        line, within = top
        row = self._rows.row_of(line) + min(within, len(self._rows.starts(line)) - 1)
        if row != self.scroll_offset.y:
            self._anchoring = True
            self.scroll_to(y=row, animate=False, immediate=True, force=True)
            self._anchoring = False

    def watch_wrap(self) -> None:
        self._measure_anew()
        self.scroll_to(x=0, animate=False, immediate=True, force=True)
        self._reveal = self.current
        self._reveal_match()

    def action_toggle_wrap(self) -> None:
        self.wrap = not self.wrap

    def _stick(self) -> None:
        """To the end, if following. Forced: scrollbars of new lines come with the next layout."""
        if self.follow and self.scroll_y != self.max_scroll_y:
            self.scroll_end(animate=False, immediate=True, x_axis=False, force=True)

    def _settle(self) -> None:
        """Scrollbars that have just come take room, and know nothing of the scrolling so far."""
        self._stick()
        if self.show_vertical_scrollbar:
            self.vertical_scrollbar.position = self.scroll_y

    def _forget_far_lines(self) -> None:
        if len(self._known) > 20_000:
            near = range(*self._window())
            self._known = {n: line for n, line in self._known.items() if n in near}
            self._rows.keep(self._known)

    @property
    def line_count(self) -> int:
        """Lines in the log."""
        return self._line_count

    @property
    def first_visible(self) -> int:
        """The number of the topmost visible line."""
        return self._rows.at(self.scroll_offset.y)[0]

    # What is asked of the reader

    def _window(self) -> tuple[int, int]:
        height = max(1, self.scrollable_content_region.height)
        top = self.first_visible
        return max(0, top - MARGIN_SCREENS * height), top + (MARGIN_SCREENS + 1) * height

    def _want(self) -> None:
        first, last = self._window()
        if self.follow:
            asked = (0, last - first, True)
        else:
            height = max(1, self.scrollable_content_region.height)
            top = self.first_visible
            visible = range(top, min(top + height, self.line_count))
            if (
                self._asked is not None
                and not self._asked[2]
                and self._asked[0] <= visible.start
                and visible.stop <= self._asked[0] + self._asked[1]
            ):
                return
            asked = (first, last - first, False)
        if asked != self._asked:
            self._asked = asked
            self.post_message(self.Wanted(*asked))

    def on_resize(self, _: events.Resize) -> None:
        width = self.scrollable_content_region.width
        if width != self._width:
            self._width = width
            self._measure_anew()
        self._stick()
        self.ask_again()

    def on_show(self) -> None:
        self.ask_again()

    def ask_again(self) -> None:
        """Say anew what is wanted: whoever answered may have been told to forget it."""
        self._asked = None
        self._want()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value) and not self._anchoring:
            self.follow = new_value >= self.max_scroll_y and self.current is None
            self._want()

    def watch_follow(self, follow: bool) -> None:
        if follow:
            self.current = None
            self._stick()
        self._want()

    # Searching

    def highlight(self, pattern: re.Pattern[str] | None) -> None:
        """Mark every match of `pattern` from now on; None marks nothing."""
        self._pattern = pattern
        self._strips.clear()
        self.refresh()

    def go_to(self, line: int) -> None:
        """Make `line` the current line and bring it, and the match in it, into view."""
        self.follow = False
        self.current = line
        self._bring_row(self._rows.row_of(line))
        self._reveal = line
        self._reveal_match()
        self._want()

    def _bring_row(self, row: int) -> None:
        height = self.scrollable_content_region.height
        if not self.scroll_offset.y <= row < self.scroll_offset.y + height:
            self.scroll_to(y=max(0, row - height // 3), animate=False)

    def _reveal_match(self) -> None:
        """Scroll to the current line's match, once that line has arrived."""
        if self._reveal is None or (line := self._known.get(self._reveal)) is None:
            return
        self._reveal = None
        if self._pattern is None or (match := self._pattern.search(line.text)) is None:
            return
        start = cell_len(line.text[: match.start()])
        if self.wrap:
            within = bisect_right(self._rows.starts(line.number), start) - 1
            self._bring_row(self._rows.row_of(line.number) + within)
            return
        width = self.scrollable_content_region.width
        if not self.scroll_offset.x <= start < self.scroll_offset.x + width:
            self.scroll_to(x=max(0, start - width // 2), animate=False, force=True)

    def watch_current(self, old: int | None, new: int | None) -> None:
        for line in (old, new):
            if line is not None:
                self._strips.discard(line)
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        line, _ = self._rows.at(self.scroll_offset.y + event.y)
        if line < self.line_count:
            self.current = line

    # Copying

    def text_to_copy(self) -> str:
        """The current line, or the visible ones when none is current."""
        height = self.scrollable_content_region.height
        if self.current is not None:
            wanted = range(self.current, self.current + 1)
        else:
            last, _ = self._rows.at(self.scroll_offset.y + height - 1)
            wanted = range(self.first_visible, last + 1)
        return "\n".join(self._known[n].text for n in wanted if n in self._known)

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The selected text, of the lines that are at hand."""
        chosen: list[str] = []
        for number in sorted(self._known):
            if (span := selection.get_span(number)) is not None:
                start, end = span
                chosen.append(self._known[number].text[start : None if end == -1 else end])
        return ("\n".join(chosen), "\n") if chosen else None

    def selection_updated(self, selection: Selection | None) -> None:
        self._strips.clear()
        self.refresh()

    # Drawing

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._strips.clear()

    def render_line(self, y: int) -> Strip:
        scroll_x, scroll_y = self.scroll_offset
        number, within = self._rows.at(scroll_y + y)
        width = self.size.width
        style = self.rich_style
        if number >= self._line_count:
            return Strip.blank(width, style)
        strip = self._strips.get(number)
        if strip is None:
            line = self._known.get(number)
            if line is None:
                faint = self.get_component_rich_style("log-view--faint")
                return Strip([Segment("·", faint)]).crop_extend(scroll_x, scroll_x + width, style)
            strip = self._strips[number] = self._draw(line, style)
        fill = style
        if number == self.current:
            fill = self.get_component_rich_style("log-view--current")
        starts = self._rows.starts(number)
        if len(starts) > 1:
            end = starts[within + 1] if within + 1 < len(starts) else strip.cell_length
            row = strip.crop(starts[within], end).crop_extend(0, width, fill)
            return row.apply_offsets(starts[within], number)
        return strip.crop_extend(scroll_x, scroll_x + width, fill).apply_offsets(scroll_x, number)

    def _draw(self, line: LogLine, style: Style) -> Strip:
        if line.number == self.current:
            style = self.get_component_rich_style("log-view--current")
        marks: list[tuple[int, int, Style]] = []
        if self._pattern is not None:
            match = self.get_component_rich_style("log-view--match")
            marks += [(m.start(), m.end(), match) for m in self._pattern.finditer(line.text)]
        selection = self.text_selection
        if selection is not None and (span := selection.get_span(line.number)) is not None:
            start, end = span
            selected = self.screen.get_component_rich_style("screen--selection")
            marks = [(start, len(line.text) if end == -1 else end, selected)]
        segments: list[Segment] = []
        position = 0
        for start, end, mark in marks:
            if end > start:
                segments.append(Segment(line.text[position:start], style))
                segments.append(Segment(line.text[start:end], style + mark))
                position = end
        segments.append(Segment(line.text[position:], style))
        if line.hidden:
            faint = self.get_component_rich_style("log-view--faint")
            segments.append(Segment(_hidden_note(line), style + faint))
        return Strip(segments)

    def _width_of(self, line: LogLine) -> int:
        return cell_len(_whole(line))


def _whole(line: LogLine) -> str:
    return line.text + _hidden_note(line) if line.hidden else line.text


def _hidden_note(line: LogLine) -> str:
    return f" … {line.hidden:,} more bytes in this line"
