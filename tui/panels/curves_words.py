"""What the curves panel's last line says: what is drawn, and how it is looked at."""

from __future__ import annotations

from collections.abc import Sequence
from time import time as now

from traindeck.core.privacy.telemetry import is_private
from traindeck.tui.plot.cell import Cell
from traindeck.tui.plot.palette import TEXT
from traindeck.tui.plot.raster import ALERT, HINT, LABEL
from traindeck.tui.plot.status import ago
from traindeck.tui.plot.strips import Words
from traindeck.tui.plot.view import View

NOT_COVERED = "not in ε"
"""Said of a series that was computed from private data: the run's epsilon does not cover it."""


def series_title(series: str) -> str:
    return f"{series} ({NOT_COVERED})" if is_private(series) else series


def drawn(
    cells: Sequence[Cell], view: View, *, since: str, nothing_yet: bool, reading: bool
) -> Words:
    """From how many points the charts in sight are drawn; `since` says how old the newest is."""
    seen = [cell.plot.points(view) for cell in cells]
    points, most = sum(count for count, _ in seen), max((each for _, each in seen), default=1)
    words: Words = [(since, LABEL)] if since else []
    if not nothing_yet:
        words.append((f"drawn from {points:,} points", LABEL))
    if most > 1:
        words.append((f", up to {most:,} to a bucket", LABEL))
    if reading:
        words.append((" · reading more", HINT))
    if any(cell.frame is not None and cell.frame.left_out for cell in cells):
        words.append((" · values ≤ 0 left out", ALERT))
    return words


def looked_at(view: View, terms: Sequence[str], hidden: int) -> Words:
    """How; `hidden` is how many series of private data are not shown."""
    words: Words = []
    if hidden:
        words.append((f"{hidden} private hidden  ", TEXT))
    if terms:
        words.append((f"/{' '.join(terms)}  ", TEXT))
    if view.window is not None:
        words.append(("zoomed  " if view.window.follow else "zoomed, not following  ", TEXT))
    if view.weight:
        words.append((f"smooth {view.weight:g}  ", TEXT))
    if view.log:
        words.append(("log  ", TEXT))
    words.append(("time" if view.elapsed else "steps", LABEL))
    return words


def newest(live: bool, known: bool, last: float) -> str:
    """How old the newest point is, or that no more will come."""
    if not live and known:
        return "ended; "
    return f"last data {ago(now() - last)} · " if last else ""
