"""How charts share a canvas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.geometry import Region

LEAST_WIDTH, GOOD_WIDTH = 18, 38
LEAST_HEIGHT, GOOD_HEIGHT = 6, 9
GAP = 2


@dataclass(frozen=True, slots=True)
class ChartArrangement:
    """Regions of the cells in order, headings as (row, group number), and the canvas' height."""

    regions: tuple[Region, ...]
    headings: tuple[tuple[int, int], ...]
    height: int


def arrange(groups: Sequence[int], width: int, height: int, headings: bool) -> ChartArrangement:
    """Put groups of so many charts each below one another on a canvas `width` cells wide.

    Charts grow to fill `height` if they can; if they would become too small, the canvas becomes
    higher than that and scrolls. A lone chart gets everything. `headings` asks for a row above each
    group.
    """
    total = sum(groups)
    if total == 1:
        return ChartArrangement((Region(0, 0, max(width, 1), max(height, 1)),), (), height)
    across = max(1, min((width + GAP) // (GOOD_WIDTH + GAP), total))
    if across == 1 and width >= 2 * LEAST_WIDTH + GAP:
        across = 2
    columns = [min(across, count) for count in groups]
    bands = [-(-count // wide) for count, wide in zip(groups, columns, strict=True)]
    room = height - (len(groups) if headings else 0)
    tall = room // max(sum(bands), 1)
    spare = room - tall * sum(bands)
    if tall < LEAST_HEIGHT:
        tall, spare = min(GOOD_HEIGHT, max(height, 3)), 0
    regions: list[Region] = []
    marks: list[tuple[int, int]] = []
    y = 0
    for group, (count, wide) in enumerate(zip(groups, columns, strict=True)):
        if headings:
            marks.append((y, group))
            y += 1
        for start in range(0, count, wide):
            # Rows that are left over go to the first bands.
            band = tall + (spare > 0)
            spare -= 1
            for place in range(min(wide, count - start)):
                left = place * (width + GAP) // wide
                right = (place + 1) * (width + GAP) // wide - GAP
                regions.append(Region(left, y, max(right - left, 1), band))
            y += band
    return ChartArrangement(tuple(regions), tuple(marks), y)


def group_names(names: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Series by the part of their name before the last `/`, in the order they first appear.

    A group of one is no group: such series come last, together, under an empty name.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.rpartition("/")[0], []).append(name)
    rest = groups.pop("", [])
    named = []
    for group, members in groups.items():
        if len(members) > 1:
            named.append((group, members))
        else:
            rest += members
    if rest:
        order = {name: place for place, name in enumerate(names)}
        named.append(("", sorted(rest, key=order.__getitem__)))
    return named
