"""The parameters of a command as it was typed: flags, Hydra's overrides and configuration files.

    python train.py --lr 0.5 --flag model.size=3 --config small.json
    → {"lr": 0.5, "flag": True, "model.size": 3, "config": "small.json", "depth": 4}

What is before the script belongs to whoever starts it (torchrun, an interpreter) and is left out.
A flag has the words behind it that `values` says; several are one text, ``"8 16"``.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from traindeck.core.recipe.params import ParamError, Value
from traindeck.core.recipe.recipe import Recipe
from traindeck.core.recipe.values import NUMBER, Taken, is_flag, source_of, split, taken

_TRACKS = re.compile(r"^\s*(?:from|import)\s+traindeck\b", re.MULTILINE)
MAX_CONFIG = 1 << 20  # bytes
MAX_PARAMS = 500

_SHELLS = frozenset(("sh", "bash", "zsh", "dash", "fish", "env", "sudo", "nice", "time", "xargs"))
_FLAG = re.compile(r"--?(?P<name>[A-Za-z][\w.-]*)(?P<equals>=)?(?P<value>.*)", re.DOTALL)
_OVERRIDE = re.compile(r"(?P<sign>[+~]{0,2})(?P<name>[A-Za-z_][\w./@-]*)=(?P<value>.*)", re.DOTALL)
_YAML = re.compile(r"(?P<indent> *)(?P<name>[A-Za-z_][\w.-]*)\s*:(?:\s+(?P<value>.*)|(?P<none>))")
_NAMED = ("-p", "--parameters", "-r", "--parameters_raw")
"""Papermill's flags for a notebook's parameters: ``-p lr 0.5``."""
_CONFIG = (".yaml", ".yml", ".json")


class _Pair(NamedTuple):
    """A parameter that was typed: its name, the place of its first word, and its values.

    `taken`: of a flag which of the words behind it are its values.
    """

    name: str
    place: int
    texts: Sequence[str]
    taken: Taken | None = None

    @property
    def value(self) -> Value:
        if len(self.texts) > 1:
            return shlex.join(self.texts)
        return _value(self.texts[0]) if self.texts else True


def parameters(argv: Sequence[str], cwd: str) -> dict[str, Value]:
    """The parameters of a command, by name; dashes in names are underscores.

    What a configuration file says comes first, so that flags have the last word. Of YAML only
    mappings of plain values are read, as most configurations are.
    """
    said: dict[str, Value] = {}
    configs: dict[str, Value] = {}
    start = _start(argv)
    for pair in _pairs(argv[start:], _named(argv), source_of(argv[:start], cwd)):
        said[pair.name] = pair.value
        for text in pair.texts:
            if text.endswith(_CONFIG):
                configs.update(_config(Path(cwd, text)))
    for word in argv[start:]:
        if word.endswith(_CONFIG) and not word.startswith("-") and "=" not in word:
            configs = {**_config(Path(cwd, word)), **configs}
    return dict(list({**configs, **said}.items())[:MAX_PARAMS])


def changed(argv: Sequence[str], changes: Mapping[str, Value], cwd: str) -> list[str]:
    """The command with other values for some of its parameters; new ones come at its end.

    A text replaces all the values of a flag that has several: it is split as a shell does. Raises
    ParamError where it is not known which of the words behind a flag are its values.
    """
    words, named = list(argv), _named(argv)
    for name, value in changes.items():
        start = _start(words)
        source = source_of(words[:start], cwd)
        pairs = [pair for pair in _pairs(words[start:], named, source) if pair.name == name]
        if pairs:
            _change(words, start, pairs[-1], value)
        elif named:
            words += [_NAMED[0], name, _text(value)]
        elif any(_OVERRIDE.fullmatch(word) for word in words[start:]):
            words.append(f"{name}={_text(value)}")
        elif value is True or value == "true":
            words.append(f"--{name}")
        else:
            words += [f"--{name}", *split(_text(value), taken(f"--{name}", [], source))]
    return words


def command_name(argv: Sequence[str]) -> str:
    """What a command is called for short: its script, else its program."""
    words = [Path(word).name for word in argv if not word.startswith("-")]
    scripts = [word for word in words if word.endswith((".py", ".sh", ".ipynb"))]
    return (scripts or words or list(argv))[0][:60]


def is_followed(recipe: Recipe | None) -> bool:
    """Whether what a run prints and writes is looked through: recipes that log do so themselves.

    Nothing of a private recipe is, for it may be made of its training data.
    """
    if recipe is None or not recipe.params:
        return True
    return recipe.privacy == "none" and _TRACKS.search(recipe.path.read_text("utf-8")) is None


def _change(words: list[str], start: int, pair: _Pair, value: Value) -> None:
    at = start + pair.place
    word, text = words[at], _text(value)
    if pair.taken is not None:
        end = at + 1 + pair.taken.own
        if pair.taken.unclear:
            behind = shlex.join(words[at : end + len(pair.taken.unclear)])
            raise ParamError(
                f"{pair.name}: which words of `{behind}` are its values is not known; start the"
                " command itself with others"
            )
        if pair.taken.own:
            words[at + 1 : end] = split(text, pair.taken)
        elif value in (False, "false"):
            del words[at]
        elif value not in (True, "true"):
            words[at + 1 : end] = split(text, pair.taken)
    elif override := _OVERRIDE.fullmatch(word):
        words[at] = f"{override['sign']}{override['name']}={text}"
    elif "=" in word:
        words[at] = f"{word.partition('=')[0]}={text}"
    else:  # Papermill's
        words[at + 2] = text


def _named(argv: Sequence[str]) -> Sequence[str]:
    """The flags of a command that a parameter's name and value follow."""
    heads = [Path(word).name for word in argv[:3]]
    return _NAMED if heads[:1] == ["papermill"] or heads[1:] == ["-m", "papermill"] else ()


def _start(argv: Sequence[str]) -> int:
    """Where the parameters begin: behind the script, the module or the program."""
    for place, word in enumerate(argv):
        if word.endswith(".py"):
            return place + 1
        module = word == "-m" and 0 < place < len(argv) - 1 and "python" in argv[place - 1]
        if module and argv[place + 1].split(".")[0] not in ("torch", "accelerate"):
            return place + 2
        if word == "-c" and place:
            return len(argv)
    return len(argv) if argv and Path(argv[0]).name in _SHELLS else min(1, len(argv))


def _pairs(words: Sequence[str], named: Collection[str], source: str) -> list[_Pair]:
    """The parameters; behind flags that are `named` name and value are words."""
    found: list[_Pair] = []
    place = 0
    while place < len(words):
        word, at = words[place], place
        place += 1
        if word == "--":
            continue
        flag = _FLAG.fullmatch(word)
        if word in named and place + 1 < len(words):
            found.append(_Pair(words[place], at, words[place + 1 : place + 2]))
            place += 2
        elif flag is not None and (flag["equals"] or not flag["value"]):
            name = flag["name"].replace("-", "_")
            if flag["equals"]:
                found.append(_Pair(name, at, [flag["value"]]))
            else:
                its = taken(word, _behind(words, place), source)
                found.append(_Pair(name, at, words[place : place + its.own], its))
                place += its.own
        elif override := _OVERRIDE.fullmatch(word):
            found.append(_Pair(override["name"], at, [override["value"]]))
    return found


def _behind(words: Sequence[str], place: int) -> Sequence[str]:
    """The words from a place on, to the next flag."""
    end = place
    while end < len(words) and not is_flag(words[end]):
        end += 1
    return words[place:end]


def _value(text: str) -> Value:
    if re.fullmatch(r"[-+]?\d{1,18}", text):
        return int(text)
    if NUMBER.fullmatch(text) and len(text) < 60:
        return float(text)
    return {"true": True, "false": False}.get(text.lower(), text)


def _text(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _config(path: Path) -> dict[str, Value]:
    """The values in a configuration file, nested names joined by dots; none of one unreadable."""
    try:
        if path.stat().st_size > MAX_CONFIG:
            return {}
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            return _flat(json.loads(text), "")
    except (OSError, ValueError, RecursionError):  # what is wrong with it is the command's to tell
        return {}
    return _yaml(text)


def _yaml(text: str) -> dict[str, Value]:
    """The plain values of a YAML mapping; lists and texts of several lines are left out."""
    found: dict[str, Value] = {}
    above: list[tuple[int, str]] = []  # the indent and name of each mapping around a line
    for line in text.splitlines():
        match = _YAML.fullmatch(line)
        if match is None:
            continue
        indent = len(match["indent"])
        while above and above[-1][0] >= indent:
            above.pop()
        name = ".".join([name for _, name in above] + [match["name"]])
        value = (match["value"] or "").partition(" #")[0].strip()
        if not value:
            above.append((indent, match["name"]))
        elif value[0] not in "[{|>&*":
            found[name] = _value(value) if value[0] not in "'\"" else value.strip("'\"")
    return found


def _flat(value: Any, name: str) -> dict[str, Value]:
    if isinstance(value, dict):
        parts: dict[str, Value] = {}
        for key, inner in value.items():
            parts.update(_flat(inner, f"{name}.{key}" if name else str(key)))
        return parts
    if isinstance(value, bool | int | float | str) and name:
        return {name: value}
    return {}
