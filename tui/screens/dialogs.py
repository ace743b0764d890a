"""Small questions on top of a screen: yes or no, a line of text, a longer text, one of a list.

Each is a modal screen that answers through `push_screen`'s callback; escape always leaves it.
What runs supply (names, notes) is shown as plain text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, OptionList, Static, TextArea
from textual.widgets.option_list import Option

from traindeck.tui.keys import SCREEN_KEYS
from traindeck.tui.widgets.key_bar import KeyBar
from traindeck.tui.widgets.line_list import LineList

LEAVE = Binding("escape", "leave", "Leave it", id="dialog.leave")


class ConfirmDialog(ModalScreen[bool], inherit_bindings=False):
    """Asks before something that is hard to take back.

    question  what is about to happen, in one line
    detail    what that means
    yes       the word on the button that does it
    """

    CSS_PATH = "dialogs.tcss"
    BINDING_GROUP_TITLE = "Question"
    AUTO_FOCUS = "#no"  # a stray enter must not end or delete anything
    BINDINGS: ClassVar[list[BindingType]] = [
        LEAVE,
        *SCREEN_KEYS,
        Binding("y", "answer(True)", "Yes", id="dialog.yes"),
        Binding("n", "answer(False)", "No", id="dialog.no"),
        Binding("left,right", "other", "Other button", id="dialog.other", show=False),
    ]

    def __init__(self, question: str, detail: str = "", yes: str = "Yes") -> None:
        super().__init__()
        self._question, self._detail, self._yes = question, detail, yes

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Content(self._question), classes="question")
            if self._detail:
                yield Static(Content(self._detail), classes="detail")
            with Horizontal(classes="buttons"):
                yield Button(Content(self._yes), id="yes", variant="error", compact=True)
                yield Button("Leave it", id="no", compact=True)
        yield KeyBar()

    def action_leave(self) -> None:
        self.dismiss(False)

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)

    def action_other(self) -> None:
        self.focus_next()

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")


class PromptDialog(ModalScreen[str | None], inherit_bindings=False):
    """Asks for one line of text; answers None when left.

    question  what to type
    value     what is there now
    hint      what an empty field shows
    check     gives a sentence for people when the text cannot be taken, else None
    replace   whether what is typed first replaces the value, or is added to its end
    """

    CSS_PATH = "dialogs.tcss"
    BINDING_GROUP_TITLE = "Question"
    BINDINGS: ClassVar[list[BindingType]] = [LEAVE, *SCREEN_KEYS]

    def __init__(
        self,
        question: str,
        value: str = "",
        hint: str = "",
        check: Callable[[str], str | None] | None = None,
        *,
        replace: bool = True,
    ) -> None:
        super().__init__()
        self._question, self._value, self._hint = question, value, hint
        self._replace = replace
        self._check = check or (lambda text: None)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(Content(self._question), classes="question")
            yield Input(
                self._value,
                placeholder=self._hint,
                compact=True,
                select_on_focus=self._replace,
            )
            yield Static("", classes="wrong")
            yield Static("enter takes it, escape leaves it", classes="detail")
        yield KeyBar()

    def action_leave(self) -> None:
        self.dismiss(None)

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        wrong = self._check(event.value)
        self.query_one(".wrong", Static).update(Content(wrong or ""))

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        if self._check(event.value) is None:
            self.dismiss(event.value)


class TextDialog(ModalScreen[str | None], inherit_bindings=False):
    """Asks for text of several lines; answers None when left.

    question  what to write
    value     what is there now
    left      told what had been written when it is left without keeping that
    """

    CSS_PATH = "dialogs.tcss"
    BINDING_GROUP_TITLE = "Text"
    BINDINGS: ClassVar[list[BindingType]] = [
        LEAVE,
        *SCREEN_KEYS,
        Binding("ctrl+s", "keep", "Keep it", id="dialog.keep", priority=True),
    ]

    def __init__(
        self, question: str, value: str = "", left: Callable[[str], object] | None = None
    ) -> None:
        super().__init__()
        self._question, self._value, self._left = question, value, left

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog tall"):
            yield Static(Content(self._question), classes="question")
            yield TextArea(self._value, compact=True, tab_behavior="focus")
            yield Static("", classes="detail", id="how")
        yield KeyBar()

    def on_mount(self) -> None:
        keys = {
            binding.id: self.app.get_key_display(binding)
            for _, binding, _, _ in self.active_bindings.values()
        }
        keep = keys.get("dialog.keep", "ctrl+s")
        self.query_one("#how", Static).update(Content(f"{keep} keeps it, escape leaves it"))

    def action_leave(self) -> None:
        if self._left is not None:
            self._left(self.query_one(TextArea).text)
        self.dismiss(None)

    def action_keep(self) -> None:
        self.dismiss(self.query_one(TextArea).text)


class ChoiceDialog(ModalScreen[str | None], inherit_bindings=False):
    """Asks for one of a list; answers its id, or None when left.

    question  what is chosen
    choices   id and text of each
    """

    CSS_PATH = "dialogs.tcss"
    BINDING_GROUP_TITLE = "Choice"
    BINDINGS: ClassVar[list[BindingType]] = [LEAVE, *SCREEN_KEYS]

    def __init__(self, question: str, choices: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._question, self._choices = question, choices

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog tall"):
            yield Static(Content(self._question), classes="question")
            yield LineList(
                *(Option(Content(text), id=choice) for choice, text in self._choices),
                markup=False,
                compact=True,
            )
            yield Static("enter takes it, escape leaves it", classes="detail")
        yield KeyBar()

    def action_leave(self) -> None:
        self.dismiss(None)

    @on(OptionList.OptionSelected)
    def _selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option_id)
