"""The last line of a screen: the keys that do something here, the first ones first.

One widget that paints text. Textual's Footer makes a widget of each key, and makes them all anew
whenever the focus moves: a quarter of the app's way to its first paint.
"""

from __future__ import annotations

from dataclasses import dataclass

from textual import events
from textual.content import Content
from textual.screen import Screen
from textual.widget import Widget

ALWAYS = frozenset({"app.back", "app.help"})
"""The hints that are never left out: the way out, and to all others. Nor are the app's `urgent`."""


@dataclass(frozen=True, slots=True)
class _Hint:
    key: str
    shown_key: str
    title: str
    always: bool

    @property
    def width(self) -> int:
        return len(self.shown_key) + len(self.title) + 2


class KeyBar(Widget):
    """`⏎ Open  space Mark  / Filter … ? Help`: as many as fit. A click presses the key."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    KeyBar {
        dock: bottom; height: 1; pointer: pointer;
        background: $footer-background; color: $footer-foreground;
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._hints: list[_Hint] = []
        self._spots: list[tuple[int, int, str]] = []

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._look)
        self._look(self.screen)

    def _look(self, screen: Screen[object]) -> None:
        hints: dict[str, _Hint] = {}
        urgent: frozenset[str] = getattr(self.app, "urgent", frozenset())
        for _, binding, enabled, _ in screen.active_bindings.values():
            shown = binding.show or binding.id in urgent
            if shown and enabled and binding.action not in hints:
                shown_key = self.app.get_key_display(binding)
                always = binding.id in ALWAYS or binding.id in urgent
                hints[binding.action] = _Hint(binding.key, shown_key, binding.description, always)
        if list(hints.values()) != self._hints:
            self._hints = list(hints.values())
            self.refresh()

    def render(self) -> Content:
        self._spots = []
        room = self.size.width - 1 - sum(hint.width for hint in self._hints if hint.always)
        parts: list[tuple[str, str] | str] = []
        at = 0
        for hint in self._hints:
            if not hint.always:
                room -= hint.width
                if room < 0:
                    continue
            self._spots.append((at, at + hint.width, hint.key))
            parts += [
                (f" {hint.shown_key}", "bold $footer-key-foreground"),
                (f" {hint.title}", "$footer-description-foreground"),
            ]
            at += hint.width
        return Content.assemble(*parts)

    def on_click(self, event: events.Click) -> None:
        for start, end, key in self._spots:
            if start <= event.x < end:
                self.app.simulate_key(key)
