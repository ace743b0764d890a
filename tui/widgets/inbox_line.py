"""One line that is there only while a script waits for a data owner's hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content
from textual.widgets import Static

from traindeck.core.base.sanitize import plain
from traindeck.tui.keys import key_of

if TYPE_CHECKING:
    from traindeck.core.federation.inbox import ScriptRequest


class InboxLine(Static):
    """Says who waits, and which key opens the inbox; a click opens it too.

    run_id  only what waits in this run; default: in any
    """

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    InboxLine {
        display: none; height: 1; padding: 0 1; pointer: pointer;
        background: $warning 20%; color: $foreground;
        &:ansi { background: ansi_default; color: ansi_default; }
    }
    """

    def __init__(self, run_id: str = "") -> None:
        super().__init__()
        self._run_id = run_id

    def on_mount(self) -> None:
        if hasattr(self.app, "waiting"):
            self.watch(self.app, "waiting", self._take)

    def _take(self, waiting: tuple[ScriptRequest, ...]) -> None:
        mine = [each for each in waiting if self._run_id in ("", each.run)]
        if self.display != bool(mine):
            self.display = bool(mine)
        if not mine:
            return
        said = f"{plain(mine[0].script, 40)} at {plain(mine[0].owner, 40)} waits for a hand"
        if len(mine) > 1:
            said = f"{len(mine)} scripts wait for a hand, the first at {plain(mine[0].owner, 40)}"
        self.update(
            Content.assemble(
                ("▸ ", "bold $text-warning"),
                (key_of(self.app, "app.inbox", "i"), "bold"),
                " opens the inbox: ",
                (said, "bold $text-warning"),
            )
        )

    async def on_click(self) -> None:
        await self.run_action("app.inbox")
