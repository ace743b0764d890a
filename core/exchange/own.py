"""Runs of ours as other tools are to have them, and where what is written for these lies."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from traindeck.core.exchange.runs import OutsideRun, Points
from traindeck.core.run.points import read_points

TOOL = "traindeck"
Row = tuple[int, float, dict[str, float]]
"""Step, unix time, and the values that were logged together."""

_TAKEN = frozenset(("step", "time"))
_ODD = re.compile(r"[^A-Za-z0-9_.-]+")


def points_of(folder: Path, series: Iterable[str]) -> Points:
    """The points of some series of a run of ours, as they stand."""
    points = Points(folder)
    for name, known in read_points(folder, list(series)).items():
        own = points.named(name)
        for when, step, value in known:
            own.add(when, step, value)
    points.count = sum(map(len, points.series.values()))
    return points


def rows(run: OutsideRun) -> Iterator[Row]:
    """All points by their step, those of one step and time together."""
    found: dict[tuple[int, float], list[dict[str, float]]] = {}
    for name, series in run.points.series.items():
        for when, step, value in series:
            alike = found.setdefault((step, when), [{}])
            if name in alike[-1]:
                alike.append({})
            alike[-1][name] = value
    for step, when in sorted(found):
        for values in found[step, when]:
            yield step, when, values


def column(name: str) -> str:
    """What a series is called in a table, which has columns of its own for step and time."""
    return f"series/{name}" if name in _TAKEN else name


def folder_name(run: OutsideRun) -> str:
    """A folder's name that tells people whose it is, and differs from run to run."""
    said = _ODD.sub("_", run.name)[:60].strip("._-")
    return f"{said}-{run.part}" if said else run.part


def put(into: Path, name: str, write: Callable[[Path], None]) -> Path:
    """Have a folder's files written aside and then moved to their place, each in one step.

    What lies there under other names stays. Raises OSError; then nothing has been moved.
    """
    into.mkdir(parents=True, exist_ok=True)
    aside = into / f".{name}.{os.getpid()}"
    try:
        aside.mkdir()
        write(aside)
        place = into / name
        place.mkdir(exist_ok=True)
        for path in sorted(aside.iterdir()):
            path.replace(place / path.name)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return place


def swap(into: Path, name: str, write: Callable[[Path], None]) -> Path:
    """Have a whole folder written aside, which then takes the place of the one before.

    Raises OSError; then the one before still stands.
    """
    into.mkdir(parents=True, exist_ok=True)
    aside, place = into / f".{name}.{os.getpid()}", into / name
    try:
        (aside / "new").mkdir(parents=True)
        write(aside / "new")
        if place.exists():
            place.replace(aside / "before")
        (aside / "new").replace(place)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return place
