"""A table of any rows, whatever their number, that costs only what is seen of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

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
from traindeck.tui.widgets.columns import TONES, Part, cropped, fitted, fitting


@dataclass(frozen=True, slots=True)
class RowColumn:
    """One column; see `columns.Sized`.

    parts  what it shows of a row, in so many cells
    """

    id: str
    title: str
    width: int
    rank: int
    parts: Callable[[Any, int], Sequence[Part]]
    grow: int = 0
    most: int = 60
    right: bool = False


class RowTable(ScrollView, can_focus=True, inherit_bindings=False):
    """Rows below a header, with a cursor that stays on its row while others come and go.

    Args:
        columns: what is shown of a row.
        key: what a row is known by.
    """

    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = LIST_KEYS
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"row-table--{name}" for name in ("header", "cursor", "cursor-blurred", *TONES)
    }
    DEFAULT_CSS = """
    RowTable {
        height: 1fr; overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1;
        background: $background; color: $foreground;
        & > .row-table--header { color: $text-muted; text-style: bold; background: $panel; }
        & > .row-table--cursor {
            color: $block-cursor-foreground; background: $block-cursor-background;
        }
        & > .row-table--cursor-blurred { background: $surface-lighten-1; }
        & > .row-table--dim { color: $text-muted; }
        & > .row-table--faint { color: $foreground 30%; }
        & > .row-table--live { color: $text-primary; text-style: bold; }
        & > .row-table--good { color: $text-success; }
        & > .row-table--warn { color: $text-warning; }
        & > .row-table--bad { color: $text-error; text-style: bold; }
        &:ansi {
            background: ansi_default; color: ansi_default;
            & > .row-table--header {
                color: ansi_default; background: ansi_default; text-style: bold underline;
            }
            & > .row-table--cursor {
                color: ansi_default; background: ansi_default; text-style: reverse;
            }
            & > .row-table--cursor-blurred { background: ansi_default; text-style: underline; }
            & > .row-table--dim, & > .row-table--faint { color: ansi_default; text-style: dim; }
            & > .row-table--live { color: ansi_blue; }
            & > .row-table--good { color: ansi_green; }
            & > .row-table--warn { color: ansi_yellow; }
            & > .row-table--bad { color: ansi_red; }
        }
    }
    """

    cursor: reactive[int] = reactive(0, repaint=False)
    """The place of the row that keys act upon."""

    class Moved(Message):
        """Another row is under the cursor."""

        def __init__(self, table: RowTable) -> None:
            super().__init__()
            self.table = table

        @property
        def control(self) -> RowTable:
            return self.table

    class Opened(Message):
        """A row was clicked twice."""

        def __init__(self, table: RowTable) -> None:
            super().__init__()
            self.table = table

        @property
        def control(self) -> RowTable:
            return self.table

    def __init__(
        self,
        columns: Sequence[RowColumn],
        key: Callable[[Any], str],
        *,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self.items: Sequence[Any] = ()
        self._columns = columns
        self._key = key
        self._shown: list[tuple[RowColumn, int]] = []
        self._width = 0
        self._inks: dict[str, Style] = {}

    @property
    def current(self) -> Any | None:
        """The row under the cursor."""
        return self.items[self.cursor] if self.cursor < len(self.items) else None

    def take_columns(self, columns: Sequence[RowColumn]) -> None:
        """Take other columns: what they need may depend on the rows."""
        if columns != self._columns:
            self._columns = columns
            self._width = 0  # they are fitted when they are painted
            self.refresh()

    def show(self, items: Sequence[Any]) -> None:
        """Take other rows, or the same ones as they are now."""
        before = None if self.current is None else self._key(self.current)
        self.items = items
        cursor = max(0, min(self.cursor, len(items) - 1))
        if before is not None and (not items or self._key(items[cursor]) != before):
            found = (place for place, item in enumerate(items) if self._key(item) == before)
            cursor = next(found, cursor)
        self.set_reactive(RowTable.cursor, cursor)
        self._measure()
        self.refresh()
        if self.current is not None and self._key(self.current) != before:
            self.post_message(self.Moved(self))

    def _measure(self) -> None:
        self.virtual_size = Size(self.size.width, len(self.items) + 1)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self.items) + 1

    # Painting

    def on_resize(self) -> None:
        self._measure()
        self._scroll_to_cursor()

    def render_lines(self, crop: Region) -> list[Strip]:
        width = self.scrollable_content_region.width
        if width != self._width:
            self._width = width
            self._shown = fitting(max(1, width - 2), self._columns)
        return super().render_lines(crop)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._inks.clear()

    def render_line(self, y: int) -> Strip:
        width = self._width
        if y == 0:
            base = self._style("header")
            titles = [fitted(each.title, size, each.right) for each, size in self._shown]
            segments = [Segment(f" {' '.join(titles)}", base)]
            return Strip(segments).adjust_cell_length(width, base)
        line = y - 1 + self.scroll_offset.y
        plain = self.rich_style
        if line >= len(self.items):
            return Strip.blank(width, plain)
        on_it = line == self.cursor
        base = plain
        if on_it:
            over = self._style("cursor" if self.has_focus else "cursor-blurred")
            base = (
                over
                if self.has_focus
                else plain + Style(bgcolor=over.bgcolor, underline=over.underline)
            )
        segments = [Segment(" ", base)]
        for column, size in self._shown:
            for text, tone in cropped(column.parts(self.items[line], size), size, column.right):
                # On the cursor's line one color is readable; colored text on it is not.
                bare = not tone or (on_it and self.has_focus)
                segments.append(Segment(text, base if bare else base + self._ink(tone)))
            segments.append(Segment(" ", base))
        return Strip(segments).adjust_cell_length(width, base)

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"row-table--{name}")

    def _ink(self, name: str) -> Style:
        """A tone without its background: that is the line's."""
        if name not in self._inks:
            style = self._style(name)
            self._inks[name] = Style(color=style.color, bold=style.bold, dim=style.dim)
        return self._inks[name]

    # Moving

    def watch_cursor(self) -> None:
        self.refresh()
        self._scroll_to_cursor()
        self.post_message(self.Moved(self))

    def watch_has_focus(self, has_focus: bool) -> None:
        super().watch_has_focus(has_focus)
        self.refresh()

    def _scroll_to_cursor(self) -> None:
        rows = max(1, self.size.height - 1)
        top = self.scroll_offset.y
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False)
        elif self.cursor >= top + rows:
            self.scroll_to(y=self.cursor - rows + 1, animate=False)

    def _go(self, line: int) -> None:
        self.cursor = max(0, min(line, len(self.items) - 1))

    def action_cursor_up(self) -> None:
        self._go(self.cursor - 1)

    def action_cursor_down(self) -> None:
        self._go(self.cursor + 1)

    def action_first(self) -> None:
        self._go(0)

    def action_last(self) -> None:
        self._go(len(self.items) - 1)

    def action_page_up(self) -> None:
        self._go(self.cursor - max(1, self.size.height - 2))

    def action_page_down(self) -> None:
        self._go(self.cursor + max(1, self.size.height - 2))

    def on_click(self, event: events.Click) -> None:
        line = event.y - 1 + self.scroll_offset.y
        if event.y >= 1 and line < len(self.items):
            self.cursor = line
            if event.chain == 2:
                self.post_message(self.Opened(self))
