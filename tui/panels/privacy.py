"""What is known of the privacy a run spends, said as it is: also when nothing is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.widgets import Static

from traindeck.core.text import plain
from traindeck.tui.figures import Row, rows
from traindeck.tui.keys import SCROLL_KEYS

LABELS = {
    "epsilon": "ε",
    "delta": "δ",
    "unit": "unit",
    "relation": "neighbours",
    "sampler": "sampler",
    "sampling_rate": "sampling rate",
    "noise_multiplier": "noise multiplier",
    "clipping_norm": "clipping norm",
    "steps": "steps",
    "accountant": "accountant",
}
NOTHING = (
    "No privacy accounting: this run has reported no mechanism events; nothing is known about what "
    "the model reveals about its training data."
)


class PrivacyPanel(VerticalScroll, inherit_bindings=False):
    """The newest privacy figures of a run, key by key."""

    BORDER_TITLE = "privacy"
    DEFAULT_CSS = """
    PrivacyPanel { height: auto; }
    PrivacyPanel > Static { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = SCROLL_KEYS

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._privacy: Mapping[str, Any] | None = None
        self._known = False

    def compose(self) -> ComposeResult:
        yield Static()

    def show(self, privacy: Mapping[str, Any] | None) -> None:
        """Take a run's privacy figures, or None when it has reported none."""
        if privacy != self._privacy or not self._known:
            self._privacy, self._known = privacy, True
            self._draw()

    def on_resize(self, _: Resize) -> None:
        self._draw()

    def _draw(self) -> None:
        if not self._known:
            return
        if self._privacy is None:
            content = Content.styled(NOTHING, "dim")
        else:
            content = rows(_rows(self._privacy), self.scrollable_content_region.width)
        self.query_one(Static).update(content)


def _rows(privacy: Mapping[str, Any]) -> list[Row]:
    keys = [key for key in LABELS if key in privacy]
    keys += [key for key in privacy if key not in LABELS]
    return [
        (LABELS.get(key, plain(key).replace("_", " ")), _value(key, privacy[key])) for key in keys
    ]


def _value(key: str, value: object) -> Content:
    if isinstance(value, bool) or value is None:
        text = {True: "yes", False: "no", None: "not reported"}[value]
    elif isinstance(value, int):
        text = f"{value:,}"
    elif isinstance(value, float):
        text = f"{value:.4g}"
    else:
        text = plain(str(value))
    return Content.styled(text, "bold" if key == "epsilon" else "")
