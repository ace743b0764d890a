"""Columns of text: which fit into a table, and cells cut and padded to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

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


S = TypeVar("S", bound=Sized)


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
    found: list[Part] = []
    for text, name in parts:
        size = cell_len(text)
        if size > width:
            text, size = fitted(text, width), width
        if size:
            found.append((text, name))
        width -= size
    if width:
        found.append((" " * width, ""))
    return found
