"""A table of any number of runs that costs only what is seen.

Textual's DataTable takes over a second to load 10,000 rows; this one renders visible lines, keeps
them while their run, width and mark stay the same, and repaints only those that changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from traindeck.core.catalogue.document import RunDoc
from traindeck.tui.widgets.columns import TONES, cropped, fitted
from traindeck.tui.widgets.run_columns import Column, age, fit

MARK, NO_MARK = "▌ ", "  "
_KEPT_LINES = 1000


class RunTable(ScrollView, can_focus=True, inherit_bindings=False):
    """Runs, one a line below a header; a cursor, marks, and the header's sort arrow.

    The table keeps no order of its own: it shows what `show` was given, and keeps its cursor on
    the same run where that is still there.
    """

    BINDING_GROUP_TITLE = "Table"
    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", id="table.up", show=False),
        Binding("down,j", "move(1)", "Down", id="table.down", show=False),
        Binding("pageup", "page(-1)", "Page up", id="table.page-up", show=False),
        Binding("pagedown", "page(1)", "Page down", id="table.page-down", show=False),
        Binding("home,g", "first", "First", id="table.first", show=False),
        Binding("end,G", "last", "Last", id="table.last", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        f"run-table--{name}" for name in ("header", "cursor", "cursor-blurred", "marked", *TONES)
    }
    DEFAULT_CSS = """
    RunTable {
        height: 1fr; overflow-x: hidden; overflow-y: auto; scrollbar-size-vertical: 1;
        background: $background; color: $foreground;
        & > .run-table--header { color: $text-muted; text-style: bold; background: $panel; }
        & > .run-table--cursor {
            color: $block-cursor-foreground; background: $block-cursor-background;
        }
        & > .run-table--cursor-blurred { background: $surface-lighten-1; }
        & > .run-table--marked { color: $accent; text-style: bold; }
        & > .run-table--dim { color: $text-muted; }
        & > .run-table--faint { color: $foreground 30%; }
        & > .run-table--live { color: $text-primary; text-style: bold; }
        & > .run-table--good { color: $text-success; }
        & > .run-table--warn { color: $text-warning; }
        & > .run-table--bad { color: $text-error; text-style: bold; }
        &:ansi {
            background: ansi_default; color: ansi_default;
            & > .run-table--header {
                color: ansi_default; background: ansi_default; text-style: bold underline;
            }
            & > .run-table--cursor {
                color: ansi_default; background: ansi_default; text-style: reverse;
            }
            & > .run-table--cursor-blurred { background: ansi_default; text-style: underline; }
            & > .run-table--dim, & > .run-table--faint { color: ansi_default; text-style: dim; }
            & > .run-table--live { color: ansi_blue; }
            & > .run-table--good { color: ansi_green; }
            & > .run-table--warn { color: ansi_yellow; }
            & > .run-table--bad { color: ansi_red; }
        }
    }
    """

    cursor: reactive[int] = reactive(0, repaint=False)
    """The line of the run that keys act upon, counted in what is shown."""

    class Moved(Message):
        """Another run is under the cursor, or the same one changed; None when there is none."""

        def __init__(self, doc: RunDoc | None) -> None:
            super().__init__()
            self.doc = doc

    class Opened(Message):
        """A run was clicked twice."""

    class SortAsked(Message):
        """A column's header was clicked."""

        def __init__(self, column: Column) -> None:
            super().__init__()
            self.column = column

    def __init__(self, clock: Callable[[], float], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.docs: Sequence[RunDoc] = ()
        self.marked: frozenset[str] = frozenset()
        self.sorted_by: tuple[Column, bool] | None = None
        self._clock = clock
        self.columns: list[tuple[Column, int]] = []
        self._private = False
        self._shape = (0, False)
        self._lines: dict[tuple[str, bool, bool, bool], tuple[RunDoc, str, Strip]] = {}
        self._inks: dict[str, Style] = {}
        self._told: RunDoc | None = None

    # What is shown

    def show(self, docs: Sequence[RunDoc]) -> None:
        """Takes other runs, or the same ones as they are now, and repaints what differs."""
        in_view = 0 <= self.cursor - self.scroll_offset.y < self.size.height - 1
        before, self.docs = self.docs, docs
        private = any(doc["privacy"] for doc in docs)
        if private != self._private:
            self._private = private
            self.refresh()
        self.set_reactive(RunTable.cursor, self._follow(before))
        height = len(docs) + 1
        if self.virtual_size.height != height:
            self.virtual_size = Size(self.size.width, height)
            self.refresh()
        else:
            top = self.scroll_offset.y
            for line in range(top, min(top + self.size.height - 1, len(docs))):
                if docs[line] is not before[line]:
                    self._refresh_run(line)
        if in_view:
            self._scroll_to_cursor()
        self._tell()

    def _follow(self, before: Sequence[RunDoc]) -> int:
        """Where the run under the cursor now is; else the same line, if there are so many."""
        if self.cursor >= len(before):
            return max(0, min(self.cursor, len(self.docs) - 1))
        wanted = before[self.cursor]["id"]
        if self.cursor < len(self.docs) and self.docs[self.cursor]["id"] == wanted:
            return self.cursor
        for line, doc in enumerate(self.docs):
            if doc["id"] == wanted:
                return line
        return max(0, min(self.cursor, len(self.docs) - 1))

    def select(self, run_id: str) -> bool:
        """Puts the cursor on a run; whether it is there."""
        for line, doc in enumerate(self.docs):
            if doc["id"] == run_id:
                self.cursor = line
                return True
        return False

    def mark(self, marked: frozenset[str]) -> None:
        """Shows which runs are marked."""
        self.marked = marked
        self.refresh()

    def sort_arrow(self, column: Column | None, reverse: bool) -> None:
        """Shows what the runs are sorted by."""
        self.sorted_by = None if column is None else (column, reverse)
        self.refresh()

    def tick(self) -> None:
        """Time went by: repaints the visible lines whose age reads differently."""
        now = self._clock()
        kept = {key[0]: told_age for key, (_, told_age, _) in self._lines.items()}
        top = self.scroll_offset.y
        for line in range(top, min(top + self.size.height - 1, len(self.docs))):
            doc = self.docs[line]
            if kept.get(doc["id"]) != age(now - doc["created"]):
                self._refresh_run(line)

    @property
    def doc(self) -> RunDoc | None:
        """The run under the cursor."""
        return self.docs[self.cursor] if self.cursor < len(self.docs) else None

    def _tell(self) -> None:
        if self.doc is not self._told:
            self._told = self.doc
            self.post_message(self.Moved(self.doc))

    # Painting

    def on_resize(self) -> None:
        self.virtual_size = Size(self.size.width, len(self.docs) + 1)
        self._scroll_to_cursor()

    def render_lines(self, crop: Region) -> list[Strip]:
        # Not in on_resize: a scroll bar comes and goes without one.
        shape = self.scrollable_content_region.width, self._private
        if shape != self._shape:
            self._shape = shape
            self.columns = fit(max(1, shape[0] - len(MARK) - 1), private=self._private)
            self._lines.clear()
        return super().render_lines(crop)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._lines.clear()
        self._inks.clear()

    def render_line(self, y: int) -> Strip:
        width = self._shape[0]
        if y == 0:
            return self._header().adjust_cell_length(width)
        line = y - 1 + self.scroll_offset.y
        if line >= len(self.docs):
            return Strip.blank(width, self._plain())
        doc = self.docs[line]
        now = self._clock()
        told_age = age(now - doc["created"])
        state = (doc["id"], line == self.cursor, doc["id"] in self.marked, self.has_focus)
        kept = self._lines.get(state)
        if kept is not None and kept[0] is doc and kept[1] == told_age:
            return kept[2]
        if len(self._lines) > _KEPT_LINES:
            self._lines.clear()
        strip = self._run(doc, now, *state[1:]).adjust_cell_length(width, self._plain())
        self._lines[state] = (doc, told_age, strip)
        return strip

    def _header(self) -> Strip:
        base = self._style("header")
        segments = [Segment(NO_MARK, base)]
        for column, width in self.columns:
            title = column.title
            if self.sorted_by is not None and self.sorted_by[0] is column:
                title = f"{title[: max(1, width - 1)]}{'▼' if self.sorted_by[1] else '▲'}"
            text = fitted(title, width, column.right)
            segments.append(Segment(text + " ", base))
        return Strip(segments).extend_cell_length(self._shape[0], base)

    def _run(self, doc: RunDoc, now: float, cursor: bool, marked: bool, focused: bool) -> Strip:
        base = self._plain()
        if cursor:
            over = self._style("cursor" if focused else "cursor-blurred")
            base = over if focused else base + Style(bgcolor=over.bgcolor, underline=over.underline)
        segments = [Segment(MARK if marked else NO_MARK, base if cursor else self._style("marked"))]
        for column, width in self.columns:
            parts = column.parts(doc, now, width)
            for text, name in cropped(parts, width, column.right):
                # On the cursor's line one color is readable; colored text on it is not.
                style = base if not name or (cursor and focused) else base + self._ink(name)
                segments.append(Segment(text, style))
            segments.append(Segment(" ", base))
        return Strip(segments).extend_cell_length(self._shape[0], base)

    def _plain(self) -> Style:
        """The widget's own style, which Textual works out anew each time it is asked."""
        if "" not in self._inks:
            self._inks[""] = self.rich_style
        return self._inks[""]

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"run-table--{name}")

    def _ink(self, name: str) -> Style:
        """A component's style without its background: that is the line's."""
        if name not in self._inks:
            style = self._style(name)
            self._inks[name] = Style(color=style.color, bold=style.bold, dim=style.dim)
        return self._inks[name]

    def _refresh_run(self, line: int) -> None:
        self.refresh_line(line + 1)

    # Moving

    def watch_cursor(self, before: int, now: int) -> None:
        self._refresh_run(before)
        self._refresh_run(now)
        self._scroll_to_cursor()
        self._tell()

    def watch_has_focus(self, has_focus: bool) -> None:
        super().watch_has_focus(has_focus)
        self._refresh_run(self.cursor)

    def _scroll_to_cursor(self) -> None:
        rows = max(1, self.size.height - 1)
        top = self.scroll_offset.y
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False)
        elif self.cursor >= top + rows:
            self.scroll_to(y=self.cursor - rows + 1, animate=False)

    def _go(self, line: int) -> None:
        self.cursor = max(0, min(line, len(self.docs) - 1))

    def action_move(self, lines: int) -> None:
        self._go(self.cursor + lines)

    def action_page(self, pages: int) -> None:
        self._go(self.cursor + pages * max(1, self.size.height - 2))

    def action_first(self) -> None:
        self._go(0)

    def action_last(self) -> None:
        self._go(len(self.docs) - 1)

    def on_click(self, event: events.Click) -> None:
        if event.y == 0:
            column = self._column_at(event.x)
            if column is not None:
                self.post_message(self.SortAsked(column))
            return
        line = event.y - 1 + self.scroll_offset.y
        if line < len(self.docs):
            self.cursor = line
            if event.chain == 2:
                self.post_message(self.Opened())

    def _column_at(self, x: int) -> Column | None:
        left = len(MARK)
        for column, width in self.columns:
            if left <= x <= left + width:
                return column
            left += width + 1
        return None
