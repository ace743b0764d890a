"""A form made from a recipe's header: one row a parameter, checked as it is typed.

What is typed stays text until it is asked for, so that nothing typed is ever lost, and every check
is the parameter's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from rich.highlighter import Highlighter
from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.validation import ValidationResult, Validator
from textual.widget import Widget
from textual.widgets import Input, Switch

from traindeck.core.base.sanitize import plain
from traindeck.core.recipe.params import Param, ParamError, Value
from traindeck.tui.widgets.choice_bar import ChoiceBar
from traindeck.tui.widgets.field_row import FieldRow

_PATH_LOOK_AFTER = 0.25
_HINT_LONGEST = 1000
_CAN_BE_IN = {"int": r"[-+_0-9]*", "float": r"[-+_.eE0-9]*"}
"""What may be typed for a number: a letter pressed by mistake belongs to a key, not in here."""


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


class ParamRow(FieldRow):
    """One parameter: what is typed, and what its check says to that."""

    class Changed(Message):
        def __init__(self, row: ParamRow) -> None:
            super().__init__()
            self.row = row

    def __init__(self, param: Param, text: str, label_width: int) -> None:
        if param.type == "bool" and complaint(param, text):
            text = as_text(param.default)  # a switch has no way to show anything else
        super().__init__(
            param.name, _make_control(param, text), label_width, id=f"param-{param.name}"
        )
        self.param = param
        self.text = text
        self._edited = self.changed
        self._unchosen, self._again_of, self._was = self.default, "", text
        self._path_note = ""
        self._path_timer: Timer | None = None
        self._show()

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

    def compare(self, unchosen: str, again_of: str) -> None:
        """Mark a default that is not `unchosen`, and a text that is not the run's as it is now."""
        self._unchosen, self._again_of = unchosen, again_of
        self._show()

    def on_mount(self) -> None:
        if self.param.type == "path":
            self._look_soon()

    def set_text(self, text: str) -> None:
        """Put this text into the control, as if it had been typed."""
        control = self.control
        if isinstance(control, Switch):
            control.value = self.param.parse(text) is True
        elif isinstance(control, ChoiceBar | Input):
            control.value = text

    def reset(self) -> None:
        self.set_text(self.default)

    def take(self, param: Param) -> None:
        """Go by this default from now on: what nobody has typed follows it."""
        if param.default == self.param.default:
            return
        self.param = param
        if not self._edited:
            self.reset()
            self.take_typed()
        self._show()

    @on(Input.Changed)
    @on(Switch.Changed)
    @on(ChoiceBar.Changed)
    def _typed(self, event: Input.Changed | Switch.Changed | ChoiceBar.Changed) -> None:
        event.stop()
        self.take_typed()

    def take_typed(self) -> None:
        """Read the control now: its message that it was changed may still be on its way."""
        control = self.control
        assert isinstance(control, ChoiceBar | Input | Switch)
        text = as_text(control.value)
        if text == self.text:
            return
        self.text = text
        self._edited = self.changed
        if self.param.type == "path":
            self._path_note = ""
            self._look_soon()
        self._show()
        self.post_message(self.Changed(self))

    @on(FieldRow.Reset)
    def _reset_clicked(self, event: FieldRow.Reset) -> None:
        event.stop()
        self.reset()

    def _show(self) -> None:
        changed = self.changed
        beside = ""
        if self.param.type == "bool":
            beside = _switch_word(self.text)
        self.say(hint=self._facts(changed), error=self.error, changed=changed, beside=beside)

    def _facts(self, changed: bool) -> Content:
        parts = []
        if self._again_of and self.text != self._was:
            was = self._was if self.param.type != "bool" else _switch_word(self._was)
            parts.append(f"≠ {was or 'not given'} of {self._again_of}")
        elif not changed and self.default != self._unchosen:
            parts.append(f"by your choices; else {self._unchosen or 'not given'}")
        if changed and self.param.default is not None:
            shown = self.default if self.param.type != "bool" else _switch_word(self.default)
            parts.append(f"default {shown}" if shown.strip() else f"default {shown!r}")
        if self.param.type != "choice" and self.param.limits:
            parts.append(self.param.limits)
        if self.param.help:
            parts.append(self.param.help)
        hint = Content(plain(" · ".join(parts), _HINT_LONGEST))
        if not self._path_note:
            return hint
        style = "$text-warning" if self._path_note.startswith("✗") else "$text-success"
        note = Content.styled(plain(self._path_note), style)
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


def _make_control(param: Param, text: str) -> Widget:
    if param.type == "bool":
        return Switch(param.parse(text) is True, animate=False)
    if param.type == "choice":
        return ChoiceBar(param.choices, text)
    placeholder = (
        "(not given)" if param.default is None else plain(param.limits or str(param.default))
    )
    return Input(
        text,
        placeholder=placeholder,
        highlighter=ShowControls(),
        validators=ParamCheck(param),
        restrict=_CAN_BE_IN.get(param.type),
        select_on_focus=param.type in _CAN_BE_IN,
    )


def _switch_word(text: str) -> str:
    return "on" if text == "true" else "off"


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
    """The rows of one recipe's parameters; `Changed` tells that any value did."""

    DEFAULT_CSS = """
    ParamForm { height: auto; }
    """

    class Changed(Message):
        def __init__(self, form: ParamForm) -> None:
            super().__init__()
            self.form = form

        @property
        def control(self) -> ParamForm:
            return self.form

    def __init__(
        self,
        params: Iterable[Param],
        texts: Mapping[str, str],
        label_width: int,
        plain_defaults: Mapping[str, Value] | None = None,
        again_of: str = "",
    ) -> None:
        """The form of these parameters.

        texts           what to show instead of the defaults; unknown names in it are ignored
        plain_defaults  the defaults where nothing is chosen: those that a choice changed are marked
        again_of        the run that these are of: what is changed from there is marked
        """
        super().__init__()
        self.rows = []
        for param in params:
            row = ParamRow(param, texts.get(param.name, as_text(param.default)), label_width)
            unchosen = (plain_defaults or {}).get(param.name, param.default)
            row.compare(as_text(unchosen), again_of)
            self.rows.append(row)

    def compose(self) -> ComposeResult:
        yield from self.rows

    def texts(self) -> dict[str, str]:
        """What is typed, of the parameters that differ from their default."""
        return {row.param.name: row.text for row in self.rows if row.changed}

    def take(self, params: Mapping[str, Param]) -> None:
        """Go by the defaults of these."""
        for row in self.rows:
            row.take(params[row.param.name])

    def errors(self) -> dict[str, str]:
        """What is wrong, by parameter, in the form's order."""
        return {row.param.name: row.error for row in self.rows if row.error}

    def values(self) -> dict[str, Value]:
        """The values that differ from their default. Raises ParamError for the first unusable."""
        return {row.param.name: row.param.parse(row.text) for row in self.rows if row.changed}

    def take_typed(self) -> None:
        for row in self.rows:
            row.take_typed()

    def focus_first(self, *, invalid: bool = False) -> bool:
        """Focus the first field, or the first that is wrong; False when there is none."""
        for row in self.rows:
            if row.error or not invalid:
                self.screen.set_focus(row.control)
                return True
        return False

    def reset(self) -> None:
        for row in self.rows:
            row.reset()

    def focused_row(self) -> ParamRow | None:
        return next((row for row in self.rows if row.control.has_focus), None)

    @on(ParamRow.Changed)
    def _row_changed(self, event: ParamRow.Changed) -> None:
        event.stop()
        self.post_message(self.Changed(self))
