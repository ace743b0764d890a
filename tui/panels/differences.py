"""In what several runs differ: parameters, what they were made of, packages, code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from traindeck.core.base.sanitize import clean, plain
from traindeck.core.catalogue.differences import Differences
from traindeck.tui.keys import SCROLL_KEYS
from traindeck.tui.widgets.columns import fitted

MOST_LINES = 4000
_NAME_MOST, _CELL_LEAST, _GAP = 24, 8, 2
_INKS = {"+": "$text-success", "-": "$text-error", "@": "$text-accent"}


class DifferencesPanel(VerticalScroll, can_focus=True, inherit_bindings=False):
    """A column a run, a line for each thing that is not the same in all; then the code's lines."""

    BORDER_TITLE = "what differs"
    BINDING_GROUP_TITLE = "What differs"
    BINDINGS: ClassVar[list[BindingType]] = SCROLL_KEYS
    DEFAULT_CSS = """
    DifferencesPanel { height: 1fr; padding: 0 1; }
    DifferencesPanel > Static { height: auto; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.asked = False
        """Whether they are being read: what runs were made of does not change."""
        self._found: Differences | None = None
        self._labels: Sequence[str] = ()

    def compose(self) -> ComposeResult:
        yield Static("reading what the runs were made of…")

    def show(self, found: Differences, labels: Sequence[str]) -> None:
        """Take what was found, and what each run is called."""
        self._found, self._labels = found, labels
        self._draw()

    def on_resize(self, _: events.Resize) -> None:
        self._draw()

    def _draw(self) -> None:
        if self._found is not None:
            width = self.scrollable_content_region.width
            self.query_one(Static).update(written(self._found, self._labels, max(40, width - 2)))


def written(found: Differences, labels: Sequence[str], width: int) -> Content:
    """All of it in lines of so many cells."""
    sections = (
        ("parameters", found.params),
        ("made of", found.facts),
        ("packages", found.packages),
    )
    named = [name for title, values in sections if values for name in (title, *values)]
    name_width = min(_NAME_MOST, max(map(len, named), default=0))
    lines: list[Content] = []
    for title, values in sections:
        if values:
            lines += [*_table(title, values, labels, name_width, width), Content("")]
    if same := found.alike:
        lines += [Content.styled(f"the same in all: {', '.join(same)}", "dim"), Content("")]
    unknown = sorted({"packages", "code"} - found.kept)
    if unknown:
        lines += [Content.styled(f"not kept by all: {', '.join(unknown)}", "dim"), Content("")]
    for diff in found.diffs:
        lines += [_diff_line(line) for line in diff[:MOST_LINES]]
        if len(diff) > MOST_LINES:
            lines.append(Content.styled(f"… and {len(diff) - MOST_LINES:,} more lines", "dim"))
    return Content("\n").join(lines)


def _table(
    title: str,
    values: Mapping[str, Sequence[Any]],
    labels: Sequence[str],
    name_width: int,
    width: int,
) -> list[Content]:
    room = max(_CELL_LEAST, (width - name_width) // max(1, len(labels)) - _GAP)
    gap = " " * _GAP
    head = gap.join(fitted(plain(label), room) for label in labels)
    lines = [
        Content.assemble((fitted(title, name_width), "bold $text-accent"), gap, (head, "bold"))
    ]
    for name, each in values.items():
        cells = gap.join(fitted(_word(value), room) for value in each)
        lines.append(Content.assemble((fitted(plain(name), name_width), "dim"), gap, cells))
    return lines


def _word(value: Any) -> str:
    return "not set" if value is None else plain(str(value)) or "–"


def _diff_line(line: str) -> Content:
    ink = "bold" if line.startswith(("--- ", "+++ ")) else _INKS.get(line[:1], "")
    return Content.styled(clean(line), ink)
