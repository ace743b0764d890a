"""A run as some other tool left it, or is to have it: what is common to all their formats.

Whatever is read comes from anybody: it is data, bounded, and nothing of it is ever executed.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from traindeck.core.base.errors import TraindeckError
from traindeck.core.base.sanitize import printable
from traindeck.core.base.schema import moment

MOST_POINTS = 20_000_000
MOST_SERIES = 20_000
MOST_PARAMS = 2000
LONGEST_TEXT = 1000
LONGEST_NAME = 200
LATEST_STEP = 1 << 53
_DEEPEST = 8

Point = tuple[float, int, float]
"""Unix time, step, value."""


class Unreadable(TraindeckError):
    """What lies there cannot be taken in, or not as a run; the message says why."""


class Series:
    """One series in the order in which it was written: 24 bytes a point."""

    __slots__ = ("steps", "times", "values")

    def __init__(self) -> None:
        self.times, self.steps, self.values = array("d"), array("q"), array("d")

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Point]:
        return zip(self.times, self.steps, self.values, strict=True)

    def add(self, when: float, step: int, value: float) -> None:
        self.times.append(when)
        self.steps.append(step)
        self.values.append(value)

    def sort(self) -> None:
        """Put the points into the order of their steps; those of one step stay as they are."""
        steps = self.steps
        if all(map(int.__le__, steps, memoryview(steps)[1:])):
            return
        order = sorted(range(len(steps)), key=steps.__getitem__)
        self.times = array("d", map(self.times.__getitem__, order))
        self.values = array("d", map(self.values.__getitem__, order))
        self.steps = array("q", map(steps.__getitem__, order))


class Points:
    """The series of one run by name, as many as can be taken in."""

    def __init__(self, where: Path) -> None:
        self.series: dict[str, Series] = {}
        self.count = 0
        self._where = where

    def add(self, name: str, when: float, step: int, value: float) -> None:
        """Add one point. Raises Unreadable where there are too many."""
        series = self.series.get(name)
        if series is None:
            series = self.named(name)
        if not -LATEST_STEP < step < LATEST_STEP:
            raise Unreadable(f"{self._where}: {step} is no step of a training")
        series.add(when, step, value)
        self.count += 1
        if self.count > MOST_POINTS:
            raise Unreadable(f"{self._where}: holds more than {MOST_POINTS:,} points; cut it first")

    def named(self, name: str) -> Series:
        """The series of this name, made if needed. Raises Unreadable where there are too many."""
        if name not in self.series:
            if len(self.series) >= MOST_SERIES:
                raise Unreadable(f"{self._where}: holds more than {MOST_SERIES:,} series")
            self.series[name] = Series()
        return self.series[name]

    def sort(self) -> None:
        """Bring each series into the order of its steps: a lower step would replace others."""
        for series in self.series.values():
            series.sort()


@dataclass(slots=True)
class OutsideRun:
    """One run of another tool.

    tool       whose it is, as people call it
    place      the file or folder that it was read from
    part       which of several runs in that place it is
    state      how it ended, as the tool says; `reason` why, or that the tool does not say it
    started    unix seconds, as `ended`; None where the tool does not say
    source     what is known of code and machine, in the form of source/provenance.json
    remarks    what was left out, and why
    """

    tool: str
    place: Path
    name: str
    points: Points
    part: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    notes: str = ""
    state: str = "finished"
    reason: str = ""
    exit_code: int | None = None
    started: float | None = None
    ended: float | None = None
    source: dict[str, Any] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def flat(values: Mapping[str, Any], joint: str = ".") -> dict[str, Any]:
    """Parameters as a run has them: texts, numbers, truths by name; nested names are joined."""
    found: dict[str, Any] = {}

    def take(name: str, value: object, depth: int) -> None:
        if len(found) >= MOST_PARAMS:
            return
        if isinstance(value, Mapping) and value and depth < _DEEPEST:
            for key, inner in value.items():
                take(f"{name}{joint}{key}" if name else str(key), inner, depth + 1)
            return
        found[printable(name)[:LONGEST_NAME]] = _plain(value)

    take("", values, 0)
    return found if values else {}


def _plain(value: object) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < 1 << 53:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return value[:LONGEST_TEXT]
    try:
        return json.dumps(value, default=str)[:LONGEST_TEXT]
    except (ValueError, RecursionError):
        return "…"


def numbers(values: Mapping[str, Any], joint: str = "/") -> Iterator[tuple[str, float]]:
    """The numbers of an object that was logged, nested names joined; truths are none."""
    waiting: list[tuple[str, Any, int]] = [("", values, 0)]
    while waiting:
        name, value, depth = waiting.pop()
        if isinstance(value, Mapping):
            if depth < _DEEPEST:
                inner = [(f"{name}{joint}{k}" if name else str(k), v) for k, v in value.items()]
                waiting += [(key, each, depth + 1) for key, each in reversed(inner)]
        elif (known := number(value)) is not None:
            yield printable(name), known


def number(value: object) -> float | None:
    """A number, also one that JSON writers put as text: `NaN`, `Infinity`."""
    if type(value) in (int, float):
        try:
            return float(value)  # type: ignore[arg-type]
        except OverflowError:
            return None
    if isinstance(value, str) and value.strip("-+").lower() in ("nan", "inf", "infinity"):
        return float(value)
    return None


def instant(value: object) -> float | None:
    """Unix seconds; milliseconds, microseconds and nanoseconds are told by their size."""
    known = number(value)
    if known is None or not math.isfinite(known):
        return None
    while known > 1e11:
        known /= 1000
    return known if known > 0 and moment(known) else None


def bounds(points: Points) -> tuple[float | None, float | None]:
    """The first and the last time of all points; None where there is none."""
    times = [series.times for series in points.series.values() if len(series)]
    if not times:
        return None, None
    first, last = min(map(min, times)), max(map(max, times))
    return (first, last) if moment(first) and moment(last) else (None, None)


def texts(values: Iterable[object]) -> list[str]:
    """Tags: texts of at most so many characters, at most a hundred."""
    found = [printable(str(value)).strip()[:LONGEST_NAME] for value in values]
    return list(dict.fromkeys(text for text in found if text))[:100]
