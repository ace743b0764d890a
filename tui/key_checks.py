"""Tells of keys in settings.toml that cannot be meant: ids that are none, keys given twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.screen import Screen

from traindeck.tui.keys import clashes, groups, unknown_ids

if TYPE_CHECKING:
    from traindeck.tui.app import TraindeckApp


class KeyChecks:
    """Checks the ids once, and the keys of each screen when it is first shown."""

    def __init__(self, app: TraindeckApp) -> None:
        self._app = app
        self._told: set[tuple[str, ...]] = set()

    def start(self) -> None:
        app = self._app
        keys = app.settings.keys
        app.in_background("The keys cannot be checked", lambda: unknown_ids(keys), self._unknown)
        app.screen_change_signal.subscribe(app, self._clashes)
        self._clashes(app.screen)

    def _unknown(self, ids: list[str]) -> None:
        for binding in ids:
            self._app.tell_problem(
                f"{self._app.home.settings.name}: keys: there is no {binding!r}: "
                "press ? on a screen to see its ids"
            )

    def _clashes(self, screen: Screen[object]) -> None:
        app = self._app
        for key, ids in clashes(groups(screen, app._keymap), set(app.settings.keys)):
            if (key, *ids) not in self._told:
                self._told.add((key, *ids))
                app.tell_problem(
                    f"{app.home.settings.name}: keys: {key} now does {ids[0]}, "
                    f"and no longer {' or '.join(ids[1:])}"
                )
