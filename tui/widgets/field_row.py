"""One line of a form: a name, a control, and what is to be said about it."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Switch

from traindeck.core.base.sanitize import plain

CONTROL_WIDTH = 26
_SWITCH_WIDTH = 6
_GUTTER = 3
_ERROR = "$text-error"


class FieldRow(Widget):
    """Draws the name, the hint and the error around its control itself.

    A widget for each of them makes a form twice as slow to build. The hint takes one line, or as
    many as it needs while the control has the focus; the error stands under the control.
    `Reset` is posted by a click on the mark that a changed row bears.
    """

    DEFAULT_CSS = """
    FieldRow {
        height: auto; layout: horizontal;
        & > .field-control { height: 1; border: none !important; padding: 0 1; }
        & > .field-control:focus { background-tint: $foreground 12%; }
        & > Input { background: $surface; }
        & > Input.-invalid { background: $error 20%; }
        & > Input.-invalid:ansi { background: ansi_default; color: ansi_red; }
    }
    FieldRow:focus-within { background: $foreground 5%; }
    """

    class Reset(Message):
        def __init__(self, row: FieldRow) -> None:
            super().__init__()
            self.row = row

    def __init__(
        self,
        label: str,
        control: Widget,
        label_width: int,
        *,
        control_width: int = CONTROL_WIDTH,
        id: str | None = None,
    ) -> None:
        super().__init__(id=id)
        self.control = control
        self._label = plain(label)
        self._indent = label_width
        self._control_width = control_width
        self._said: tuple[object, ...] = ()
        self._beside = ""
        self._hint = Content("")
        self._error = ""
        self._changed = False
        control.add_class("field-control")
        control.styles.margin = (0, 0, 0, label_width)
        control.styles.width = _SWITCH_WIDTH if isinstance(control, Switch) else control_width

    def compose(self) -> ComposeResult:
        yield self.control

    def say(
        self,
        *,
        hint: Content | str = "",
        error: str = "",
        changed: bool = False,
        beside: str = "",
    ) -> None:
        """What to show: a hint, an error, the mark of a change, a word beside a narrow control."""
        said = (str(hint), error, changed, beside)
        if said == self._said:
            return
        self._said = said
        self._hint = hint if isinstance(hint, Content) else Content(plain(hint))
        self._error = plain(error)
        self._changed = changed
        self._beside = beside
        self.control.set_class(bool(error), "-invalid")
        self._redraw()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(self._lines(width))

    def render(self) -> Content:
        return Content("\n").join(self._lines(self.content_size.width))

    def on_descendant_focus(self) -> None:
        self._redraw()

    def on_descendant_blur(self) -> None:
        self._redraw()

    def on_click(self, event: events.Click) -> None:
        at = event.get_content_offset_capture(self)
        mark = self._indent + self._control_width
        if self._changed and at.y == 0 and mark <= at.x < mark + _GUTTER:
            self.post_message(self.Reset(self))

    def _redraw(self) -> None:
        width, height = self.content_size
        self.refresh(layout=width > 0 and len(self._lines(width)) != height)

    def _lines(self, width: int) -> list[Content]:
        focus = self.has_focus_within
        hint_at = self._indent + self._control_width + _GUTTER
        room = max(8, width - hint_at)
        hint = self._hint.stylize_before("dim")
        wrapped = hint.wrap(room) if focus and not self._error else []
        if len(wrapped) <= 1:
            wrapped = [hint.truncate(room, ellipsis=True)]
        lines = [self._head(focus) + wrapped[0]]
        lines += [Content(" " * hint_at) + line for line in wrapped[1:]]
        if self._error:
            message = Content.styled(self._error, _ERROR)
            indent = Content(" " * (self._indent + 1))
            lines += [indent + line for line in message.wrap(max(8, width - self._indent - 1))]
        return lines

    def _head(self, focus: bool) -> Content:
        """The line up to the hint: what lies under the control is blank."""
        style = "bold" if self._changed else "dim"
        if self._error:
            style = _ERROR
        elif focus:
            style = "bold $text-accent"
        label = Content.styled(self._label, style).truncate(self._indent - 1, ellipsis=True)
        mark = " ↺ " if self._changed else " " * _GUTTER
        beside = Content((" " * (_SWITCH_WIDTH + 1) + self._beside).ljust(self._control_width))
        return Content.assemble(
            label,
            " " * (self._indent - label.cell_length),
            beside,
            (mark, "$text-accent"),
        )
