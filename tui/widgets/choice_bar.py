"""Pick one of a few texts: all of them on one line where they fit, one at a time where not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from traindeck.core.base.sanitize import plain

_GAP = 2


class ChoiceBar(Widget, can_focus=True):
    """`● eager  ○ graph`, or `◂ adam ▸ 2/9` where that is too wide.

    Left and right (or space) move the choice, a click takes it. `value` may be a text that is not
    among the choices: it is shown, and any move leaves it.
    """

    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("right,space", "move(1)", "Next choice", id="choice.next", show=False),
        Binding("left", "move(-1)", "Choice before", id="choice.previous", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = {"choice-bar--picked", "choice-bar--other"}
    DEFAULT_CSS = """
    ChoiceBar {
        height: 1; padding: 0 1; background: $surface; color: $foreground; pointer: pointer;
        & > .choice-bar--picked { color: $text-primary; text-style: bold; }
        & > .choice-bar--other { color: $text-muted; }
        &:focus {
            background-tint: $foreground 12%;
            & > .choice-bar--picked { text-style: bold underline; }
        }
        &.-invalid { background: $error 30%; }
        &:ansi {
            background: ansi_default;
            & > .choice-bar--picked { color: ansi_default; }
            & > .choice-bar--other { color: ansi_default; text-style: dim; }
        }
    }
    """

    value: reactive[str] = reactive("", init=False)

    class Changed(Message):
        def __init__(self, bar: ChoiceBar, value: str) -> None:
            super().__init__()
            self.bar = bar
            self.value = value

        @property
        def control(self) -> ChoiceBar:
            return self.bar

    def __init__(self, choices: Sequence[str], value: str, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.choices = tuple(choices)
        self.set_reactive(ChoiceBar.value, value)

    def watch_value(self, value: str) -> None:
        self.post_message(self.Changed(self, value))

    def action_move(self, by: int) -> None:
        if self.value in self.choices:
            at = (self.choices.index(self.value) + by) % len(self.choices)
        else:
            at = 0
        self.value = self.choices[at]

    def render(self) -> Content:
        picked = self.get_visual_style("choice-bar--picked")
        other = self.get_visual_style("choice-bar--other")
        if self._all_fit():
            parts: list[Content] = []
            for choice in self.choices:
                chosen = choice == self.value
                style = picked if chosen else other
                parts.append(Content.styled(("● " if chosen else "○ ") + plain(choice), style))
            return Content(" " * _GAP).join(parts)
        place = "?"
        if self.value in self.choices:
            place = f"{self.choices.index(self.value) + 1}"
        count = f" {place}/{len(self.choices)}"
        room = max(1, self.content_size.width - len(count) - 4)
        shown = Content(plain(self.value)).truncate(room, ellipsis=True)
        return Content.assemble(("◂ ", other), shown.stylize(picked), (" ▸", other), (count, other))

    def on_click(self, event: events.Click) -> None:
        x = event.get_content_offset_capture(self).x
        if not self._all_fit():
            self.action_move(-1 if x < 2 else 1)
            return
        start = 0
        for choice in self.choices:
            end = start + self._width(choice)
            if start <= x < end:
                self.value = choice
                return
            start = end + _GAP

    def _width(self, choice: str) -> int:
        return Content(plain(choice)).cell_length + 2

    def _all_fit(self) -> bool:
        widths = sum(self._width(choice) + _GAP for choice in self.choices) - _GAP
        return self.value in self.choices and widths <= self.content_size.width
