"""Tells of keys in settings.toml that cannot be meant: ids that are none, keys given twice."""

from __future__ import annotations

from textual.screen import Screen

from traindeck.tui.host import Host
from traindeck.tui.keys import clashes, groups, unknown_ids


class KeyChecks:
    """Checks the ids once, and the keys of each screen when it is first shown."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._shown: set[tuple[str, ...]] = set()

    def start(self) -> None:
        host = self._host
        keys = host.settings.keys
        host.in_background("The keys cannot be checked", lambda: unknown_ids(keys), self._unknown)
        host.screen_change_signal.subscribe(host, self._clashes)
        self._clashes(host.screen)

    def _unknown(self, ids: list[str]) -> None:
        for binding in ids:
            self._host.tell_problem(
                f"{self._host.home.settings.name}: keys: there is no {binding!r}: "
                "press ? on a screen to see its ids"
            )

    def _clashes(self, screen: Screen[object]) -> None:
        host = self._host
        for key, ids in clashes(groups(screen, host._keymap), set(host.settings.keys)):
            if (key, *ids) not in self._shown:
                self._shown.add((key, *ids))
                host.tell_problem(
                    f"{host.home.settings.name}: keys: {key} now does {ids[0]}, "
                    f"and no longer {' or '.join(ids[1:])}"
                )
