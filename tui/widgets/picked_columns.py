"""Columns of the runs that people choose: the table's own, and any parameter or metric."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from traindeck.core.base.errors import UsageError
from traindeck.core.base.sanitize import plain
from traindeck.core.catalogue.document import RunDoc
from traindeck.core.catalogue.values import PARAMS, Pick, order, pick
from traindeck.tui.widgets.columns import Part
from traindeck.tui.widgets.run_columns import COLUMNS, NONE, Column, age, duration, number

OWN = {column.id: column for column in COLUMNS}
"""The table's own columns, by their ids."""
_POINT_AT = 3
"""Cells before a number's point, so that the points of a column are below each other."""
_NUMBER_WIDTH = 10
_STEP_WIDTH = 17
TITLE_MOST = 18
_OWN_RANK = 1000
"""So much more easily than a picked one is a column of the table's own left out."""


def columns_of(names: Iterable[str]) -> list[Column]:
    """The columns of these names, in their order.

    Where there is little room the table's own are left out first, in the order they always are;
    then those that were picked, the last of them first. State and name stay.
    """
    made = []
    for rank, name in enumerate(dict.fromkeys(names)):
        try:
            column = OWN[name] if name in OWN else _made(pick(name))
        except UsageError:  # remembered from another version
            continue
        rank = _OWN_RANK * column.rank if name in OWN else min(rank, _OWN_RANK - 1)
        made.append(replace(column, rank=rank))
    return made


def _made(picked: Pick) -> Column:
    title = plain(picked.text.removeprefix(PARAMS))
    if picked.kind == "number":
        width = _STEP_WIDTH if _has_step(picked) else _NUMBER_WIDTH
        grow = 0
    else:
        width, grow = {"span": 6, "age": 4, "when": 16}.get(picked.kind, 10), 1
    return Column(
        picked.text,
        title,
        max(width, min(len(title), TITLE_MOST)),
        0,
        lambda doc, now, width: _parts(picked, doc, now, width),
        lambda doc: order(picked.value(doc)),
        grow=grow if picked.kind == "text" else 0,
        most=40,
        right=picked.kind in ("span", "age"),
    )


def _has_step(picked: Pick) -> bool:
    return picked.text.endswith((":best", ":min", ":max"))


def _parts(picked: Pick, doc: RunDoc, now: float, width: int) -> Sequence[Part]:
    value = picked.value(doc)
    if value is None or value == "":
        return [(NONE, "dim")]
    if picked.kind == "number":
        step = picked.step(doc)
        shown = pointed(value, width if step is None else width - len(f" @{step}"))
        return [(shown, "")] if step is None else [(shown, ""), (f" @{step}", "dim")]
    if picked.kind == "age":
        return [(age(now - value), "dim")]
    if picked.kind == "span":
        return [(duration(value), "")]
    if picked.kind == "when":
        return [(time.strftime("%Y-%m-%d %H:%M", time.localtime(value)), "dim")]
    return [(plain(str(value)), "")]


def pointed(value: Any, width: int) -> str:
    """A value with its point where those of the lines above and below have theirs."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return plain(str(value))
    text = number(value) if isinstance(value, float) else str(value)
    whole = len(text.partition(".")[0].partition("e")[0])
    room = min(_POINT_AT - whole, width - len(text))
    return " " * max(0, room) + text
