"""What the series of different writers are called: one name is one writer's."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from traindeck.core.run.series import clean_name


class Naming:
    """Gives a name to whoever has it first; another's is prefixed with where it is from.

    So a `loss` that is printed and a `loss` of an event file are two series, not one mixed.
    """

    def __init__(self, known: Collection[str]) -> None:
        self._known = set(known)
        self._before = frozenset(known)
        self._stored: dict[tuple[str, str], str] = {}
        self._owners: dict[str, str] = {}
        self._told: list[str] = []
        self._kinds_told: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def __len__(self) -> int:
        return len(self._known)

    def add(self, name: str) -> None:
        """Take a name up."""
        self._known.add(name)

    def owner(self, name: str) -> str | None:
        """Whose series has the name itself; None while nobody's has."""
        return self._owners.get(clean_name(name))

    def leave_out(self, kind: str, name: str, owner: str) -> None:
        """From now on the series of this kind of writer has no name; the owner's has it."""
        self._stored[kind, name] = ""
        self._owners[clean_name(name)] = owner
        self._told.append(f"{name} is printed and written to a file as well: the file's is kept")

    def name(self, kind: str, name: str) -> str:
        """What one kind of writer's series is called, as it is stored; empty: it is left out."""
        stored = self._stored.get((kind, name))
        if stored is None:
            stored = self._stored[kind, name] = self._new(kind, clean_name(name))
        return stored

    def _new(self, kind: str, name: str) -> str:
        owner = self._owners.get(name)
        if owner == kind:
            return name
        apart = clean_name(f"{kind}/{name}")
        if owner is None and apart not in self._before:
            self._owners[name] = kind
            return name
        if kind not in self._kinds_told:
            self._kinds_told.add(kind)
            self._told.append(f"{name} is of several sources: that of {kind} is {apart}")
        return apart

    def told(self) -> list[str]:
        """What has come up since, for people."""
        told, self._told = self._told, []
        return told

    def others(self, stored: Iterable[str]) -> bool:
        """Whether any stored name is of none of these writers: the run logs by itself."""
        return any(not name.startswith("\t") and name not in self._known for name in stored)
