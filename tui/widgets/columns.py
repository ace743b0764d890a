"""Columns of text: which fit into a table, what they sort by, cells cut and padded to them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Protocol, TypeVar

from rich.cells import cell_len, set_cell_size

TONES = ("dim", "faint", "live", "good", "warn", "bad")
"""What a text can be painted in, beside the row's own color: the names of component classes."""

Part = tuple[str, str]
"""Text and its tone; an empty tone is the row's own color."""


class Sized(Protocol):
    """What a column asks for.

    width  cells it needs to make sense
    rank   columns of a higher rank are left out first when the table is narrow
    grow   its share of the cells that are left over
    most   cells it never grows beyond
    """

    @property
    def id(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def rank(self) -> int: ...
    @property
    def grow(self) -> int: ...
    @property
    def most(self) -> int: ...


Key = float | str | tuple[float, str] | tuple[int, float, str] | None
"""What a column sorts by; None comes last, whichever way round."""


class Titled(Sized, Protocol):
    """A column with a header; `right` puts its text to the right, `key` is what it sorts by."""

    @property
    def id(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def right(self) -> bool: ...
    @property
    def key(self) -> Callable[[Any], Key]: ...


S = TypeVar("S", bound=Sized)
Item = TypeVar("Item")


def ordered(items: Sequence[Item], column: Titled | None, reverse: bool = False) -> Sequence[Item]:
    """The items sorted by a column; without one as they come.

    Items that have nothing in the column are last either way; equal ones keep their order.
    """
    if column is None:
        return items
    keyed: list[tuple[Any, Item]] = [(column.key(item), item) for item in items]
    known = [pair for pair in keyed if pair[0] is not None]
    known.sort(key=itemgetter(0), reverse=reverse)
    return [item for _, item in known] + [item for key, item in keyed if key is None]


def empty_of(columns: Sequence[Titled], items: Sequence[Any]) -> frozenset[str]:
    """The ids of columns in which no item has anything; of no items none."""
    if not items:
        return frozenset()
    return frozenset(
        column.id for column in columns if all(column.key(item) is None for item in items)
    )


def as_read(parts: Sequence[Part]) -> Key:
    """Parts as a reader puts them in order: numbers by their value, before words by letters."""
    text = "".join(text for text, _ in parts).strip()
    if text.strip("–—") == "":
        return None
    try:
        number = float(text.lstrip("<").rstrip("%").replace(",", "").replace("∞", "inf"))
    except ValueError:
        number = math.nan
    return (math.inf, text.casefold()) if math.isnan(number) else (number, "")


def fitting(width: int, columns: Sequence[S]) -> list[tuple[S, int]]:
    """The columns that fit into so many cells, with the cells each one gets.

    One cell stands between two columns. What is left over goes to those that can use it.
    """
    shown = list(columns)
    while len(shown) > 1 and sum(each.width + 1 for each in shown) - 1 > width:
        shown.remove(max(shown, key=lambda each: (each.rank, each.width)))
    widths = {each.id: each.width for each in shown}
    spare = width - sum(widths.values()) - len(shown) + 1
    while spare > 0:
        growing = [each for each in shown if each.grow and widths[each.id] < each.most]
        if not growing:
            break
        share = max(1, spare // sum(each.grow for each in growing))
        for each in growing:
            more = min(share * each.grow, each.most - widths[each.id], spare)
            widths[each.id] += more
            spare -= more
    return [(each, max(1, min(widths[each.id], width))) for each in shown]


def fitted(text: str, width: int, right: bool = False) -> str:
    """The text in exactly so many cells; an ellipsis says that some is missing."""
    size = cell_len(text)
    if size > width:
        return set_cell_size(text, width - 1) + "…" if width > 1 else set_cell_size(text, width)
    return " " * (width - size) + text if right else text + " " * (width - size)


def cropped(parts: Sequence[Part], width: int, right: bool) -> list[Part]:
    """The parts in exactly so many cells."""
    if len(parts) == 1:
        return [(fitted(parts[0][0], width, right), parts[0][1])]
    cut: list[Part] = []
    for text, tone in parts:
        size = cell_len(text)
        if size > width:
            text, size = fitted(text, width), width
        if size:
            cut.append((text, tone))
        width -= size
    if width:
        cut.append((" " * width, ""))
    return cut
