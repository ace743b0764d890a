"""Sparklines, and rows of named values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from textual.content import Content

BLOCKS = "▁▂▃▄▅▆▇"  # the full block would join the line above

Row = tuple[str, str | Content]


def sparkline(values: Sequence[float], width: int, top: float) -> str:
    """The last `width` values as blocks from 0 to `top`; a value that is not finite is a gap."""
    shown = values[-width:] if width > 0 else ()
    top = top if top > 0 else 1.0
    return "".join(
        BLOCKS[min(6, max(0, int(value / top * 6.999)))] if math.isfinite(value) else " "
        for value in shown
    ).rjust(width)


def shorten(text: str, width: int) -> str:
    """`text` in at most `width` cells, its end replaced by an ellipsis if need be."""
    return Content(text).truncate(max(1, width), ellipsis=True).plain


def rows(pairs: Iterable[Row], width: int) -> Content:
    """Named values under each other: names dim in one column, long values wrapped beside them."""
    pairs = list(pairs)
    if not pairs:
        return Content("")
    name_width = min(max(cell_len(name) for name, _ in pairs), max(6, width // 2 - 2))
    room = max(8, width - name_width - 2)
    lines: list[Content] = []
    for name, value in pairs:
        content = value if isinstance(value, Content) else Content(value)
        label = shorten(name, name_width)
        label += " " * (name_width - cell_len(label) + 2)
        wrapped = [line for part in content.split("\n") for line in part.wrap(room)]
        lines.append(Content.styled(label, "dim") + (wrapped[0] if wrapped else ""))
        lines += [Content(" " * (name_width + 2)) + line for line in wrapped[1:]]
    return Content("\n").join(lines)
