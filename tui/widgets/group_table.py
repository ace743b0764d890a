"""Runs told together: one line a group, with mean and deviation of what they came to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from traindeck.core.catalogue.document import RunDoc
from traindeck.core.catalogue.groups import Group
from traindeck.core.catalogue.values import Pick
from traindeck.tui.widgets.columns import Part, empty_of, fitting
from traindeck.tui.widgets.group_columns import GroupColumn, GroupRow, group_columns
from traindeck.tui.widgets.line_table import LineTable

SAMPLE = 200
"""So many groups tell whether a column is mostly empty."""
MOSTLY_EMPTY = 1000


class GroupTable(LineTable[GroupRow, GroupColumn]):
    """Groups in the order of their newest runs, or of a column."""

    LEAD = 2

    def __init__(self, clock: Callable[[], float], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._clock = clock
        self.offered: list[GroupColumn] = []
        self._empty: frozenset[str] = frozenset()

    def take(self, by: Sequence[Pick], names: Sequence[str]) -> None:
        """Take what the runs are grouped by, and the columns to show of the groups."""
        self.offered = group_columns(by, names)
        ids = {column.id for column in self.offered}
        if self.sorted_by is not None and self.sorted_by[0].id not in ids:
            self.sorted_by = None
        self.refit()

    def show_groups(self, groups: Sequence[Group[RunDoc]]) -> None:
        """Take the groups; of one whose runs did not change what was worked out is kept."""
        known = {row.key: row for row in self._given}
        rows = []
        for group in groups:
            row = known.get(repr(group.key))
            if row is None or not _same(row.group.docs, group.docs):
                row = GroupRow(group, {})
            rows.append(row)
        empty = empty_of(self.offered, rows)
        if empty != self._empty:
            self._empty = empty
            self.refit()
        self.show(rows)

    def _key(self, item: GroupRow) -> str:
        return item.key

    def _fit(self, width: int) -> list[tuple[GroupColumn, int]]:
        """Columns of dashes are not shown; those that are mostly that go before the others do."""
        sample = self.items[:SAMPLE]
        offered = []
        for column in self.offered:
            if column.id in self._empty:
                continue
            lacking = sum(column.key(row) is None for row in sample)
            rank = MOSTLY_EMPTY if 2 * lacking > len(sample) else 0
            offered.append(replace(column, rank=column.rank + rank))
        return fitting(width, offered or self.offered)

    def _parts(self, column: GroupColumn, item: GroupRow, width: int) -> Sequence[Part]:
        return column.parts(item, self._clock(), width)


def _same(ones: Sequence[RunDoc], others: Sequence[RunDoc]) -> bool:
    return len(ones) == len(others) and all(a is b for a, b in zip(ones, others, strict=True))
