"""Which columns the list of runs has, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import getters, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from traindeck.core.catalogue.document import RunDoc
from traindeck.tui.keys import SCREEN_KEYS
from traindeck.tui.screens.dialogs import LEAVE
from traindeck.tui.widgets.columns import fitted
from traindeck.tui.widgets.key_bar import KeyBar
from traindeck.tui.widgets.line_list import LineList
from traindeck.tui.widgets.picked_columns import OWN, columns_of
from traindeck.tui.widgets.rows import shorten

_NAME_CELLS, _EXAMPLE_CELLS = 34, 24


class ColumnsDialog(ModalScreen[list[str] | None], inherit_bindings=False):
    """Asks for columns; answers their names in order, or None when left.

    chosen   those there are now, in order
    offered  all that could be
    example  a run to show values of
    """

    CSS_PATH = "dialogs.tcss"
    BINDING_GROUP_TITLE = "Columns"
    AUTO_FOCUS = "LineList"
    BINDINGS: ClassVar[list[BindingType]] = [
        LEAVE,
        *SCREEN_KEYS,
        Binding("space", "choose", "Choose", id="columns.toggle", tooltip="Show it, or no more"),
        Binding("left", "move(-1)", "Earlier", id="columns.earlier", tooltip="One place earlier"),
        Binding("right", "move(1)", "Later", id="columns.later", tooltip="One place later"),
        Binding("slash", "filter", "Filter", id="columns.filter", tooltip="Find a name"),
        Binding(
            "ctrl+o", "reset", "As before", id="columns.reset", tooltip="The table's own columns"
        ),
    ]

    names = getters.query_one(LineList)

    def __init__(
        self, chosen: Sequence[str], offered: Sequence[str], example: RunDoc | None
    ) -> None:
        super().__init__()
        self._chosen = list(chosen)
        self._own = [name for name in offered if name in OWN]
        self._offered = list(dict.fromkeys([*chosen, *offered]))
        self._example = example
        self._shown: list[str] = []

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog tall"):
            yield Static("", classes="question")
            yield Input(placeholder="/ finds a name; or type one, such as loss:min", compact=True)
            yield LineList(markup=False, compact=True)
            yield Static(
                "space chooses, ← and → move it, enter takes them, escape leaves it",
                classes="detail",
            )
        yield KeyBar()

    def on_mount(self) -> None:
        self._fill()

    def _fill(self) -> None:
        wanted = self.query_one(Input).value.strip().casefold()
        names = [name for name in self._offered if wanted in name.casefold()]
        typed = self.query_one(Input).value.strip()
        if typed and typed not in names and columns_of([typed]):
            names.append(typed)
        at = self.names.highlighted or 0
        under = self._shown[at] if at < len(self._shown) else None
        self._shown = names
        self.names.clear_options()
        self.names.add_options([Option(self._line(name)) for name in names])
        if names:
            self.names.highlighted = (
                names.index(under) if under in names else min(at, len(names) - 1)
            )
        self._tell()

    def _line(self, name: str) -> Content:
        mark = "✓" if name in self._chosen else " "
        place = str(self._chosen.index(name) + 1) if name in self._chosen else ""
        return Content.assemble(
            (f"{place:>3} {mark} ", "bold $accent"),
            fitted(shorten(name, _NAME_CELLS), _NAME_CELLS),
            (f" {self._example_of(name)}", "dim"),
        )

    def _example_of(self, name: str) -> str:
        columns = columns_of([name])
        if not columns or self._example is None:
            return ""
        parts = columns[0].parts(self._example, self.app.clock(), _EXAMPLE_CELLS)  # type: ignore[attr-defined]
        return "".join(text for text, _ in parts).strip()

    def _tell(self) -> None:
        told = ", ".join(self._chosen) or "none: the table's own"
        self.query_one(".question", Static).update(Content(f"Columns: {told}"))

    @property
    def _under(self) -> str | None:
        at = self.names.highlighted
        return self._shown[at] if at is not None and at < len(self._shown) else None

    def action_choose(self) -> None:
        name = self._under
        if name is None:
            return
        if name in self._chosen:
            self._chosen.remove(name)
        else:
            self._chosen.append(name)
        if name not in self._offered:
            self._offered.append(name)
        self._fill()
        self.names.action_cursor_down()

    def action_move(self, step: int) -> None:
        name = self._under
        if name not in self._chosen:
            return
        at = self._chosen.index(name)
        to = max(0, min(at + step, len(self._chosen) - 1))
        self._chosen.insert(to, self._chosen.pop(at))
        self._offered = list(dict.fromkeys([*self._chosen, *self._offered]))
        self._fill()

    def action_filter(self) -> None:
        self.query_one(Input).focus()

    def action_reset(self) -> None:
        self._chosen = list(self._own)
        self._offered = list(dict.fromkeys([*self._chosen, *self._offered]))
        self._fill()

    def action_leave(self) -> None:
        self.dismiss(None)

    @on(Input.Changed)
    def _typed(self) -> None:
        self._fill()

    @on(Input.Submitted)
    def _found(self) -> None:
        """Enter in the filter chooses what is found first and goes back to the list."""
        if self.query_one(Input).value.strip() and self._shown:
            name = self._shown[0]
            for names in (self._chosen, self._offered):
                if name not in names:
                    names.append(name)
            with self.query_one(Input).prevent(Input.Changed):
                self.query_one(Input).value = ""
            self._fill()
            self.names.highlighted = self._shown.index(name)
        self.names.focus()

    @on(OptionList.OptionSelected)
    def _taken(self) -> None:
        self.dismiss(self._chosen)
