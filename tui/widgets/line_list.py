"""A list of options with the keys that every list has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from textual.binding import BindingType
from textual.widgets import OptionList

from traindeck.tui.keys import LIST_KEYS, list_select


class LineList(OptionList, inherit_bindings=False):
    """The cursor stops at either end; Textual's goes on at the other."""

    BINDINGS: ClassVar[list[BindingType]] = [*LIST_KEYS, list_select("select")]

    def action_cursor_up(self) -> None:
        if self.highlighted != next(self._usable(), None):
            super().action_cursor_up()

    def action_cursor_down(self) -> None:
        if self.highlighted != max(self._usable(), default=None):
            super().action_cursor_down()

    def _usable(self) -> Iterator[int]:
        return (place for place, option in enumerate(self.options) if not option.disabled)
