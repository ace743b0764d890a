"""One axis of the comparison: its verdict, and what each side shows of every indicator."""

from __future__ import annotations

from typing import ClassVar

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.widgets import Static

from traindeck.core.base.format import compact
from traindeck.core.base.sanitize import plain
from traindeck.core.versus.measured import Axis, Indicator, Sample
from traindeck.tui.keys import SCROLL_KEYS
from traindeck.tui.widgets.rows import shorten

_SHORT = 22
"""Cells at most of a side's value; a longer one, in words, gets lines of its own."""
_NAME = 14
"""Cells at least of an indicator's name."""


class AxisPanel(VerticalScroll, can_focus=True, inherit_bindings=False):
    """Indicators under each other; the better side of each, where there is one, is in bold."""

    BINDING_GROUP_TITLE = "An axis"
    BINDINGS: ClassVar[list[BindingType]] = SCROLL_KEYS
    DEFAULT_CSS = """
    AxisPanel { border: round $foreground 30%; padding: 0 1; scrollbar-size: 1 1; }
    AxisPanel:focus { border: round $primary; }
    AxisPanel > Static { height: auto; }
    AxisPanel:ansi { background: ansi_default; border: round ansi_default; }
    AxisPanel:ansi:focus { border: round ansi_bright_blue; }
    """

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
        self._axis: Axis | None = None
        self._labels: tuple[str, str] = ("", "")

    def compose(self) -> ComposeResult:
        yield Static()

    def show(self, axis: Axis, labels: tuple[str, str]) -> None:
        """Take an axis; `labels` name the sides."""
        if (axis, labels) == (self._axis, self._labels):
            return
        self._axis, self._labels = axis, labels
        self.border_title = axis.title
        there = sum(None not in one.sides for one in axis.indicators)
        self.border_subtitle = f"{there} of {len(axis.indicators)} measured"
        self._draw()

    def on_resize(self, event: Resize) -> None:
        self._draw()

    def _draw(self) -> None:
        if self._axis is not None:
            width = max(24, self.size.width - 3)
            self.query_one(Static).update(lines(self._axis, self._labels, width))


def lines(axis: Axis, labels: tuple[str, str], width: int) -> Content:
    """The verdict, a line for each indicator that was measured, and what was not."""
    made = list(Content.styled(axis.verdict(labels), "bold").wrap(width))
    there = [one for one in axis.indicators if one.measured]
    most = min(_SHORT, max(8, (width - _NAME) // 2 - 2))
    longest = max((cell_len(_title(one)) for one in there), default=0)
    beside = min(most, (width - longest) // 2 - 2)  # words never cut a name, numbers may
    sides = [side for one in there for side in one.sides if side is not None]
    numbers = [size for side in sides if side.values and (size := cell_len(_value(side))) <= most]
    words = [
        size for side in sides if not side.values and (size := cell_len(_value(side))) <= beside
    ]
    heads_width = min(most, max(cell_len(label) for label in labels))
    wide = max([heads_width, *numbers, *words])
    name_width = max(8, width - 2 * (wide + 2))
    if there:
        heads = "".join(f"  {shorten(label, wide):>{wide}}" for label in labels)
        made.append(Content.styled(" " * name_width + heads, "dim"))
    for one in there:
        made += _lines(one, labels, name_width, wide, width)
    for missing in dict.fromkeys(
        one.missing(labels) for one in axis.indicators if None in one.sides
    ):
        names = [
            o.name for o in axis.indicators if None in o.sides and o.missing(labels) == missing
        ]
        made += Content.styled(plain(f"{', '.join(names)}: {missing}"), "dim").wrap(width)
    for held in dict.fromkeys(one.held for one in axis.indicators if one.held):
        made += Content.styled(plain(f"not compared: {held}"), "$warning").wrap(width)
    return Content("\n").join(made)


def _lines(
    one: Indicator, labels: tuple[str, str], name_width: int, wide: int, width: int
) -> list[Content]:
    values = [_value(side) for side in one.sides]
    if any(cell_len(value) > wide for value in values):
        made = [Content(plain(_title(one)))]
        for label, value in zip(labels, values, strict=True):
            made += Content(plain(f"  {label}: {value}")).wrap(width)
        return made
    line = Content(shorten(plain(_title(one)), name_width).ljust(name_width))
    for at, value in enumerate(values):
        padded = f"  {plain(value):>{wide}}"
        line += Content.styled(padded, "bold $success") if one.winner == at else Content(padded)
    return [line]


def _title(one: Indicator) -> str:
    return f"{one.name} [{one.unit}]" if one.unit else one.name


def _value(side: Sample | None) -> str:
    """`3.21 ±0.1`: the median and half of the range of its repeats; words as they are."""
    if side is None:
        return "–"
    if not side.values:
        return side.text or "–"
    if len(side.values) == 1 or side.exact:
        return compact(side.median)
    return f"{compact(_rounded(side.median, 3))} ±{compact(_rounded(side.range / 2, 2))}"


def _rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")
