"""A window on a log of any length: draws only what is visible, never reads a file itself.

The view says which lines it wants (`LogView.Wanted`); whoever reads the file answers with `show`.
Lines that have not arrived are drawn as a dim dot, so scrolling never waits for a disk.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.cache import LRUCache
from textual.geometry import Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from traindeck.tui.keys import SCROLL_KEYS
from traindeck.tui.readers.log import LogLine

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
    BINDINGS: ClassVar[list[BindingType]] = SCROLL_KEYS

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
        self._strips: LRUCache[int, Strip] = LRUCache(1024)
        self._asked: tuple[int, int, bool] | None = None
        self._reveal: int | None = None

    # What the reader brings

    def show(self, line_count: int, lines: Sequence[LogLine], *, restarted: bool = False) -> None:
        """Take the log's length and the lines of a window of it."""
        if restarted or line_count < self._line_count:
            self._known.clear()
            self._strips.clear()
            self._longest = 0
            self.current = None
        changed = line_count != self._line_count
        for line in lines:
            if self._known.get(line.number) != line:
                self._known[line.number] = line
                self._strips.discard(line.number)
                self._longest = max(self._longest, self._width_of(line))
                changed = True
        if not changed:
            return
        self._line_count = line_count
        self.virtual_size = Size(self._longest, line_count)
        self._stick()
        self.call_after_refresh(self._settle)
        self._reveal_match()
        self._forget_far_lines()
        self.refresh()
        self._want()

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

    @property
    def line_count(self) -> int:
        """Lines in the log."""
        return self._line_count

    @property
    def first_visible(self) -> int:
        """The number of the topmost visible line."""
        return self.scroll_offset.y

    # What is asked of the reader

    def _window(self) -> tuple[int, int]:
        height = max(1, self.scrollable_content_region.height)
        top = self.scroll_offset.y
        return max(0, top - MARGIN_SCREENS * height), top + (MARGIN_SCREENS + 1) * height

    def _want(self) -> None:
        first, last = self._window()
        if self.follow:
            asked = (0, last - first, True)
        else:
            height = max(1, self.scrollable_content_region.height)
            visible = range(
                self.scroll_offset.y, min(self.scroll_offset.y + height, self.line_count)
            )
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
        if round(old_value) != round(new_value):
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
        height = self.scrollable_content_region.height
        if not self.scroll_offset.y <= line < self.scroll_offset.y + height:
            self.scroll_to(y=max(0, line - height // 3), animate=False)
        self._reveal = line
        self._reveal_match()
        self._want()

    def _reveal_match(self) -> None:
        """Scroll sideways to the current line's match, once that line has arrived."""
        if self._reveal is None or (line := self._known.get(self._reveal)) is None:
            return
        self._reveal = None
        if self._pattern is None or (match := self._pattern.search(line.text)) is None:
            return
        start = cell_len(line.text[: match.start()])
        width = self.scrollable_content_region.width
        if not self.scroll_offset.x <= start < self.scroll_offset.x + width:
            self.scroll_to(x=max(0, start - width // 2), animate=False)

    def watch_current(self, old: int | None, new: int | None) -> None:
        for line in (old, new):
            if line is not None:
                self._strips.discard(line)
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        line = self.scroll_offset.y + event.y
        if line < self.line_count:
            self.current = line

    # Copying

    def text_to_copy(self) -> str:
        """The current line, or the visible ones when none is current."""
        height = self.scrollable_content_region.height
        if self.current is not None:
            wanted = range(self.current, self.current + 1)
        else:
            wanted = range(self.scroll_offset.y, self.scroll_offset.y + height)
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
        number, width = scroll_y + y, self.size.width
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
        return cell_len(line.text) + (len(_hidden_note(line)) if line.hidden else 0)


def _hidden_note(line: LogLine) -> str:
    return f" … {line.hidden:,} more bytes in this line"
