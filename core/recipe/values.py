"""Which of the words behind a flag are its values, and which the command's own.

A script's syntax tree says so where it declares the flag, as argparse and click do (`nargs=`, a
flag without a value). Where nothing does, numbers behind a number are values (``--hidden 8 16``),
and all else but the first word is the command's. Standard library only.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from traindeck.core.base.syntax import syntax_tree

MAX_SOURCE = 1 << 20  # bytes
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")

_DECLARE = {"add_argument", "add_option", "option", "Option"}
_SAYS = {"nargs", "action", "is_flag", "type", "default", "help", "required"}
_NO_VALUE = {"store_true", "store_false", "store_const", "append_const", "count", "help", "version"}
_OVERRIDE = re.compile(r"[+~]{0,2}[A-Za-z_][\w./@-]*=")


class Taken(NamedTuple):
    """How many words behind a flag are its `own`; `most` how many it takes, None: not known.

    `unclear` are the words behind those that may be values, too.
    """

    own: int
    most: float | None
    unclear: Sequence[str] = ()


def taken(flag: str, words: Sequence[str], source: str) -> Taken:
    """Of the words behind a flag, up to the next one, those that are its values."""
    most = _declared(flag, source)
    if most is not None:
        return Taken(int(min(most, len(words))), most)
    words = list(takewhile(lambda word: not _OVERRIDE.match(word), words))
    count = len(list(takewhile(NUMBER.fullmatch, words)))
    rest = words[max(count, 1) :]
    unclear = not count or any(map(NUMBER.fullmatch, rest))
    return Taken(max(count, min(len(words), 1)), None, rest if unclear else ())


def split(text: str, of: Taken) -> list[str]:
    """The words of a new value: one, but for a flag that takes several."""
    try:
        words = shlex.split(text)
    except ValueError:  # an open quote
        words = text.split()
    numbers = of.most is None and all(map(NUMBER.fullmatch, words))
    return words if of.own > 1 or (of.most or 0) > 1 or (words and numbers) else [text]


def source_of(before: Sequence[str], cwd: str) -> str:
    """The source of the script that a command's first words end with; "" if it cannot be read."""
    if not before or not before[-1].endswith(".py"):
        return ""
    path = Path(cwd, before[-1])
    try:
        return path.read_text("utf-8", "replace") if path.stat().st_size <= MAX_SOURCE else ""
    except OSError:
        return ""


def is_flag(word: str) -> bool:
    return word.startswith("-") and len(word) > 1 and not NUMBER.fullmatch(word)


def _declared(flag: str, source: str) -> float | None:
    """How many values a flag takes at most, if the source says what it is."""
    tree = syntax_tree(source)
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Call) and _declares(node):
            words = [word for word in map(_constant, node.args) if isinstance(word, str)]
            if flag in words:
                return _values(node)
            if flag in [half.strip() for word in words for half in word.split("/")]:
                return 0  # click's --on/--off
    return None


def _declares(call: ast.Call) -> bool:
    name = ast.unparse(call.func).rpartition(".")[2]
    return name in _DECLARE or any(word.arg in _SAYS for word in call.keywords)


def _values(call: ast.Call) -> float:
    """How many values at most the flag takes that is declared by a call."""
    said = {word.arg: word.value for word in call.keywords}
    action = said.get("action")
    if action is not None and (
        _constant(action) in _NO_VALUE or ast.unparse(action).endswith("BooleanOptionalAction")
    ):
        return 0
    if any(_constant(said.get(word)) is True for word in ("is_flag", "count")):
        return 0
    if "nargs" not in said:
        return 1
    count = _constant(said["nargs"])
    if isinstance(count, int) and count >= 0:
        return count
    return 1 if count == "?" else float("inf")


def _constant(node: ast.AST | None) -> object:
    return node.value if isinstance(node, ast.Constant) else None
