"""The table under every list: one line an item below a header, and a cursor.

Textual's DataTable takes over a second to load 10,000 rows; this one draws visible lines only, and
repaints only those that changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Generic, TypeVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from traindeck.tui.keys import LIST_KEYS
from traindeck.tui.widgets.columns import TONES, Part, Titled, cropped, fitted, ordered

Item = TypeVar("Item")
C = TypeVar("C", bound=Titled)


class LineTable(ScrollView, Generic[Item, C], can_focus=True, inherit_bindings=False):
    """Items in the order they are given or in that of a column; the cursor stays on its item while
    others come and go.

    A table says what an item is known by (`_key`), which columns fit (`_fit`) and what they show of
    it (`_parts`); it may say what stands before the first column (`_lead`, in `LEAD` cells).
    """

    ALLOW_SELECT = False
    LEAD: ClassVar[int] = 1
    BINDINGS: ClassVar[list[BindingType]] = LIST_KEYS
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"line-table--{name}" for name in ("header", "cursor", "cursor-blurred", "marked", *TONES)
    }
    DEFAULT_CSS = """
    LineTable {
        height: 1fr; overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1;
        background: $background; color: $foreground;
        & > .line-table--header { color: $text-muted; text-style: bold; background: $panel; }
        & > .line-table--cursor {
            color: $block-cursor-foreground; background: $block-cursor-background;
        }
        & > .line-table--cursor-blurred { background: $surface-lighten-1; }
        & > .line-table--marked { color: $accent; text-style: bold; }
        & > .line-table--dim { color: $text-muted; }
        & > .line-table--faint { color: $foreground 30%; }
        & > .line-table--live { color: $text-primary; text-style: bold; }
        & > .line-table--good { color: $text-success; }
        & > .line-table--warn { color: $text-warning; }
        & > .line-table--bad { color: $text-error; text-style: bold; }
        &:ansi {
            background: ansi_default; color: ansi_default;
            & > .line-table--header {
                color: ansi_default; background: ansi_default; text-style: bold underline;
            }
            & > .line-table--cursor {
                color: ansi_default; background: ansi_default; text-style: reverse;
            }
            & > .line-table--cursor-blurred { background: ansi_default; text-style: underline; }
            & > .line-table--dim, & > .line-table--faint { color: ansi_default; text-style: dim; }
            & > .line-table--live { color: ansi_blue; }
            & > .line-table--good { color: ansi_green; }
            & > .line-table--warn { color: ansi_yellow; }
            & > .line-table--bad { color: ansi_red; }
        }
    }
    """

    cursor: reactive[int] = reactive(0, repaint=False)
    """The line of the item that keys act upon, counted in what is shown."""

    class Moved(Message):
        """Another item is under the cursor, or the same one changed, or there is none any more."""

        def __init__(self, table: LineTable[Any, Any]) -> None:
            super().__init__()
            self.table = table

        @property
        def control(self) -> LineTable[Any, Any]:
            return self.table

    class Opened(Message):
        """An item was clicked twice."""

    class Sorted(Message):
        """The items are sorted otherwise."""

        def __init__(self, table: LineTable[Any, Any]) -> None:
            super().__init__()
            self.table = table

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.items: Sequence[Item] = ()
        """What is shown, in the order it is shown."""
        self.columns: list[tuple[C, int]] = []
        """The columns that fit, with the cells each one gets."""
        self.sorted_by: tuple[C, bool] | None = None
        """The column that the items are sorted by, and whether the other way round."""
        self._given: Sequence[Item] = ()
        self._width = 0
        self._styles: dict[str, Style] = {}
        self._moved_to: Item | None = None

    def _key(self, item: Item) -> str:
        raise NotImplementedError

    def _fit(self, width: int) -> list[tuple[C, int]]:
        raise NotImplementedError

    def _parts(self, column: C, item: Item, width: int) -> Sequence[Part]:
        raise NotImplementedError

    def _lead(self, item: Item, base: Style, on_cursor: bool) -> Segment:
        return Segment(" " * self.LEAD, base)

    # What is shown

    @property
    def current(self) -> Item | None:
        """The item under the cursor."""
        return self.items[self.cursor] if self.cursor < len(self.items) else None

    def show(self, items: Sequence[Item]) -> None:
        """Takes other items, or the same ones as they are now, and repaints what differs."""
        in_view = 0 <= self.cursor - self.scroll_offset.y < self.size.height - 1
        self._given = items
        before, self.items = self.items, ordered(items, *(self.sorted_by or (None, False)))
        self.set_reactive(LineTable.cursor, self._follow(before))
        height = len(self.items) + 1
        if self.virtual_size.height != height:
            self.virtual_size = Size(self.size.width, height)
            self.refresh()
        else:
            for line in self._lines_in_view():
                if self.items[line] is not before[line]:
                    self._refresh_item(line)
        if in_view:
            self._scroll_to_cursor()
        self._tell_moved()

    def _lines_in_view(self) -> range:
        top = self.scroll_offset.y
        return range(top, min(top + self.size.height - 1, len(self.items)))

    def _follow(self, before: Sequence[Item]) -> int:
        """Where the item under the cursor now is; else the same line, if there are so many."""
        same_line = max(0, min(self.cursor, len(self.items) - 1))
        if self.cursor >= len(before):
            return same_line
        wanted = self._key(before[self.cursor])
        if self.items and self._key(self.items[same_line]) == wanted:
            return same_line
        return self._line_of(wanted, same_line)

    def _line_of(self, key: str, otherwise: int) -> int:
        lines = (line for line, item in enumerate(self.items) if self._key(item) == key)
        return next(lines, otherwise)

    def select(self, key: str) -> bool:
        """Puts the cursor on an item; whether it is there."""
        line = self._line_of(key, -1)
        if line >= 0:
            self.cursor = line
        return line >= 0

    def _tell_moved(self) -> None:
        if self.current is not self._moved_to:
            self._moved_to = self.current
            self.post_message(self.Moved(self))

    # Sorting

    def sort_by(self, column: C | None, reverse: bool = False) -> None:
        """Sorts by a column; by None, as the items are given."""
        self.sorted_by = None if column is None else (column, reverse)
        self.refresh()
        self.show(self._given)
        self.post_message(self.Sorted(self))

    def _is_sorted_by(self, column: C) -> bool:
        """By its id: a column that became wider is another value, and still the same column."""
        return self.sorted_by is not None and self.sorted_by[0].id == column.id

    def action_sort_next(self) -> None:
        order = [None, *(column for column, _ in self.columns)]
        sorted_by = (at for at, column in enumerate(order) if column and self._is_sorted_by(column))
        self.sort_by(order[(next(sorted_by, 0) + 1) % len(order)])

    def action_sort_reverse(self) -> None:
        """The other way round; of what is not sorted yet, by the last column."""
        if self.columns:
            column, reverse = self.sorted_by or (self.columns[-1][0], False)
            self.sort_by(column, not reverse)

    # Painting

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self.items) + 1

    def on_resize(self) -> None:
        self.virtual_size = Size(self.size.width, len(self.items) + 1)
        self._scroll_to_cursor()

    def refit(self) -> None:
        """The columns are others: fits them when they are painted next."""
        self._width = 0
        self.refresh()

    def render_lines(self, crop: Region) -> list[Strip]:
        # Not in on_resize: a scroll bar comes and goes without one.
        width = self.scrollable_content_region.width
        if width != self._width:
            self._width = width
            self.columns = self._fit(max(1, width - self.LEAD - 1))
        return super().render_lines(crop)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._styles.clear()

    def render_line(self, y: int) -> Strip:
        if y == 0:
            return self._header()
        line = y - 1 + self.scroll_offset.y
        if line >= len(self.items):
            return Strip.blank(self._width, self._plain())
        return self._line(self.items[line], line == self.cursor)

    def _header(self) -> Strip:
        base = self._style("header")
        segments = [Segment(" " * self.LEAD, base)]
        for column, width in self.columns:
            title = column.title
            if self.sorted_by is not None and self._is_sorted_by(column):
                title = f"{title[: max(1, width - 1)]}{'▼' if self.sorted_by[1] else '▲'}"
            segments.append(Segment(fitted(title, width, column.right) + " ", base))
        return Strip(segments).adjust_cell_length(self._width, base)

    def _line(self, item: Item, on_cursor: bool) -> Strip:
        base = self._plain()
        if on_cursor and self.has_focus:
            base = self._style("cursor")
        elif on_cursor:
            over = self._style("cursor-blurred")
            base += Style(bgcolor=over.bgcolor, underline=over.underline)
        segments = [self._lead(item, base, on_cursor)]
        for column, width in self.columns:
            for text, tone in cropped(self._parts(column, item, width), width, column.right):
                # On the cursor's line one color is readable; colored text on it is not.
                bare = not tone or (on_cursor and self.has_focus)
                segments.append(Segment(text, base if bare else base + self._ink(tone)))
            segments.append(Segment(" ", base))
        return Strip(segments).adjust_cell_length(self._width, base)

    def _plain(self) -> Style:
        """The widget's own style, which Textual works out anew each time it is asked."""
        if "" not in self._styles:
            self._styles[""] = self.rich_style
        return self._styles[""]

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"line-table--{name}")

    def _ink(self, tone: str) -> Style:
        """A tone without its background: that is the line's."""
        if tone not in self._styles:
            style = self._style(tone)
            self._styles[tone] = Style(color=style.color, bold=style.bold, dim=style.dim)
        return self._styles[tone]

    def _refresh_item(self, line: int) -> None:
        self.refresh_line(line + 1)

    # Moving

    def watch_cursor(self, before: int, now: int) -> None:
        self._refresh_item(before)
        self._refresh_item(now)
        self._scroll_to_cursor()
        self._tell_moved()

    def watch_has_focus(self, has_focus: bool) -> None:
        super().watch_has_focus(has_focus)
        self._refresh_item(self.cursor)

    def _scroll_to_cursor(self) -> None:
        lines = max(1, self.size.height - 1)
        top = self.scroll_offset.y
        # By force: a table that has just grown shows its scroll bar only with the next layout.
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False, force=True)
        elif self.cursor >= top + lines:
            self.scroll_to(y=self.cursor - lines + 1, animate=False, force=True)

    def _go(self, line: int) -> None:
        self.cursor = max(0, min(line, len(self.items) - 1))

    @property
    def _page(self) -> int:
        return max(1, self.size.height - 2)

    def action_cursor_up(self) -> None:
        self._go(self.cursor - 1)

    def action_cursor_down(self) -> None:
        self._go(self.cursor + 1)

    def action_first(self) -> None:
        self._go(0)

    def action_last(self) -> None:
        self._go(len(self.items) - 1)

    def action_page_up(self) -> None:
        self._go(self.cursor - self._page)

    def action_page_down(self) -> None:
        self._go(self.cursor + self._page)

    def on_click(self, event: events.Click) -> None:
        if event.y == 0:
            self._header_clicked(event.x)
            return
        line = event.y - 1 + self.scroll_offset.y
        if line < len(self.items):
            self.cursor = line
            if event.chain == 2:
                self.post_message(self.Opened())

    def _header_clicked(self, x: int) -> None:
        left = self.LEAD
        for column, width in self.columns:
            if left <= x <= left + width:
                reverse = self.sorted_by is not None and self.sorted_by[1]
                self.sort_by(column, self._is_sorted_by(column) and not reverse)
                return
            left += width + 1
