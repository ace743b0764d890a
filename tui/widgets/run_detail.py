"""What there is to know of the run under the cursor, in a panel or in a strip of two lines."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable
from datetime import datetime

from textual.content import Content
from textual.widgets import Static

from traindeck.core.base.sanitize import WHOLE, clean, plain
from traindeck.core.catalogue.document import RunDoc
from traindeck.core.privacy.bounds import at_most
from traindeck.core.privacy.report import RunPrivacy
from traindeck.tui.widgets.run_columns import (
    STATES,
    UNKNOWN,
    age,
    covered,
    duration,
    epsilon,
    number,
    state_text,
)

_TONE_COLORS = {
    "dim": "$text-muted",
    "live": "$text-primary",
    "good": "$text-success",
    "warn": "$text-warning",
    "bad": "$text-error",
}
_MOST_METRICS = 12
_LONGEST = WHOLE


class RunDetail(Static):
    """The panel of wide screens and the strip of narrow ones, the most telling facts first."""

    DEFAULT_CSS = """
    RunDetail { padding: 0 1; background: $surface; color: $foreground; }
    RunDetail:ansi { background: ansi_default; color: ansi_default; }
    """

    def __init__(self, clock: Callable[[], float], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._clock = clock
        self._panel_of: RunDoc | None = None
        self._age = ""

    def show(self, doc: RunDoc | None, strip: bool) -> None:
        """Shows a run; `strip` says that there is room for two lines only."""
        self._panel_of = None if strip else doc
        self._age = self._told_age()
        self.update(self._text(doc, strip), layout=False)

    def tick(self) -> None:
        """Time went by: says anew how long ago the run was made, where that reads differently."""
        if self._panel_of is not None and self._age != self._told_age():
            self.show(self._panel_of, strip=False)

    def _told_age(self) -> str:
        doc = self._panel_of
        return "" if doc is None else age(self._clock() - doc["created"])

    def _text(self, doc: RunDoc | None, strip: bool) -> Content:
        if doc is None:
            return Content("")
        return _strip(doc) if strip else _panel(doc, self._clock())


def _state(doc: RunDoc) -> Content:
    _, tone = STATES.get(doc["state"], UNKNOWN)
    return Content.assemble((state_text(doc["state"]), f"bold {_TONE_COLORS[tone]}"))


def reason(doc: RunDoc) -> str:
    """Why the run is in its state, and in the queue."""
    parts = [doc["reason"]]
    queue = doc["queue"]
    if queue is not None:
        parts.insert(0, f"place {queue['place']} in the queue")
        if queue["reason"] != doc["reason"]:
            parts.append(queue["reason"])
    return clean(": ".join(part for part in parts if part), _LONGEST)


def _strip(doc: RunDoc) -> Content:
    why = plain(reason(doc))
    first = Content.assemble(
        _state(doc),
        "  ",
        (doc["id"], "dim"),
        "  ",
        (plain(doc["name"]), "bold"),
        f"  {why}" if why else "",
    )
    params = "  ".join(f"{plain(name)}={plain(str(value))}" for name, value in _params(doc))
    tags = " ".join(f"#{plain(tag)}" for tag in doc["tags"])
    second = "  ".join(part for part in (tags, params or plain(command_line(doc))) if part)
    return Content("\n").join([first, Content.assemble((second, "dim"))])


def _panel(doc: RunDoc, now: float) -> Content:
    lines: list[Content] = [Content.assemble((plain(doc["name"]), "bold")), _state(doc)]
    why = reason(doc)
    if why:
        lines.append(Content(why))
    if doc["tags"]:
        lines.append(Content(" ".join(f"#{plain(tag)}" for tag in doc["tags"])))
    if doc["notes"]:
        lines += [Content(""), Content(clean(doc["notes"], _LONGEST))]
    lines += _block(
        "Run",
        [
            ("id", doc["id"]),
            ("recipe", plain(doc["recipe"] or "none: a command")),
            ("device", plain(doc["device"])),
            ("asked", plain(doc["on"])) if doc["on"] != doc["device"] else ("", ""),
            ("made", f"{_when(doc['created'])}, {age(now - doc['created'])} ago"),
            ("took", duration(doc["seconds"]) if doc["seconds"] is not None else ""),
            ("exit", "" if doc["exit_code"] is None else str(doc["exit_code"])),
            ("epsilon", _privacy(doc)),
        ],
    )
    metrics = list(doc["metrics"].items())
    lines += _block(
        "Metrics",
        [(covered(plain(name)), number(each["last"])) for name, each in metrics[:_MOST_METRICS]],
    )
    if len(metrics) > _MOST_METRICS:
        lines.append(Content.assemble((f"and {len(metrics) - _MOST_METRICS} more", "dim")))
    lines += _block(
        "Parameters", [(plain(name), plain(str(value))) for name, value in _params(doc)]
    )
    lines += [
        Content(""),
        Content.assemble(("Command", "bold dim")),
        Content(plain(command_line(doc), _LONGEST)),
    ]
    return Content("\n").join(lines)


def _block(title: str, facts: list[tuple[str, str]]) -> list[Content]:
    known = [(name, value) for name, value in facts if value]
    if not known:
        return []
    width = min(20, max(len(name) for name, _ in known))
    lines = [Content(""), Content.assemble((title, "bold dim"))]
    for name, value in known:
        lines.append(Content.assemble((f"{name:<{width}}", "dim"), f"  {value}"))
    return lines


def command_line(doc: RunDoc) -> str:
    """The command line, quoted so that it can be pasted into a shell, without what could harm."""
    return clean(shlex.join(doc["command"]))


def _params(doc: RunDoc) -> list[tuple[str, object]]:
    return [(name, value) for name, value in doc["params"].items() if value is not None]


def _privacy(doc: RunDoc) -> str:
    privacy = RunPrivacy.from_json(doc["privacy"])
    if privacy is None:
        return ""
    if privacy.label:
        return plain(privacy.label)
    if epsilon(doc) is None:
        return ""
    known = "" if math.isnan(privacy.delta) else f" at delta {privacy.delta:g}"
    return f"{at_most(privacy.epsilon)}{known}"


def _when(unix: float) -> str:
    return datetime.fromtimestamp(unix).strftime("%Y-%m-%d %H:%M")
