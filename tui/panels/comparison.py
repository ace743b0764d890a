"""Several runs side by side: their states, the parameters that differ, their last metrics."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, ClassVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.coordinate import Coordinate
from textual.message import Message
from textual.strip import Strip
from textual.widgets import DataTable

from traindeck.core.base.sanitize import plain
from traindeck.tui.keys import LIST_KEYS, list_select
from traindeck.tui.plot import raster
from traindeck.tui.plot.palette import palette_of
from traindeck.tui.readers.picture import RunState
from traindeck.tui.widgets.rows import shorten
from traindeck.tui.widgets.run_columns import covered, number, state_text

MAX_METRICS = 12
CELL_WIDTH = 28
VALUES_FROM = 3
"""The column from which on there are values: those before it are words, whose beginnings tell."""


def differing(runs: Sequence[RunState]) -> list[str]:
    """Names of the parameters in which the runs differ, in the order they first appear."""
    names: dict[str, set[str]] = {}
    for run in runs:
        for name in run.doc["params"] if run.doc else ():
            names.setdefault(name, set())
    for name, values in names.items():
        for run in runs:
            if run.doc is not None:
                values.add(_word(run.doc["params"].get(name)))
    return [name for name, values in names.items() if len(values) > 1]


def metric_names(runs: Sequence[RunState]) -> list[str]:
    """Series to compare: headlines first, then those most runs have; at most `MAX_METRICS`."""
    counts: dict[str, int] = {}
    for run in runs:
        for name in run.last:
            counts[name] = counts.get(name, 0) + 1
    headlines = {run.doc["headline"] for run in runs if run.doc}
    return sorted(counts, key=lambda name: (name not in headlines, -counts[name], name))[
        :MAX_METRICS
    ]


class RunLines(DataTable[Text], inherit_bindings=False):
    """A table with the keys that every list has; what the edge cuts says so by an ellipsis."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *LIST_KEYS,
        Binding("left", "cursor_left", show=False, id="scroll.left", tooltip="Scroll left"),
        Binding("right", "cursor_right", show=False, id="scroll.right", tooltip="Scroll right"),
        list_select("select_cursor"),
    ]

    def render_line(self, y: int) -> Strip:
        """A line of which no number is read that is only the part of one."""
        strip = super().render_line(y)
        row = y - self.header_height + self.scroll_offset.y if y >= self.header_height else -1
        if row >= self.row_count:
            return strip
        left, width = self.scroll_offset.x, self.scrollable_content_region.width
        begin = -left
        for place, column in enumerate(self.ordered_columns):
            text = column.label if row < 0 else self.get_cell_at(Coordinate(row, place))
            end = begin + column.get_render_width(self)
            first = begin + self.cell_padding
            last = first + text.cell_len
            if (first < 0 < last) or (first < width < last):
                shown = max(0, begin), min(width, end)
                keep = shown[1] - 1 if place < VALUES_FROM and first >= 0 else max(0, first)
                strip = _cut(strip, keep, shown[1])
            begin = end
        return strip

    def action_first(self) -> None:
        self.move_cursor(row=0)

    def action_last(self) -> None:
        self.move_cursor(row=self.row_count - 1)


class ComparisonPanel(Vertical):
    """A small table, one line a run, in the order and colors of the curves."""

    BORDER_TITLE = "runs"
    BINDING_GROUP_TITLE = "Runs"
    BINDINGS: ClassVar[list[BindingType]] = []
    DEFAULT_CSS = """
    ComparisonPanel { height: auto; }
    ComparisonPanel > DataTable { height: auto; max-height: 100%; scrollbar-size: 1 1; }
    ComparisonPanel > DataTable:ansi {
        background: ansi_default; color: ansi_default;
        & > .datatable--header {
            background: ansi_default; color: ansi_default; text-style: bold underline;
        }
        & > .datatable--cursor {
            background: ansi_default; color: ansi_default; text-style: underline;
        }
    }
    ComparisonPanel > DataTable:ansi:focus > .datatable--cursor { text-style: reverse; }
    """

    class Opened(Message):
        """One of the runs was chosen."""

        def __init__(self, run_id: str) -> None:
            super().__init__()
            self.run_id = run_id

    class Moved(Message):
        """The cursor is on another run."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._shown: tuple[list[str], list[list[str]]] | None = None
        self._runs: Sequence[RunState] = ()

    def compose(self) -> ComposeResult:
        yield RunLines(cursor_type="row", cursor_foreground_priority="renderable")

    @property
    def table(self) -> RunLines:
        return self.query_one(RunLines)

    def show(self, runs: Sequence[RunState]) -> None:
        """Take the runs as they are now."""
        self._runs = runs
        params, metrics = differing(runs), metric_names(runs)
        asked = [f"{name} asked" if name in metrics else name for name in params]
        header = ["", "run", "state", *asked, *map(covered, metrics)]
        lines = [_cells(run, params, metrics) for run in runs]
        if (header, lines) == self._shown:
            return
        table = self.table
        if self._shown is None or self._shown[0] != header:
            cursor = table.cursor_row
            table.clear(columns=True)
            for place, title in enumerate(header):
                table.add_column(Text(shorten(plain(title), CELL_WIDTH)), key=str(place))
            for row, cells in enumerate(lines):
                table.add_row(*self._texts(row, cells), key=str(row))
            table.move_cursor(row=cursor)
        else:
            for row, cells in enumerate(lines):
                for column, text in enumerate(self._texts(row, cells)):
                    if cells[column] != self._shown[1][row][column]:
                        table.update_cell(str(row), str(column), text, update_width=True)
        self._shown = header, lines

    def _texts(self, row: int, cells: list[str]) -> list[Text]:
        """Rich texts, which are never parsed as markup."""
        color = palette_of(self)[raster.LINE + row].color
        swatch = Text(f"━{raster.MARKERS[row % len(raster.MARKERS)]}", Style(color=color))
        return [swatch, *(Text(cell, no_wrap=True) for cell in cells[1:])]

    @property
    def cursor(self) -> int:
        """The place of the run under the cursor."""
        return self.table.cursor_row

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        event.stop()
        self.post_message(self.Moved())

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        event.stop()
        if event.cursor_row < len(self._runs):
            self.post_message(self.Opened(self._runs[event.cursor_row].id))


def _cut(strip: Strip, begin: int, end: int) -> Strip:
    """The strip with an ellipsis for these cells of it."""
    style = next((segment.style for segment in strip.crop(begin, end)), None)
    ellipsis = Strip([Segment("…".ljust(end - begin), style)])
    return Strip.join([strip.crop(0, begin), ellipsis, strip.crop(end)])


def _cells(run: RunState, params: Sequence[str], metrics: Sequence[str]) -> list[str]:
    if run.doc is None:
        return ["", run.id, "deleted" if run.deleted else "…"] + [""] * (len(params) + len(metrics))
    state = run.doc["state"]
    word = "deleted" if run.deleted else state_text(state)
    name = shorten(plain(f"{run.doc['name']} {run.id}"), CELL_WIDTH)
    given = [
        "not set" if run.doc["params"].get(name, "") is None else _word(run.doc["params"].get(name))
        for name in params
    ]
    last = [number(run.last[name]) if name in run.last else "" for name in metrics]
    return ["", name, word, *given, *last]


def _word(value: Any) -> str:
    if value is None:
        return "–"
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return shorten(plain(text), CELL_WIDTH)
