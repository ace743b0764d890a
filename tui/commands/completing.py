"""What a half-typed command line can go on with, from the commands as they are made."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from typing import Any

from traindeck.core.base.errors import TraindeckError
from traindeck.core.base.home import Home
from traindeck.tui.commands.contents import COMMANDS

Choice = tuple[str, str]
"""A word that fits, and what it means."""

_RUN_ARGUMENTS = ("ref", "refs")


def choices(home: Home, words: Sequence[str]) -> list[Choice]:
    """What the last of the words can become; nothing where any file may be meant."""
    *before, last = words or ("",)
    if not before:
        return _fitting(last, ((name, line) for name, (_, line) in COMMANDS.items()))
    if before[0] not in COMMANDS:
        return []
    if "--" in before:
        return []
    with contextlib.suppress(TraindeckError, OSError):
        return _of_command(home, before, last)
    return []


def made(name: str) -> Any:
    """The command as it is made, a `click.Command`."""
    import typer

    app = typer.Typer()
    import_module(f"traindeck.tui.commands.{COMMANDS[name][0]}").register(app)
    command = typer.main.get_command(app)
    return getattr(command, "commands", {name: command})[name]


def _of_command(home: Home, before: Sequence[str], last: str) -> list[Choice]:
    command, at = made(before[0]), 1
    subs = getattr(command, "commands", None)
    if subs is not None:
        plain = [word for word in before[1:] if word in subs]
        if not plain:
            return _fitting(last, ((name, _line(sub)) for name, sub in subs.items()))
        command, at = subs[plain[0]], before.index(plain[0]) + 1
    options = {opt: each for each in command.params for opt in getattr(each, "opts", ())}
    given = before[at:]
    asked = options.get(given[-1]) if given and given[-1].startswith("-") else None
    if asked is not None and not getattr(asked, "is_flag", False):
        return _values(home, asked.name, given, last)
    option, sign, value = last.partition("=")
    if sign and option in options:
        found = _values(home, options[option].name, given, value)
        return [(f"{option}={word}", what) for word, what in found]
    if last.startswith("-"):
        named = ((opt, each.help or "") for opt, each in options.items() if opt.startswith("-"))
        return _fitting(last, named)
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    if not arguments:
        return []
    place = min(len(_positional(given, options)), len(arguments) - 1)
    return _values(home, arguments[place].name, before, last)


def _positional(given: Sequence[str], options: dict[str, Any]) -> list[str]:
    kept, skip = [], False
    for word in given:
        if skip:
            skip = False
        elif word.startswith("-"):
            option = options.get(word)
            skip = option is not None and not getattr(option, "is_flag", False)
        else:
            kept.append(word)
    return kept


def _values(home: Home, name: str, given: Sequence[str], last: str) -> list[Choice]:
    """What an argument or option of this name may be."""
    if name in _RUN_ARGUMENTS or name == "again":
        return _fitting(last, _runs(home, trashed=given[0] == "restore"))
    if name == "recipe" or (name == "name" and given[0] == "recipes"):
        return _fitting(last, ((each.name, each.title) for each in _recipes(home)))
    if name == "name" and given[0] == "budget":
        return _fitting(last, _datasets(home))
    if name == "param":
        return _params(home, given, last)
    if name in ("columns", "sort", "group"):
        return _columns(home, last)
    if name == "on":
        return _fitting(last, (("cpu", "all cores"), ("gpu", "a free GPU"), ("cpu*2", "two cores")))
    return []


def _fitting(last: str, offered: Iterable[Choice]) -> list[Choice]:
    return [(word, what) for word, what in offered if word.startswith(last)]


def _runs(home: Home, *, trashed: bool) -> Iterator[Choice]:
    from traindeck.core.catalogue.library import Library
    from traindeck.core.catalogue.library import trashed as in_trash

    yield "@last", "the newest run"
    if trashed:
        for run_id in in_trash(home):
            yield run_id, "in the trash"
        return
    docs = Library(home).runs()
    counts: dict[str, int] = {}
    for doc in docs:
        counts[doc["name"]] = counts.get(doc["name"], 0) + 1
    for doc in docs:
        if counts[doc["name"]] == 1 and doc["name"]:
            yield doc["name"], f"{doc['state']} {doc['id']}"
    for doc in docs:
        yield doc["id"], f"{doc['state']} {doc['name']}"


def _recipes(home: Home) -> list[Any]:
    from traindeck.core.recipe.find import shelf

    return list(shelf(home)[0])


def _datasets(home: Home) -> Iterator[Choice]:
    from traindeck.core.privacy.ledger.ledgers import ledgers

    return ((ledger.name, "a privacy budget") for ledger in ledgers(home.ledger))


def _params(home: Home, given: Sequence[str], last: str) -> list[Choice]:
    """`lr=` of the recipe that is named; after the sign, what may be chosen."""
    recipe = next((each for each in _recipes(home) if each.name in given), None)
    if recipe is None:
        return []
    name, sign, _ = last.partition("=")
    if not sign:
        return _fitting(last, ((f"{key}=", each.help) for key, each in recipe.params.items()))
    param = recipe.params.get(name)
    if param is None:
        return []
    values = ("true", "false") if param.type == "bool" else tuple(map(str, param.choices or ()))
    return _fitting(last, ((f"{name}={value}", "") for value in values))


def _columns(home: Home, last: str) -> list[Choice]:
    """The next of several names between commas."""
    from traindeck.core.catalogue.library import Library
    from traindeck.core.catalogue.values import FIELDS, names_of

    before, comma, name = last.rpartition(",")
    minus = "-" if name.startswith("-") else ""
    names = (*FIELDS, *names_of(Library(home).runs()))
    return _fitting(last, ((f"{before}{comma}{minus}{each}", "") for each in names))


def _line(command: Any) -> str:
    return (command.help or "").partition("\n")[0]


def every(walk: Callable[[str, Any], None]) -> None:
    """Every command by its full name, those of groups after their group."""
    for name in COMMANDS:
        command = made(name)
        walk(name, command)
        for sub, each in getattr(command, "commands", {}).items():
            walk(f"{name} {sub}", each)
