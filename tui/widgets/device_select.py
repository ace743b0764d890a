"""Choose where a run goes: what there is, what is free, and room to type anything else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from traindeck.core.base.errors import TraindeckError
from traindeck.core.base.sanitize import plain
from traindeck.tui.widgets.field_row import FieldRow
from traindeck.tui.widgets.line_list import LineList

if TYPE_CHECKING:
    from traindeck.tui.readers.launching import Offer


class OfferList(LineList):
    """The arrow keys go through the offers and, at either end, on to the next field."""

    def action_cursor_up(self) -> None:
        if self.highlighted == 0:
            self.screen.focus_previous()
        else:
            super().action_cursor_up()

    def action_cursor_down(self) -> None:
        if self.highlighted == self.option_count - 1:
            self.screen.focus_next()
        else:
            super().action_cursor_down()


class DeviceSelect(Vertical):
    """A text field holding the request, with what can be asked for listed below it."""

    DEFAULT_CSS = """
    DeviceSelect { height: auto; }
    DeviceSelect > OptionList {
        height: auto; max-height: 8; border: none; padding: 0; background: transparent;
    }
    DeviceSelect > OptionList:focus { border: none; background-tint: $foreground 0%; }
    DeviceSelect > OptionList > .option-list--option { padding: 0 1; }
    DeviceSelect > OptionList > .option-list--option-highlighted {
        background: transparent; text-style: none; color: $foreground;
    }
    DeviceSelect > OptionList:focus > .option-list--option-highlighted {
        background: $block-cursor-background; color: $block-cursor-foreground;
    }
    """

    class Changed(Message):
        def __init__(self, select: DeviceSelect, value: str) -> None:
            super().__init__()
            self.select = select
            self.value = value

        @property
        def control(self) -> DeviceSelect:
            return self.select

    def __init__(self, value: str, label_width: int) -> None:
        super().__init__()
        self.value = value
        self.error = ""
        self.input = Input(value, placeholder="cpu", id="device-on")
        self._row = FieldRow("device", self.input, label_width)
        self._options = OfferList(id="device-offers", markup=False)
        self._options.styles.margin = (0, 0, 0, label_width)
        self._explain: Callable[[str], str] = lambda on: ""
        self._offers: tuple[Offer, ...] = ()

    def compose(self) -> ComposeResult:
        yield self._row
        yield self._options

    def on_descendant_focus(self) -> None:
        """What there is to choose from should be seen, not only the field."""
        self.call_after_refresh(self.scroll_visible, animate=False)

    def show_offers(self, offers: Sequence[Offer], explain: Callable[[str], str]) -> None:
        """Take what can be asked for now; the cursor stays on its row.

        `explain` says in words what a request would get; it raises TraindeckError for one that
        means nothing or can never be met.
        """
        self._explain = explain
        if tuple(offers) != self._offers:
            self._offers = tuple(offers)
            self._fill()
        self._show()

    @on(Input.Changed, "#device-on")
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self.take_typed()

    def take_typed(self) -> None:
        """Read the field now: its message that it was typed in may still be on its way."""
        value = self.input.value.strip()
        if value == self.value:
            return
        self.value = value
        self._fill()
        self._show()
        self.post_message(self.Changed(self, self.value))

    @on(OptionList.OptionSelected, "#device-offers")
    def _picked(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        self.input.value = event.option_id or ""

    @on(OptionList.OptionHighlighted)
    def _highlighted(self, event: OptionList.OptionHighlighted) -> None:
        event.stop()

    def _show(self) -> None:
        self.error = ""
        try:
            meaning = self._explain(self.value or "cpu")
        except TraindeckError as error:
            meaning = self.error = str(error)
        self._row.say(hint="" if self.error else meaning, error=self.error)

    def _fill(self) -> None:
        options = self._options
        at = options.highlighted
        widest = max((len(offer.on) for offer in self._offers), default=0)
        options.set_options(
            Option(self._prompt(offer, widest), id=offer.on) for offer in self._offers
        )
        if at is not None and at < len(self._offers):
            options.highlighted = at

    def _prompt(self, offer: Offer, widest: int) -> Content:
        chosen = offer.on == (self.value or "cpu")
        style = "" if offer.free is None else "$text-success" if offer.free else "$text-warning"
        return Content.assemble(
            ("● " if chosen else "○ ", "$text-primary" if chosen else "dim"),
            (plain(offer.on).ljust(widest), "bold" if chosen else ""),
            "  ",
            (plain(offer.status), style),
            ("  " + plain(offer.what), "dim"),
        )
