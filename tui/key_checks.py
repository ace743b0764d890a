"""Tells of keys in settings.toml that cannot be meant: ids that are none, keys given twice."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence, Set

from textual.binding import Binding
from textual.dom import DOMNode
from textual.screen import Screen

from traindeck.tui.host import Host
from traindeck.tui.keys import Group, groups

SCREENS = (
    *("runs", "recipes.screen", "devices", "privacy", "models.screen", "run.screen", "sweeps"),
    *("inbox", "help", "dialogs", "columns_dialog", "plot", "budget_dialog", "models.form"),
    "versus",
)
"""Modules of `traindeck.tui.screens`: between them they load every class that has bindings."""


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


def clashes(groups: Sequence[Group], remapped: Set[str]) -> list[tuple[str, list[str]]]:
    """Keys that several commands of a screen are on since some were given other keys.

    The first id of each is the command that has the key now: what is nearer to the user wins, and
    of the same part the one that asked for it.
    """
    by_key: dict[str, list[tuple[int, str]]] = {}
    for place, group in enumerate(groups):
        for command in group.commands:
            for key in command.keys:
                by_key.setdefault(key, []).append((place, command.id))
    result = []
    for key, users in by_key.items():
        if len(users) > 1 and any(each in remapped for _, each in users):
            users.sort(key=lambda user: (user[0], user[1] not in remapped))
            result.append((key, [each for _, each in users]))
    return result


def unknown_ids(ids: Iterable[str]) -> list[str]:
    """Those that no binding of the app has. Loads all screens, so it belongs on a thread.

    Only ids that the loaded screens do not know cost that: a user without remapped keys of other
    screens never pays for it.
    """
    wanted = set(ids)
    for module in ("", *SCREENS):
        if module:
            importlib.import_module(f"traindeck.tui.screens.{module}")
        wanted -= _loaded_ids()
        if not wanted:
            break
    return sorted(wanted)


def _loaded_ids() -> set[str]:
    ids: set[str] = set()
    classes: list[type[DOMNode]] = [DOMNode]
    while classes:
        cls = classes.pop()
        classes += cls.__subclasses__()
        if cls.__module__.startswith("traindeck."):
            bindings = Binding.make_bindings(cls.__dict__.get("BINDINGS", ()))
            ids.update(binding.id for binding in bindings if binding.id)
    return ids
