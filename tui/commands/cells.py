"""Values as commands print them: in cells of a table, and bare in CSV."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from traindeck.core.base.environ import HOME
from traindeck.tui.commands.output import ascii_number, duration, say


def said(kind: str, value: Any, now: float) -> str:
    """A value of a kind of `core.catalogue.values`."""
    from traindeck.core.base.sanitize import plain

    if value is None or value == "":
        return "–"
    if kind == "span":
        return duration(value)
    if kind == "age":
        return duration(max(0.0, now - value))
    if kind == "when":
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(value))
    if type(value) is float:
        return ascii_number(value)
    return plain(str(value))


def print_csv(head: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    import csv

    writer = csv.writer(sys.stdout)
    writer.writerow(head)
    writer.writerows(rows)


def say_none(asked: bool) -> None:
    if asked:
        say("no runs match")
        return
    named = os.environ.get(HOME)
    gone = (
        f"; {HOME} names {named}, which is not there" if named and not os.path.isdir(named) else ""
    )
    say(f"no runs yet; `traindeck recipes` lists what can be run{gone}")
