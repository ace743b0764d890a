"""What happened in a run besides its metrics: states, notes, artifacts, rounds."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from traindeck.core.base.sanitize import plain
from traindeck.tui.readers.log import LogLine
from traindeck.tui.readers.picture import EventsState
from traindeck.tui.widgets.log_view import LogView

LONGEST = 2000
SLACK = 1000
"""So many more events than the reader keeps may be shown before the oldest go."""


class EventsPanel(Vertical):
    """One line an event, newest at the end."""

    BORDER_TITLE = "events"
    BINDING_GROUP_TITLE = "Events"
    BINDINGS: ClassVar = []
    DEFAULT_CSS = """
    EventsPanel { height: 1fr; }
    EventsPanel > #events-status { height: 1; color: $text-muted; }
    EventsPanel:ansi > #events-status { color: ansi_default; text-style: dim; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._count = -1
        self._lines: list[LogLine] = []

    def compose(self) -> ComposeResult:
        yield Static(id="events-status")
        yield LogView(id="events-view")

    @property
    def view(self) -> LogView:
        return self.query_one(LogView)

    @on(LogView.Wanted)
    def _all_at_hand(self, event: LogView.Wanted) -> None:
        event.stop()

    def show(self, state: EventsState, folder: Path | None = None) -> None:
        """Take the events known now, of the run in `folder`."""
        if state.count == self._count:
            return
        new = state.count - max(self._count, 0)
        self._count = state.count
        # Lines are made once; of very many the oldest go now and then, for the rest must move up.
        kept = len(state.events)
        renumber = not 0 <= new <= kept or len(self._lines) + new > kept + SLACK
        if renumber:
            new = kept
            self._lines = []
        first = len(self._lines)
        fresh = [
            LogLine(first + place, event_line(event, folder))
            for place, event in enumerate(state.events[kept - new :])
        ]
        self._lines += fresh
        self.view.show(len(self._lines), fresh, restarted=renumber)
        status = "no events yet" if not state.count else f"{state.count:,} events"
        if state.count == 1:
            status = "1 event"
        elif state.count > len(self._lines):
            status += f"; the last {len(self._lines):,} are shown"
        self.query_one("#events-status", Static).update(Content(status))


def event_line(event: Mapping[str, Any], folder: Path | None = None) -> str:
    """`14:03:07  state     running`: time, type, and what the event says.

    Paths below `folder`, the run's, are told from there: what differs must not be cut off.
    """
    try:
        when = time.strftime("%H:%M:%S", time.localtime(float(event["t"])))
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        when = "--:--:--"
    kind = plain(str(event.get("type", "")))
    rest = {key: value for key, value in event.items() if key not in ("v", "t", "type")}
    parts: list[str] = []
    leading = ("kind", "path") if kind == "artifact" else ("state", "text", "path")
    for key in leading:
        if rest.get(key):
            value = str(rest.pop(key))
            if key == "path" and folder is not None:
                value = value.removeprefix(f"{folder.absolute()}/")
            parts.append(value)
    for key, value in rest.items():
        if value not in ("", None):
            word = value if isinstance(value, str) else json.dumps(value, default=str)
            parts.append(f"{key}={word}")
    text = "  ".join(plain(part, LONGEST) for part in parts)
    return f"{when}  {kind:<9} {text}"
