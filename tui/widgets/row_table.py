"""A table of rows of any kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from textual.binding import BindingType

from traindeck.tui.keys import sort_keys
from traindeck.tui.widgets.columns import Key, Part, as_read, fitting
from traindeck.tui.widgets.line_table import LineTable


@dataclass(frozen=True, slots=True)
class RowColumn:
    """One column; see `columns.Sized`.

    parts  what it shows of a row, in so many cells
    sorts  what it sorts by, where that is not what it shows
    """

    id: str
    title: str
    width: int
    rank: int
    parts: Callable[[Any, int], Sequence[Part]]
    grow: int = 0
    most: int = 60
    right: bool = False
    sorts: Callable[[Any], Key] | None = None

    def key(self, row: Any) -> Key:
        return as_read(self.parts(row, self.most)) if self.sorts is None else self.sorts(row)


class RowTable(LineTable[Any, RowColumn]):
    """Rows as their columns show them.

    columns  what is shown of a row
    key      what a row is known by
    """

    BINDINGS: ClassVar[list[BindingType]] = sort_keys(show=False)

    def __init__(
        self,
        columns: Sequence[RowColumn],
        key: Callable[[Any], str],
        *,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self._offered = columns
        self._key_of = key

    def take_columns(self, columns: Sequence[RowColumn]) -> None:
        """Take other columns: what they need may depend on the rows."""
        if columns != self._offered:
            self._offered = columns
            self.refit()

    def _key(self, item: Any) -> str:
        return self._key_of(item)

    def _fit(self, width: int) -> list[tuple[RowColumn, int]]:
        return fitting(width, self._offered)

    def _parts(self, column: RowColumn, item: Any, width: int) -> Sequence[Part]:
        return column.parts(item, width)
