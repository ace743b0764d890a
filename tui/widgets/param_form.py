"""A form made from a recipe's header: one row a parameter, checked as it is typed.

What is typed stays text until it is asked for, so that nothing typed is ever lost, and every check
is the parameter's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

from rich.highlighter import Highlighter
from rich.text import Text
from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalGroup
from textual.content import Content
from textual.css.query import NoMatches
from textual.message import Message
from textual.timer import Timer
from textual.validation import ValidationResult, Validator
from textual.widget import Widget
from textual.widgets import Input, Static, Switch

from traindeck.core.recipe import Param, ParamError, Value
from traindeck.core.text import clean
from traindeck.tui.widgets.choice_bar import ChoiceBar

_PATH_LOOK_AFTER = 0.25


class ShowControls(Highlighter):
    """Draw what a terminal would obey as harmless signs, one for one, so that the cursor fits."""

    def highlight(self, text: Text) -> None:
        text.plain = "".join(
            char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text.plain
        )


def as_text(value: Value) -> str:
    """A value as it is typed into the form and after `-p name=`."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


class ParamCheck(Validator):
    """A parameter's own check, as a Textual validator."""

    def __init__(self, param: Param) -> None:
        super().__init__()
        self.param = param

    def validate(self, value: str) -> ValidationResult:
        message = complaint(self.param, value)
        return self.failure(message) if message else self.success()


def complaint(param: Param, text: str) -> str:
    """Why this text cannot be the parameter's value; empty when it can."""
    try:
        param.parse(text)
    except ParamError as error:
        return str(error).removeprefix(f"{param.name}: ")
    return ""


class ParamRow(VerticalGroup):
    """One parameter: its name, what sets it, a way back to the default, and what is allowed."""

    class Changed(Message):
        def __init__(self, row: ParamRow) -> None:
            super().__init__()
            self.row = row

        @property
        def control(self) -> ParamRow:
            return self.row

    def __init__(self, param: Param, text: str, label_width: int) -> None:
        super().__init__(id=f"param-{param.name}")
        self.param = param
        self.text = text
        self._label_width = label_width
        self._path_note = ""
        self._path_timer: Timer | None = None

    @property
    def default(self) -> str:
        return as_text(self.param.default)

    @property
    def changed(self) -> bool:
        """Whether the text means another value than the default does."""
        if self.text == self.default:
            return False
        try:
            return self.param.parse(self.text) != self.param.default
        except ParamError:
            return True

    @property
    def error(self) -> str:
        return complaint(self.param, self.text)

    @property
    def control(self) -> Widget:
        """What takes the focus and the typing."""
        return self.query_one(".param-control")

    def compose(self) -> ComposeResult:
        with Horizontal(classes="param-line"):
            label = Static(Content(clean(self.param.name)), classes="param-label")
            label.styles.width = self._label_width
            yield label
            with Horizontal(classes="param-value"):
                yield self._make_control()
                if self.param.type == "bool":
                    yield Static(classes="param-switch-word")
            yield Static(classes="param-reset")
            yield Static(classes="param-hint")
        error = Static(classes="param-error")
        error.styles.margin = (0, 0, 0, self._label_width)
        yield error

    def _make_control(self) -> Widget:
        control: Widget
        if self.param.type == "bool":
            control = Switch(self._switched_on(), animate=False)
        elif self.param.type == "choice":
            control = ChoiceBar(self.param.choices, self.text)
        else:
            control = Input(
                self.text,
                placeholder=self._placeholder(),
                highlighter=ShowControls(),
                validators=ParamCheck(self.param),
                select_on_focus=False,
            )
        control.add_class("param-control")
        return control

    def _placeholder(self) -> str:
        if self.param.default is None:
            return "(not given)"
        return clean(self.param.limits or self.default)

    def _switched_on(self) -> bool:
        try:
            return self.param.parse(self.text) is True
        except ParamError:
            return self.param.default is True

    def on_mount(self) -> None:
        self._show()
        if self.param.type == "path":
            self._look_soon()

    def set_text(self, text: str) -> None:
        """Put this text into the control, as if it had been typed."""
        control = self.control
        if isinstance(control, Switch):
            self.text = text
            control.value = self._switched_on()
        elif isinstance(control, ChoiceBar | Input):
            control.value = text

    def reset(self) -> None:
        self.set_text(self.default)

    @on(Input.Changed)
    @on(Switch.Changed)
    @on(ChoiceBar.Changed)
    def _typed(self, event: Input.Changed | Switch.Changed | ChoiceBar.Changed) -> None:
        event.stop()
        text = as_text(event.value)
        if text == self.text and not isinstance(event, Switch.Changed):
            return
        self.text = text
        if self.param.type == "path":
            self._path_note = ""
            self._look_soon()
        self._show()
        self.post_message(self.Changed(self))

    @on(events.Click, ".param-reset")
    def _reset_clicked(self) -> None:
        if self.changed:
            self.reset()

    def _show(self) -> None:
        error, changed = self.error, self.changed
        self.set_class(bool(error), "-invalid")
        self.set_class(changed, "-changed")
        self.control.set_class(bool(error), "-invalid")
        self.query_one(".param-reset", Static).update("↺" if changed else "")
        self.query_one(".param-hint", Static).update(self._hint(changed))
        self.query_one(".param-error", Static).update(Content(clean(error)))
        if self.param.type == "bool":
            word = "on" if self._switched_on() else "off"
            self.query_one(".param-switch-word", Static).update(word)

    def _hint(self, changed: bool) -> Content:
        parts = []
        if changed and self.param.default is not None:
            shown = (
                self.default if self.param.type != "bool" else "on" if self.param.default else "off"
            )
            parts.append(f"default {shown!r}" if shown != shown.strip() else f"default {shown}")
        if self.param.type != "choice" and self.param.limits:
            parts.append(self.param.limits)
        if self.param.help:
            parts.append(self.param.help)
        hint = Content(clean(" · ".join(parts)))
        if not self._path_note:
            return hint
        style = "$text-warning" if self._path_note.startswith("✗") else "$text-success"
        note = Content.styled(clean(self._path_note), style)
        return Content(" · ").join([note, hint] if parts else [note])

    def _look_soon(self) -> None:
        if self._path_timer is not None:
            self._path_timer.stop()
        if self.text:
            self._path_timer = self.set_timer(_PATH_LOOK_AFTER, lambda: self._look(self.text))

    @work(thread=True, group="path", exclusive=True, exit_on_error=False)
    def _look(self, text: str) -> None:
        note = describe_path(text)
        self.app.call_from_thread(self._looked, text, note)

    def _looked(self, text: str, note: str) -> None:
        if self.is_attached and text == self.text:
            self._path_note = note
            self._show()


def describe_path(text: str) -> str:
    """What stands at a path that was typed. Touches the disk: for threads only."""
    try:
        path = Path(text).expanduser()
        if path.is_dir():
            return "✓ a folder"
        if path.exists():
            return "✓ a file"
    except (OSError, ValueError, RuntimeError) as error:
        return f"✗ {getattr(error, 'strerror', None) or error}"
    return "✗ not there (yet)"


class ParamForm(Vertical):
    """The rows of one recipe's parameters.

    Up, down and enter walk from field to field; `Changed` tells that any value did.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,enter", "app.focus_next", "Next field", id="form.next", show=False),
        Binding("up", "app.focus_previous", "Field before", id="form.previous", show=False),
    ]
    DEFAULT_CSS = """
    ParamForm { height: auto; }
    ParamRow { height: auto; }
    ParamRow:focus-within { background: $foreground 5%; }
    ParamRow .param-line { height: auto; }
    ParamRow .param-label {
        color: $text-muted; padding: 0 1 0 0; text-wrap: nowrap; text-overflow: ellipsis;
    }
    ParamRow.-changed .param-label { color: $foreground; text-style: bold; }
    ParamRow:focus-within .param-label { color: $text-accent; text-style: bold; }
    ParamRow.-invalid .param-label { color: $text-error; }
    ParamRow .param-value { width: 26; height: 1; }
    ParamRow .param-control { width: 1fr; padding: 0 1; border: none !important; height: 1; }
    ParamRow Input { background: $surface; }
    ParamRow Input.-invalid { background: $error 20%; }
    ParamRow Input.-invalid:ansi { background: ansi_default; color: ansi_red; }
    ParamRow .param-control:focus { background-tint: $foreground 12%; }
    ParamRow Switch.param-control { width: 6; }
    ParamRow .param-switch-word { width: 1fr; padding: 0 1; }
    ParamRow .param-reset { width: 3; padding: 0 1; color: $text-accent; pointer: pointer; }
    ParamRow .param-hint {
        width: 1fr; max-height: 1; color: $text-muted; text-wrap: nowrap; text-overflow: ellipsis;
    }
    ParamRow:focus-within .param-hint { text-wrap: wrap; max-height: 8; }
    ParamRow.-invalid .param-hint { text-wrap: nowrap; max-height: 1; }
    ParamRow .param-error { display: none; color: $text-error; padding: 0 1; }
    ParamRow.-invalid .param-error { display: block; }
    """

    class Changed(Message):
        def __init__(self, form: ParamForm) -> None:
            super().__init__()
            self.form = form

        @property
        def control(self) -> ParamForm:
            return self.form

    def __init__(self, params: Iterable[Param], texts: Mapping[str, str], label_width: int) -> None:
        """`texts` holds what to show instead of the defaults; unknown names in it are ignored."""
        super().__init__()
        self.params = {param.name: param for param in params}
        self._given = texts
        self._label_width = label_width

    def compose(self) -> ComposeResult:
        for param in self.params.values():
            text = self._given.get(param.name, as_text(param.default))
            if param.type == "bool" and complaint(param, text):
                text = as_text(param.default)  # a switch has no way to show anything else
            yield ParamRow(param, text, self._label_width)

    @property
    def rows(self) -> list[ParamRow]:
        return list(self.query(ParamRow))

    def texts(self) -> dict[str, str]:
        """What is typed, of the parameters that differ from their default."""
        return {row.param.name: row.text for row in self.rows if row.changed}

    def errors(self) -> dict[str, str]:
        """What is wrong, by parameter, in the form's order."""
        return {row.param.name: row.error for row in self.rows if row.error}

    def values(self) -> dict[str, Value]:
        """The values that differ from their default. Raises ParamError for the first unusable."""
        return {row.param.name: row.param.parse(row.text) for row in self.rows if row.changed}

    def focus_first(self, *, invalid: bool = False) -> bool:
        """Focus the first field, or the first that is wrong; False when there is none."""
        for row in self.rows:
            if row.error or not invalid:
                row.control.focus()
                return True
        return False

    def reset(self) -> None:
        for row in self.rows:
            row.reset()

    def focused_row(self) -> ParamRow | None:
        try:
            return self.query_one("ParamRow:focus-within", ParamRow)
        except NoMatches:
            return None

    @on(ParamRow.Changed)
    def _row_changed(self, event: ParamRow.Changed) -> None:
        event.stop()
        self.post_message(self.Changed(self))
