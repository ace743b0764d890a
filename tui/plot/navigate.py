"""Moving about in a plot: zoom, pan, cursor. Each takes a view and returns the next one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from traindeck.tui.plot.view import Plot, View, Window

_FINEST = 1e-9  # of the whole range: no zooming beyond


def zoomed(view: View, plot: Plot, factor: float, around: float | None = None) -> View:
    """The view with the window `factor` times as wide, with `around` staying where it is."""
    whole, sight = plot.extent(view), plot.in_sight(view)
    if whole is None or sight is None:
        return view
    if around is None:
        around = view.cursor if view.cursor is not None else (sight[0] + sight[1]) / 2
    around = min(max(around, sight[0]), sight[1])
    least = max((whole[1] - whole[0]) * _FINEST, 1e-9 if view.elapsed else 1.0)
    factor = max(factor, least / (sight[1] - sight[0]))
    return _with_window(
        view, whole, around - (around - sight[0]) * factor, around + (sight[1] - around) * factor
    )


def panned(view: View, plot: Plot, share: float) -> View:
    """The view moved by `share` of what is in sight; to the right if positive."""
    whole, sight = plot.extent(view), plot.in_sight(view)
    if whole is None or sight is None or view.window is None:
        return view
    width = sight[1] - sight[0]
    start = min(max(sight[0] + share * width, whole[0]), max(whole[1] - width, whole[0]))
    return _with_window(view, whole, start, start + width)


def windowed(view: View, plot: Plot, x0: float, x1: float) -> View:
    """The view of `x0` to `x1`."""
    whole = plot.extent(view)
    if whole is None or x0 == x1:
        return view
    return _with_window(view, whole, min(x0, x1), max(x0, x1))


def _with_window(view: View, whole: tuple[float, float], x0: float, x1: float) -> View:
    x0, x1 = max(x0, whole[0]), min(x1, whole[1])
    if x0 <= whole[0] and x1 >= whole[1]:
        return replace(view, window=None)
    if not x0 < x1:
        return view
    return replace(view, window=Window(x0, x1, follow=x1 >= whole[1]))


def next_place(plot: Plot, view: View, width: int, direction: int) -> float | None:
    """Where the cursor goes for one key press: the next point, at least one column on.

    A cursor that is not in sight starts at the edge that `direction` comes from.
    """
    sight = plot.in_sight(view)
    if sight is None:
        return None
    low, high = sight
    column = (high - low) / max(width, 1)
    if view.cursor is None or not low <= view.cursor <= high:
        target = low if direction > 0 else high
    else:
        target = view.cursor + direction * column
    best = None
    for line in plot.lines:
        shown = line.curve(view)
        if shown is None:
            continue
        x = shown[1].x
        if direction > 0:
            at = int(np.searchsorted(x, target))
        else:
            at = int(np.searchsorted(x, target, "right")) - 1
        if 0 <= at < len(x) and low <= x[at] <= high:
            place = float(x[at])
            nearer = best is None or (place < best if direction > 0 else place > best)
            best = place if nearer else best
    return view.cursor if best is None else best


def with_cursor_moved(view: View, plot: Plot, width: int, direction: int) -> View:
    """The cursor on the next or previous point; the window comes along at its edges."""
    place = next_place(plot, view, width, direction)
    if place is None or place != view.cursor or view.window is None:
        return with_cursor(view, place)
    return with_cursor(panned(view, plot, direction * 0.25), place)


def with_cursor(view: View, cursor: float | None) -> View:
    return view if view.cursor == cursor else replace(view, cursor=cursor)


def with_window(view: View, window: Window | None) -> View:
    return replace(view, window=window)
