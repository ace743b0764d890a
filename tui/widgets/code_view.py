"""Code to be judged: wrapped, so that nothing of it hides to the right, with numbered lines.

Only what is seen is painted; wrapping takes place once a width.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from traindeck.tui.keys import SCROLL_KEYS
from traindeck.tui.widgets.columns import Part

INKS = ("keyword", "string", "comment", "number", "name", "odd", "added", "removed", "hunk")
MOST_COLORED = 200_000
"""Characters from which on a script is shown without colors: those take a second a million."""
_ODD = re.compile(r"(‹U\+[0-9A-F]{4,6}›|␍)")
_KINDS = (
    ("Token.Keyword", "keyword"),
    ("Token.Operator.Word", "keyword"),
    ("Token.Literal.String", "string"),
    ("Token.Literal.Number", "number"),
    ("Token.Comment", "comment"),
    ("Token.Name.Function", "name"),
    ("Token.Name.Class", "name"),
    ("Token.Name.Decorator", "name"),
)

Line = tuple[Part, ...]


def python_lines(text: str) -> list[Line]:
    """A script that has been spelled out, by lines and with inks. May take a second: on a thread.

    Exactly the characters of the text, whatever the lexer makes of them.
    """
    if len(text) > MOST_COLORED:
        return plain_lines(text.split("\n"))
    from pygments.lexers.python import PythonLexer  # type: ignore[import-untyped]

    lines: list[list[Part]] = [[]]
    for kind, value in PythonLexer(stripnl=False, ensurenl=False).get_tokens(text):
        name = str(kind)
        ink = next((ink for start, ink in _KINDS if name.startswith(start)), "")
        for place, piece in enumerate(value.split("\n")):
            if place:
                lines.append([])
            lines[-1] += _marked(piece, ink)
    if lines[-1] == [] and len(lines) > 1:  # after the last newline there is no line
        del lines[-1]
        text = text.removesuffix("\n")
    tupled = [tuple(line) for line in lines]
    same = "\n".join("".join(piece for piece, _ in line) for line in tupled) == text
    return tupled if same else plain_lines(text.split("\n"))


def plain_lines(lines: Iterable[str]) -> list[Line]:
    """Lines without inks but for what was spelled out."""
    return [tuple(_marked(line, "")) for line in lines]


def diff_lines(lines: Iterable[str]) -> list[Line]:
    """A unified diff."""
    inks = {"+": "added", "-": "removed", "@": "hunk"}
    return [tuple(_marked(line, inks.get(line[:1], ""))) for line in lines]


def _marked(text: str, ink: str) -> Iterator[Part]:
    for piece in _ODD.split(text):
        if piece:
            yield piece, "odd" if _ODD.fullmatch(piece) else ink


class CodeView(ScrollView, can_focus=True, inherit_bindings=False):
    """Scrolls over code; `seen` says down to which line it has been on the screen."""

    ALLOW_SELECT = False
    BINDINGS: ClassVar[list[BindingType]] = SCROLL_KEYS
    COMPONENT_CLASSES: ClassVar[set[str]] = {f"code-view--{name}" for name in ("gutter", *INKS)}
    DEFAULT_CSS = """
    CodeView {
        height: 1fr; background: $surface; color: $foreground; scrollbar-size: 1 1;
        overflow-x: hidden; overflow-y: auto;
        & .code-view--gutter { color: $foreground 40%; }
        & .code-view--keyword { color: $text-primary; text-style: bold; }
        & .code-view--string { color: $text-success; }
        & .code-view--comment { color: $text-muted; text-style: italic; }
        & .code-view--number { color: $text-accent; }
        & .code-view--name { color: $text-secondary; }
        & .code-view--odd { color: $text-error; text-style: bold reverse; }
        & .code-view--added { color: $text-success; }
        & .code-view--removed { color: $text-error; }
        & .code-view--hunk { color: $text-accent; }
        &:ansi {
            background: ansi_default; color: ansi_default;
            & .code-view--gutter { color: ansi_default; text-style: dim; }
            & .code-view--keyword { color: ansi_blue; }
            & .code-view--string, & .code-view--added { color: ansi_green; }
            & .code-view--comment { color: ansi_default; text-style: dim; }
            & .code-view--number, & .code-view--hunk { color: ansi_magenta; }
            & .code-view--name { color: ansi_cyan; }
            & .code-view--odd { color: ansi_red; text-style: bold reverse; }
            & .code-view--removed { color: ansi_red; }
        }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.seen = 0
        self._lines: Sequence[Line] = ()
        self._numbered = True
        self._rows: list[tuple[int | None, Line]] = []
        self._last_rows: list[int] = []
        self._wrapped_at = 0
        self._inks: dict[str, Style] = {}

    @property
    def count(self) -> int:
        """Lines that there are."""
        return len(self._lines)

    def show(self, lines: Sequence[Line], *, numbered: bool = True) -> None:
        """Show other lines, from the first of them on."""
        self._lines, self._numbered, self.seen = lines, numbered, 0
        self._wrapped_at = 0
        self.scroll_to(y=0, animate=False, force=True)
        self._wrap()

    def on_resize(self, _: events.Resize) -> None:
        self._wrap()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._note_seen()

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._inks.clear()

    @property
    def _gutter(self) -> int:
        return len(str(len(self._lines))) + 1 if self._numbered else 0

    def _wrap(self) -> None:
        width = self.size.width - 1 - self._gutter  # one for the scrollbar, there or not
        if width <= 0 or width == self._wrapped_at:
            return
        self._wrapped_at = width
        self._rows, self._last_rows = [], []
        for number, line in enumerate(self._lines, 1):
            for place, row in enumerate(_wrapped(line, width)):
                self._rows.append((None if place else number, row))
            self._last_rows.append(len(self._rows))
        self.virtual_size = Size(self.size.width, len(self._rows))
        self.refresh()
        self.call_after_refresh(self._note_seen)

    def _note_seen(self) -> None:
        if not self.display or not self.size.height:
            return
        bottom = self.scroll_offset.y + self.size.height
        while self.seen < len(self._last_rows) and self._last_rows[self.seen] <= bottom:
            self.seen += 1

    def render_line(self, y: int) -> Strip:
        at, width, style = y + self.scroll_offset.y, self.size.width, self.rich_style
        if at >= len(self._rows):
            return Strip.blank(width, style)
        number, line = self._rows[at]
        segments = []
        if self._numbered:
            label = "" if number is None else str(number)
            segments.append(Segment(f"{label:>{self._gutter - 1}} ", style + self._ink("gutter")))
        segments += [Segment(text, style + self._ink(ink) if ink else style) for text, ink in line]
        return Strip(segments).adjust_cell_length(width, style)

    def _ink(self, name: str) -> Style:
        if name not in self._inks:
            style = self.get_component_rich_style(f"code-view--{name}")
            self._inks[name] = Style(
                color=style.color,
                bold=style.bold,
                italic=style.italic,
                dim=style.dim,
                reverse=style.reverse,
            )
        return self._inks[name]


def _wrapped(line: Line, width: int) -> Iterator[Line]:
    """The line in rows of at most so many cells; always at least one."""
    row: list[Part] = []
    room = width
    for text, ink in line:
        while text:
            taken = _fitting(text, room)
            if not taken and row:
                yield tuple(row)
                row, room = [], width
                continue
            taken = taken or 1
            row.append((text[:taken], ink))
            room -= cell_len(text[:taken])
            text = text[taken:]
            if text:
                yield tuple(row)
                row, room = [], width
    yield tuple(row)


def _fitting(text: str, room: int) -> int:
    """How many characters from the start fit into so many cells."""
    if text.isascii():
        return min(len(text), max(0, room))
    used = 0
    for place, char in enumerate(text):
        used += cell_len(char)
        if used > room:
            return place
    return len(text)
