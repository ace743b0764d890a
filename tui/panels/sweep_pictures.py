"""Pictures of a sweep: the values in the order they came, against one parameter, and all parameters
side by side.

Importing this module imports numpy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from traindeck.core.base.format import compact
from traindeck.core.base.sanitize import plain
from traindeck.core.sweeps.space import Axis, Range
from traindeck.core.sweeps.trials import Trial
from traindeck.tui.plot.marks import Mark, points
from traindeck.tui.plot.raster import LABEL, LINE
from traindeck.tui.plot.reduce import Curve
from traindeck.tui.plot.scale import Axes
from traindeck.tui.readers.sweeps import Sweep
from traindeck.tui.widgets.sketch import Sketch

PICTURES = ("history", "slice", "parallel")
_BEST, _GOOD, _REST = 0, 2, 7
"""Colors: of the best trial, of the best quarter, of the others."""
_MOST_LINES = 200
"""Trials that are drawn side by side: the newest ones."""


def show(sketch: Sketch, sweep: Sweep, picture: str, chosen: str) -> None:
    """Draw one of `PICTURES`; `chosen` is the parameter of a slice."""
    known = [one for one in sweep.trials if one.value is not None]
    if not known:
        sketch.show([], None)
    elif picture == "history":
        _history(sketch, sweep, known)
    elif picture == "slice":
        axis = next((one for one in sweep.axes if one.name == chosen), None)
        _slice(sketch, sweep, known, axis)
    else:
        _parallel(sketch, sweep, known)


def _history(sketch: Sketch, sweep: Sweep, known: Sequence[Trial]) -> None:
    best: list[float] = []
    for one in known:
        value = float(one.value or 0.0)
        better = not best or sweep.design.better(value, best[-1])
        best.append(value if better else best[-1])
    numbers = [float(one.number) for one in known]
    axes = _axes(0.0, max(numbers[-1], 1.0), _values(known))
    sketch.show(
        [points(numbers, best, _BEST)],
        axes,
        _dots(sweep, known, numbers),
        [(f" {plain(sweep.design.series)}, best so far · x: trial ", LABEL)],
    )


def _slice(sketch: Sketch, sweep: Sweep, known: Sequence[Trial], axis: Axis | None) -> None:
    if axis is None:
        sketch.show([], None)
        return
    with_it = [one for one in known if axis.name in one.values]
    places = [_place(axis, one.values) for one in with_it]
    if axis.range is None:
        names = tuple(plain(str(choice))[:12] for choice in axis.choices)
        axes = replace(_axes(-0.5, len(names) - 0.5, _values(known)), names=names)
    else:
        low, high = (_scaled(axis.range, end) for end in (axis.range.low, axis.range.high))
        across: Literal["powers", "numbers"] = "powers" if axis.range.log else "numbers"
        axes = replace(_axes(low, high, _values(known)), x=across)
    said = f"{axis.name}, log" if axis.range is not None and axis.range.log else axis.name
    values = _values(with_it)
    sketch.show(
        [points([x], [y], _REST) for x, y in zip(places, values, strict=True)],
        axes,
        _dots(sweep, with_it, places),
        [(f" {plain(sweep.design.series)} · x: {plain(said)} ", LABEL)],
    )


def _parallel(sketch: Sketch, sweep: Sweep, known: Sequence[Trial]) -> None:
    values = _values(known)
    low, high = min(values), max(values)
    columns = len(sweep.axes)
    order = sorted(known, key=lambda one: float(one.value or 0.0), reverse=sweep.design.maximize)
    good = max(1, len(order) // 4)
    curves: list[Curve] = []
    for rank, one in enumerate(order[:_MOST_LINES]):
        at = [(float(k), _share(a, one.values)) for k, a in enumerate(sweep.axes)]
        last = (float(one.value or 0.0) - low) / (high - low) if high > low else 0.5
        at.append((float(columns), last))
        there = [(x, y) for x, y in at if y is not None]
        color = _BEST if rank == 0 else _GOOD if rank < good else _REST
        curves.append(points([x for x, _ in there], [float(y) for _, y in there], color))
    marks: list[Mark] = []
    for k, axis in enumerate(sweep.axes):
        first, last_one = axis.ends()
        marks += [
            Mark(float(k), 1.0, "┬", _shown(last_one), LABEL),
            Mark(float(k), 0.0, "┴", _shown(first), LABEL),
            Mark(float(k), 1.14, "▾", plain(axis.name)[:14], LABEL),
        ]
    marks += [
        Mark(float(columns), 1.0, "┬", compact(high), LABEL),
        Mark(float(columns), 0.0, "┴", compact(low), LABEL),
        Mark(float(columns), 1.14, "▾", plain(sweep.design.series)[:14], LABEL),
    ]
    sketch.show(
        curves,
        Axes(-0.05, columns + 0.05, -0.1, 1.2, names=("",) * (columns + 1)),
        marks,
        [(f" {len(curves)} trials side by side ", LABEL)],
    )


def _dots(sweep: Sweep, known: Sequence[Trial], places: Sequence[float]) -> list[Mark]:
    best = sweep.best
    marks: list[Mark] = []
    for one, x in zip(known, places, strict=True):
        is_best = best is not None and one.number == best.number
        label = f"{one.number}: {compact(float(one.value or 0.0))}" if is_best else ""
        mark = Mark(
            x,
            float(one.value or 0.0),
            "★" if is_best else "•",
            label,
            LINE + (_BEST if is_best else _GOOD),
        )
        marks.insert(0, mark) if is_best else marks.append(mark)
    return marks


def _values(known: Sequence[Trial]) -> list[float]:
    return [float(one.value or 0.0) for one in known]


def _axes(x0: float, x1: float, values: Sequence[float]) -> Axes:
    low, high = min(values), max(values)
    room = (high - low) * 0.12 or abs(high) * 0.1 or 0.05
    return Axes(x0, x1, low - room, high + room)


def _place(axis: Axis, values: Mapping[str, Any]) -> float:
    value = values[axis.name]
    if axis.range is None:
        return float(axis.choices.index(value)) if value in axis.choices else -1.0
    return _scaled(axis.range, float(value))


def _share(axis: Axis, values: Mapping[str, Any]) -> float | None:
    """Where on its upright a trial lies, from 0 to 1; None where the parameter has no say."""
    if axis.name not in values:
        return None
    if axis.range is None:
        place = _place(axis, values)
        return place / (len(axis.choices) - 1) if len(axis.choices) > 1 else 0.5
    low, high = (_scaled(axis.range, end) for end in (axis.range.low, axis.range.high))
    return (_place(axis, values) - low) / (high - low)


def _scaled(one: Range, value: float) -> float:
    return math.log10(value) if one.log else value


def _shown(value: object) -> str:
    return compact(value) if isinstance(value, float) else plain(str(value))[:12]
