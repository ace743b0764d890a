"""The first line of every place: where you are, where you can go, and what is going on."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.content import Content
from textual.widget import Widget

from traindeck.tui.keys import ON_TOP, PLACES, key_of
from traindeck.tui.readers.feed import RunsSnapshot


class TopBar(Widget):
    """`traindeck  1 Runs  2 Recipes  3 Devices  p Privacy      3 running · 128 runs  ? help`.

    A click on a place goes there. What opens on top of places is named where there is room. Keys
    shown are those in force, remapped or not.
    """

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    TopBar {
        dock: top; height: 1; padding: 0 1; pointer: pointer;
        background: $panel; color: $foreground;
        &:ansi { background: ansi_default; color: ansi_default; }
    }
    """

    def __init__(self, place: str) -> None:
        super().__init__()
        self._place = place
        self._snapshot: RunsSnapshot | None = None
        self._spots: list[tuple[int, int, str]] = []

    def on_mount(self) -> None:
        if hasattr(self.app, "snapshot"):
            self.watch(self.app, "snapshot", self._follow)

    def _follow(self, snapshot: RunsSnapshot | None) -> None:
        if snapshot is None:
            return
        before, self._snapshot = self._snapshot, snapshot
        if before is None or not before.whole or _counts(before) != _counts(snapshot):
            self.refresh()

    def render(self) -> Content:
        width = self.content_size.width
        help_key = self._key("app.help")
        hint = f"{help_key} help" if help_key else ""
        hints = [f"{counts}   {hint}" for counts in self._counted()]
        left = self._doors([*PLACES, *ON_TOP])
        if width - left.cell_length - 2 < len(hints[0] if hints else hint):
            left = self._doors(PLACES)
        room = width - left.cell_length - 2
        right = next((each for each in hints if len(each) <= room), hint)
        if len(right) > room:
            return left
        start = width - len(right)
        self._spots.append((width - len(hint), width, "app.help"))
        return Content.assemble(left, " " * (start - left.cell_length), (right, "dim"))

    def _doors(self, doors: Sequence[tuple[str, str]]) -> Content:
        """The name and where one can go, each a spot to click."""
        left = Content.assemble(("traindeck", "bold $primary"))
        self._spots = []
        for place, title in doors:
            left = left.append("  ")
            start = left.cell_length
            key = self._key(f"app.{place}")
            here = place == self._place
            left = Content.assemble(
                left,
                (f"{key} " if key else "", "dim"),
                (title, "bold underline" if here else ""),
            )
            action = f"app.place('{place}')" if (place, title) in PLACES else f"app.{place}"
            self._spots.append((start, left.cell_length, action))
        return left

    def _counted(self) -> list[str]:
        """What is going on, the longest telling first."""
        if self._snapshot is None:
            return []
        if not self._snapshot.whole:
            return ["reading…"]
        runs, live, queued = _counts(self._snapshot)
        parts = [f"{live - queued} live"] if live - queued else []
        parts += [f"{queued} queued"] if queued else []
        whole = " · ".join([*parts, f"{runs:,} run{'' if runs == 1 else 's'}"])
        return [whole, " · ".join(parts)] if parts else [whole]

    def _key(self, binding_id: str) -> str:
        own = (key for key, binding in self.app._bindings if binding.id == binding_id)
        return key_of(self.app, binding_id, next(own, ""))

    async def on_click(self, event: events.Click) -> None:
        for start, end, action in self._spots:
            if start <= event.x - self.styles.padding.left < end:
                await self.app.run_action(action)


def _counts(snapshot: RunsSnapshot) -> tuple[int, int, int]:
    return len(snapshot.runs), snapshot.live, snapshot.queued
