"""What the user may set: `settings.toml`, and what the app remembers by itself: `state.json`.

    theme = "light"          # dark, light, ansi, or the name of any Textual theme
    refresh = 0.25           # seconds between looks at the runs, 0.1 to 60
    grace = 30               # seconds from a run's stop to SIGKILL
    keep_checkpoints = 3     # of each run of a recipe: the best and the last; without it: all
    columns = "state, name, lr, test/accuracy:best"   # of the runs, unless chosen on the screen

    [notices]                # see notices.py

    [keys]                   # binding id = key, or several: "s,ctrl+s"; ids are listed by `?`
    "runs.stop" = "ctrl+s"

    [parse]                  # how what a script prints is read, by the script's file name
    "train.py" = 'it (?P<step>\\d+) L=(?P<loss>\\S+)'

Nothing in these files can stop the app: what cannot be used is left out and named in `problems`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from traindeck.core.base.grace import MOST_GRACE, is_grace

THEMES = {"dark": "textual-dark", "light": "textual-light", "ansi": "ansi-dark"}
"""The themes the theme key walks through: our word for each, and Textual's."""

ONLY = "theme, refresh, grace, keep_checkpoints, columns, [keys], [notices] and [parse]"

MIN_REFRESH, MAX_REFRESH = 0.1, 60.0


RENAMED = {
    **{
        f"table.{motion}": f"list.{motion}"
        for motion in ("up", "down", "page-up", "page-down", "first", "last")
    },
    **{f"log.{motion}": f"scroll.{motion}" for motion in ("up", "down", "top", "end")},
    **{f"help.{motion}": f"scroll.{motion}" for motion in ("up", "down")},
    **{f"form.{motion}": f"scroll.{motion}" for motion in ("page-up", "page-down")},
    "runs.sort": "sort.next",
    "runs.reverse": "sort.reverse",
}
"""Ids that settings files may still use, with those of today: one motion has one id."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The usable part of a settings file; `problems` are sentences for people."""

    theme: str | None = None
    refresh: float | None = None
    grace: float | None = None
    keep_checkpoints: int | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    notices: Mapping[str, object] = field(default_factory=dict)
    parse: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def read_settings(path: Path) -> Settings:
    """Reads a settings file; a missing one is the same as an empty one. Never raises."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Settings()
    except (OSError, UnicodeDecodeError) as error:
        return Settings(problems=(f"{path.name} cannot be read: {error}",))
    import tomllib  # only for those who have such a file: start-up is counted in milliseconds

    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return Settings(problems=(f"{path.name} is not valid TOML: {error}",))
    return _checked(table, path.name)


def _checked(table: Mapping[str, object], file: str) -> Settings:
    problems: list[str] = []
    theme: str | None = None
    refresh: float | None = None
    grace: float | None = None
    keep: int | None = None
    keys: dict[str, str] = {}
    columns: tuple[str, ...] = ()
    notices: dict[str, object] = {}
    parse: dict[str, tuple[str, ...]] = {}
    for name, value in table.items():
        if name == "theme":
            if isinstance(value, str):
                theme = THEMES.get(value, value)
            else:
                problems.append(f"{file}: theme must be a name in quotes, not {value!r}")
        elif name == "refresh":
            if isinstance(value, bool) or not isinstance(value, int | float):
                problems.append(f"{file}: refresh must be a number of seconds, not {value!r}")
            elif not MIN_REFRESH <= value <= MAX_REFRESH:
                problems.append(
                    f"{file}: refresh must lie from {MIN_REFRESH} to {MAX_REFRESH:g} seconds, "
                    f"not {value!r}"
                )
            else:
                refresh = float(value)
        elif name == "grace":
            if isinstance(value, int | float) and is_grace(value):
                grace = float(value)
            else:
                most = f"from 0 to {MOST_GRACE:g} seconds"
                problems.append(f"{file}: grace must be a number {most}, not {value!r}")
        elif name == "notices":
            if isinstance(value, dict):
                notices = value
            else:
                problems.append(f"{file}: notices must be a table: write [notices] on its own line")
        elif name == "columns":
            if isinstance(value, str):
                columns = tuple(each.strip() for each in value.split(",") if each.strip())
            else:
                problems.append(f"{file}: columns must be names between commas, in quotes")
        elif name == "keep_checkpoints":
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                keep = value
            else:
                problems.append(f"{file}: keep_checkpoints must be a whole number from 1 on")
        elif name == "keys":
            if isinstance(value, dict):
                keys, wrong = _checked_keys(value, file)
                problems += wrong
            else:
                problems.append(f"{file}: keys must be a table: write [keys] on a line of its own")
        elif name == "parse":
            if isinstance(value, dict):
                parse, wrong = _checked_parse(value, file)
                problems += wrong
            else:
                problems.append(f"{file}: parse must be a table: write [parse] on its own line")
        else:
            problems.append(f"{file}: there is no setting {name!r}: only {ONLY}")
    return Settings(theme, refresh, grace, keep, keys, columns, notices, parse, tuple(problems))


def _checked_parse(
    table: Mapping[str, object], file: str
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    parse: dict[str, tuple[str, ...]] = {}
    problems: list[str] = []
    for script, value in _flat(table):
        texts = [value] if isinstance(value, str) else value
        if isinstance(texts, list) and all(isinstance(text, str) for text in texts):
            parse[script] = tuple(texts)
        else:
            problems.append(f"{file}: parse: {script} must be an expression in quotes, or several")
    return parse, problems


def _checked_keys(table: Mapping[str, object], file: str) -> tuple[dict[str, str], list[str]]:
    keys: dict[str, str] = {}
    problems: list[str] = []
    for binding, value in _flat(table):
        if not isinstance(value, str):
            problems.append(f"{file}: keys: {binding} must be a key in quotes, not {value!r}")
            continue
        wanted = [key.strip() for key in value.split(",")] if value != "," else ["comma"]
        wrong = [key for key in wanted if not is_key(key)]
        if wrong:
            problems.append(f"{file}: keys: {binding}: {wrong[0]!r} is not a key I know")
            continue
        now = RENAMED.get(binding, binding)
        if now != binding:
            problems.append(f"{file}: keys: {binding} is called {now} now, on every screen")
        keys[now] = ",".join(filter(None, (keys.get(now), *wanted)))
    return keys, problems


def _flat(table: Mapping[str, object], prefix: str = "") -> list[tuple[str, object]]:
    """`runs.stop = "s"` without quotes is a table in TOML: meant all the same."""
    flat: list[tuple[str, object]] = []
    for name, value in table.items():
        if isinstance(value, dict):
            flat += _flat(value, f"{prefix}{name}.")
        else:
            flat.append((prefix + name, value))
    return flat


_MODIFIERS = {"ctrl", "shift", "alt", "super", "hyper", "meta"}


def is_key(name: str) -> bool:
    """Whether a terminal could send this key: `x`, `?`, `f5`, `ctrl+s`, `question_mark`."""
    from textual.keys import KEY_TO_UNICODE_NAME, Keys

    *modifiers, key = name.split("+") if name != "+" else ["+"]
    if not set(modifiers) <= _MODIFIERS:
        return False
    if len(key) == 1:
        return key.isprintable()
    if key in {each.value for each in Keys} or key in KEY_TO_UNICODE_NAME:
        return True
    import unicodedata

    with contextlib.suppress(KeyError):
        unicodedata.lookup(key.replace("_", " "))
        return True
    return False


def read_state(path: Path) -> dict[str, Any]:
    """What was remembered last time; nothing if the file is missing or damaged."""
    from traindeck.core.base.files import read_json

    return read_json(path, follow=True) or {}


_WRITING = threading.Lock()


def write_state(path: Path, **changes: object) -> None:
    """Remembers `changes` beside what was there. Raises OSError if the home cannot be written."""
    from traindeck.core.base.files import write_json

    with _WRITING:  # several threads remember things
        write_json(path, read_state(path) | changes)
