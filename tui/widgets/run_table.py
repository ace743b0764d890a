"""A table of any number of runs: it keeps its lines as long as they would be drawn the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from traindeck.core.catalogue.document import RunDoc
from traindeck.tui.widgets.columns import Part, empty_of, fitting
from traindeck.tui.widgets.line_table import LineTable
from traindeck.tui.widgets.run_columns import COLUMNS, Column, age, fit

MARK, NO_MARK = "▌ ", "  "
_KEPT_LINES = 1000


class RunTable(LineTable[RunDoc, Column]):
    """Runs with marks; where some are private, what they spent comes before what they run on."""

    LEAD = len(MARK)

    def __init__(self, clock: Callable[[], float], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.marked: frozenset[str] = frozenset()
        self._clock = clock
        self._private = False
        self._chosen: list[Column] = []
        self._empty: frozenset[str] = frozenset()
        self._lines: dict[tuple[str, bool, bool, bool], tuple[RunDoc, str, Strip]] = {}

    def show(self, items: Sequence[RunDoc]) -> None:
        private = any(doc["privacy"] for doc in items)
        if private != self._private:
            self._private = private
            self.refit()
        self._look_for_empty(items)
        super().show(items)

    def _look_for_empty(self, items: Sequence[RunDoc]) -> None:
        """Columns of dashes are not shown: of unlike runs each has much that the others lack."""
        empty = empty_of(self._chosen, items)
        if empty != self._empty:
            self._empty = empty
            self.refit()

    def choose(self, columns: Sequence[Column]) -> None:
        """Takes the columns to show; none stands for the table's own, as many as fit."""
        self._chosen = list(columns)
        ids = {column.id for column in self._chosen or COLUMNS}
        if self.sorted_by is not None and self.sorted_by[0].id not in ids:
            self.sort_by(None)
        self._look_for_empty(self._given)
        self.refit()

    def mark(self, marked: frozenset[str]) -> None:
        """Shows which runs are marked."""
        self.marked = marked
        self.refresh()

    def tick(self) -> None:
        """Time went by: repaints the visible lines whose age reads differently."""
        now = self._clock()
        shown_ages = {key[0]: shown_age for key, (_, shown_age, _) in self._lines.items()}
        for line in self._lines_in_view():
            doc = self.items[line]
            if shown_ages.get(doc["id"]) != age(now - doc["created"]):
                self._refresh_item(line)

    def _key(self, item: RunDoc) -> str:
        return item["id"]

    def _fit(self, width: int) -> list[tuple[Column, int]]:
        self._lines.clear()
        if self._chosen:
            full = [column for column in self._chosen if column.id not in self._empty]
            return fitting(width, full or self._chosen)
        return fit(width, private=self._private)

    def _parts(self, column: Column, item: RunDoc, width: int) -> Sequence[Part]:
        return column.parts(item, self._clock(), width)

    def _lead(self, item: RunDoc, base: Style, on_cursor: bool) -> Segment:
        mark = MARK if item["id"] in self.marked else NO_MARK
        return Segment(mark, base if on_cursor else self._style("marked"))

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._lines.clear()

    def _line(self, item: RunDoc, on_cursor: bool) -> Strip:
        run_id = item["id"]
        now_age = age(self._clock() - item["created"])
        state = (run_id, on_cursor, run_id in self.marked, self.has_focus)
        kept = self._lines.get(state)
        if kept is not None and kept[0] is item and kept[1] == now_age:
            return kept[2]
        if len(self._lines) > _KEPT_LINES:
            self._lines.clear()
        strip = super()._line(item, on_cursor)
        self._lines[state] = (item, now_age, strip)
        return strip
