"""What was last typed into each recipe's launch form: `last.json` in the home.

Texts as typed, only where they differ from the recipe's defaults: a default that changes in a
header shows up in the form, and a value that was being typed is still there tomorrow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from traindeck.core.base.files import locked, read_json, write_json
from traindeck.core.base.home import Home


@dataclass(frozen=True, slots=True)
class Draft:
    """One launch form's texts: parameters, device, and the run's name and tags.

    isolated  in an environment of the script's own
    sweep     what is typed into the form of its sweep
    """

    params: Mapping[str, str] = field(default_factory=dict)
    on: str = "cpu"
    name: str = ""
    tags: str = ""
    isolated: bool = False
    sweep: Mapping[str, str] = field(default_factory=dict)


def last_file(home: Home) -> Path:
    return home.root / "last.json"


def read_drafts(home: Home) -> dict[str, Draft]:
    """All remembered drafts by recipe name; none when the file is missing or damaged."""
    stored = read_json(last_file(home)) or {}
    return {name: _draft(entry) for name, entry in stored.items() if isinstance(entry, dict)}


def remember(home: Home, drafts: Mapping[str, Draft], changed: Iterable[str]) -> None:
    """Write down the drafts of changed recipes, as they are now. Raises OSError.

    Now is when it is our turn: who was asked first may come last, and then writes the same.
    """
    home.make()
    with locked(home.cache / "last.lock"):
        stored = read_json(last_file(home)) or {}
        for name in changed:
            draft = drafts[name]
            if draft == Draft():
                stored.pop(name, None)
            else:
                stored[name] = asdict(draft)
        write_json(last_file(home), stored)


def _draft(entry: dict[str, object]) -> Draft:
    return Draft(
        params=_texts(entry, "params"),
        on=_text(entry, "on") or "cpu",
        name=_text(entry, "name"),
        tags=_text(entry, "tags"),
        isolated=entry.get("isolated") is True,
        sweep=_texts(entry, "sweep"),
    )


def _texts(entry: dict[str, object], key: str) -> dict[str, str]:
    value = entry.get(key)
    if not isinstance(value, dict):
        return {}
    return {str(name): text for name, text in value.items() if isinstance(text, str)}


def _text(entry: dict[str, object], key: str) -> str:
    value = entry.get(key)
    return value if isinstance(value, str) else ""
