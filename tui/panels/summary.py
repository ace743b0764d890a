"""A run in short: what it is, where it stands, how far it has come or why it ended."""

from __future__ import annotations

import math
from typing import ClassVar

from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget

from traindeck.core.base.format import percent
from traindeck.core.base.sanitize import WHOLE, plain
from traindeck.core.catalogue.document import RunDoc, without_recipe
from traindeck.core.run.state import LIVE
from traindeck.tui.widgets.rows import shorten
from traindeck.tui.widgets.run_columns import (
    duration,
    fraction,
    number,
    state_text,
)

LEAST_LINES = 3
STATE_STYLES = {
    "starting": "$text-primary",
    "running": "$text-primary bold",
    "stopping": "$text-warning",
    "finished": "$text-success",
    "failed": "$text-error bold",
    "stopped": "$text-warning",
    "killed": "$text-error",
    "out_of_memory": "$text-error bold",
    "over_budget": "$text-error bold",
    "lost": "$text-error",
    "unreachable": "$text-warning",
}


class SummaryPanel(Widget):
    """The header of a run's screen: three lines, and more where a reason needs them."""

    ALLOW_SELECT = False
    BINDINGS: ClassVar = []
    DEFAULT_CSS = """
    SummaryPanel { height: auto; max-height: 40%; padding: 0 1; }
    SummaryPanel { background: $panel; color: $foreground; }
    SummaryPanel:ansi { background: ansi_default; color: ansi_default; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._doc: RunDoc | None = None
        self._headline: tuple[str, float] | None = None
        self._elapsed: float | None = None
        self._deleted = False
        self._problem = ""
        self._lines = LEAST_LINES

    def show(
        self,
        doc: RunDoc | None,
        *,
        headline: tuple[str, float] | None = None,
        elapsed: float | None = None,
        deleted: bool = False,
        problem: str = "",
    ) -> None:
        """Take a run as it is now.

        doc       the run, None while nothing could be read of it
        headline  the series that speaks for it and its last value
        elapsed   seconds it has been running
        deleted   its folder has gone
        problem   what could not be read, for people
        """
        shown = (doc, headline, elapsed and int(elapsed), deleted, plain(problem))
        before = (
            self._doc,
            self._headline,
            self._elapsed and int(self._elapsed),
            self._deleted,
            self._problem,
        )
        if shown != before:
            self._doc, self._headline, self._elapsed = doc, headline, elapsed
            self._deleted, self._problem = deleted, plain(problem)
            lines = self.get_content_height(self.size, self.size, self.content_size.width)
            self.refresh(layout=lines != self._lines)
            self._lines = lines

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return max(LEAST_LINES, len(self._content(max(1, width)).split("\n")))

    def render(self) -> Content:
        return self._content(max(1, self.content_size.width))

    def _content(self, width: int) -> Content:
        if self._doc is None:
            gone = "There is no such run: it was deleted." if self._deleted else ""
            wait = gone or self._problem or "Reading the run …"
            return Content.styled(shorten(wait, width), "dim")
        lines = [
            _both_ends(self._title(), self._headline_content(), width),
            _both_ends(self._about(), self._where(), width),
            self._course(width),
        ]
        return Content("\n").join(lines)

    def _title(self) -> Content:
        assert self._doc is not None
        state = self._doc["state"]
        style = STATE_STYLES.get(state, "dim")
        name = plain(self._doc["name"] or self._doc["id"])
        return Content.assemble((state_text(state), style), "  ", (name, "bold"))

    def _headline_content(self) -> Content:
        if self._headline is None:
            return Content("")
        name, value = self._headline
        return Content.assemble((f"{plain(name)} ", "dim"), (number(value), "bold $text-accent"))

    def _about(self) -> Content:
        assert self._doc is not None
        recipe = plain(self._doc["recipe"] or without_recipe(self._doc))
        return Content.styled(f"{recipe} · {self._doc['id']}", "dim")

    def _where(self) -> Content:
        assert self._doc is not None
        parts = [plain(self._doc["device"])]
        if self._elapsed is not None:
            parts.append(duration(self._elapsed))
        return Content.styled(" · ".join(part for part in parts if part), "dim")

    def _course(self, width: int) -> Content:
        """How far a live run has come; how an ended one ended."""
        assert self._doc is not None
        doc, reason = self._doc, plain(self._doc["reason"], WHOLE)
        if self._deleted:
            return Content.styled(
                shorten("deleted: what was read of it is still shown", width), "$text-warning"
            )
        if self._problem:
            return Content.styled(shorten(self._problem, width), "$text-warning")
        if doc["state"] == "queued":
            queue = doc["queue"]
            wait = f"place {queue['place']}: {plain(queue['reason'], WHOLE)}" if queue else reason
            return _wrapped(wait or "waits for its device", "dim", width)
        if doc["state"] not in LIVE:
            style = "dim" if doc["state"] == "finished" else STATE_STYLES.get(doc["state"], "")
            done = self._done()
            text = " · ".join(part for part in (reason, done) if part)
            return _wrapped(text, style, width)
        if reason:
            return _both_ends(
                Content.styled(reason, "$text-warning"), Content.styled(self._done(), "dim"), width
            )
        return self._bar(width)

    def _done(self) -> str:
        assert self._doc is not None
        progress = self._doc["progress"]
        if progress is None:
            return ""
        return f"{progress['done']:g} of {progress['total']:g}"

    def _bar(self, width: int) -> Content:
        assert self._doc is not None
        part, progress = fraction(self._doc), self._doc["progress"]
        if part is None or progress is None:
            return Content.styled("no progress reported", "dim")
        figures = f" {percent(progress['done'], progress['total']):3} % · {self._done()}"
        eta = progress["eta_seconds"]
        if eta is not None:
            figures += f" · ETA {duration(eta)}"
        cells = max(4, width - len(figures) - 1)
        halves = math.floor(part * cells * 2)
        bar = "━" * (halves // 2) + ("╸" if halves % 2 else "")
        return Content.assemble(
            (bar, "$primary"), ("─" * (cells - len(bar)), "dim"), " ", figures
        ).truncate(width)


def _wrapped(text: str, style: str, width: int) -> Content:
    return Content("\n").join(Content.styled(text, style).wrap(width))


def _both_ends(left: Content, right: Content, width: int) -> Content:
    """Two texts at the ends of one line; the left one gives way."""
    if not right:
        return left.truncate(width, ellipsis=True)
    right = right.truncate(max(1, width * 2 // 3), ellipsis=True)
    room = max(0, width - right.cell_length - 2)
    left = left.truncate(room, ellipsis=True) if room else Content("")
    return left + " " * (width - left.cell_length - right.cell_length) + right
