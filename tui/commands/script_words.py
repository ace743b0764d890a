"""Whose the words behind a script are: its own flags, or options of `traindeck run`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import typer.core

HANDED = "for the script"
"""Where a call keeps the words that go to its script; None where nothing was told apart."""

_QUOTED = r"[\"'/]{flag}[\"'/=, ]"
_SAID = r"(?<![\w-]){flag}(?![\w-])"


class Parted(NamedTuple):
    """The words of a call, told apart.

    ours    for `traindeck run`, the script among them
    theirs  for the script, in their order
    notes   a sentence for each option whose owner is in doubt
    """

    ours: list[str]
    theirs: list[str]
    notes: list[str]


class RunCommand(typer.core.TyperCommand):
    """Hands a script without a header what stands behind it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        takes_value = {
            flag: not getattr(param, "is_flag", False)
            for param in self.get_params(ctx)
            for flag in param.opts
            if flag.startswith("-")
        }
        place = _script(args, takes_value)
        if place is None:
            return super().parse_args(ctx, args)
        parted = part(args, place, takes_value)
        rest = super().parse_args(ctx, parted.ours)
        ctx.meta[HANDED] = parted
        return rest


def part(words: Sequence[str], place: int, takes_value: Mapping[str, bool]) -> Parted:
    """Tell the words behind the script at `place` apart.

    All are the script's but options of ours (`takes_value`: which of them a value follows) that
    its source does not quote.
    """
    source = Path(words[place]).read_text("utf-8", "replace")
    script = Path(words[place]).name
    parted = Parted(list(words[: place + 1]), [], [])
    rest = list(words[place + 1 :])
    while rest:
        word = rest.pop(0)
        flag = _flag(word, takes_value)
        if flag is None:
            parted.theirs.append(word)
            continue
        taken = [word]
        if flag == word and takes_value[flag] and rest:
            taken.append(rest.pop(0))
        if re.search(_QUOTED.format(flag=re.escape(flag)), source):
            parted.theirs.extend(taken)
            parted.notes.append(
                f"note: {flag} goes to {script}, which knows it; "
                "for traindeck write it before the script"
            )
            continue
        parted.ours.extend(taken)
        if re.search(_SAID.format(flag=re.escape(flag)), source):
            parted.notes.append(
                f"note: {flag} is taken for traindeck's; for {script} write it behind --"
            )
    return parted


def _script(words: Sequence[str], takes_value: Mapping[str, bool]) -> int | None:
    """Where a script without a header stands; None where something else is run."""
    from traindeck.core.recipe.header import HeaderError
    from traindeck.core.recipe.read import read_recipe

    place = 0
    while place < len(words) and words[place].startswith("-"):
        place += 2 if takes_value.get(words[place]) else 1
    if place >= len(words) or not words[place].endswith(".py"):
        return None
    path = Path(words[place])
    try:
        return place if path.is_file() and read_recipe(path) is None else None
    except (HeaderError, OSError):  # told when it is run
        return None


def _flag(word: str, takes_value: Mapping[str, bool]) -> str | None:
    """Which option of ours a word is."""
    name = word.partition("=")[0]
    if name in takes_value:
        return name
    short = word[:2]
    return short if word[:1] == "-" and word[1:2] != "-" and takes_value.get(short) else None
