"""Runs as JSON lines: an object a line, its numbers metrics, nested names joined.

    {"step": 10, "time": 1732000000.5, "loss": 0.3, "val": {"acc": 0.9}}

The step is the first of `names.STEPS` that an object has, else the number of its line.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from traindeck.core.base.files import reading, write_json
from traindeck.core.exchange.csv import NOT_SERIES, TIMES, time_of
from traindeck.core.exchange.own import column, rows
from traindeck.core.exchange.params import PARAMS
from traindeck.core.exchange.printed.names import STEP_RANK, step_of
from traindeck.core.exchange.runs import (
    LATEST_STEP,
    LONGEST_NAME,
    OutsideRun,
    Points,
    Unreadable,
    numbers,
)
from traindeck.core.run.fractions import Fractions

METRICS = "metrics.jsonl"
LONGEST_LINE = 4 << 20


def claims(path: Path) -> bool:
    """Whether the first line of a file is an object."""
    try:
        with reading(path) as file:
            return isinstance(_object(file.readline(LONGEST_LINE)), dict)
    except OSError:
        return False


def read(path: Path, name: str = "") -> OutsideRun:
    """The run of one file of JSON lines. Raises Unreadable, OSError."""
    run = OutsideRun("JSON lines", path, name or path.stem, Points(path))
    with reading(path, follow=True) as file:
        changed = os.fstat(file.fileno()).st_mtime
        torn, fractions = 0, Fractions()
        for number, line in enumerate(_lines(path, file.readline)):
            found = _object(line)
            if found is None:
                torn += bool(line.strip())
            else:
                take(run, found, number, changed, fractions)
    if torn:
        run.remarks.append(f"{torn:,} lines left out: no JSON object")
    if not run.points.count:
        raise Unreadable(f"{path}: no line holds a JSON object with a number")
    run.points.sort()
    return run


def take(
    run: OutsideRun, found: dict[str, Any], number: int, changed: float, fractions: Fractions
) -> None:
    """Add what one object says, its number the step where it has none."""
    steps = [(STEP_RANK[word], name) for name in found if (word := step_of(name, strict=True))]
    at, own = float(number), ""
    for _, name in sorted(steps):
        value = found[name]
        if type(value) in (int, float) and abs(value) < LATEST_STEP:
            at, own = float(value), name
            break
    step, more = fractions.whole(at, {})
    times = (time_of(str(found[key])) for key in TIMES if key in found)
    when = next(filter(None, times), changed)
    values = [(n, value) for n, value in numbers(found) if n != own and n not in NOT_SERIES]
    for name, value in [*values, *more.items()]:
        run.points.add(name[:LONGEST_NAME], when, step, value)


def _lines(path: Path, readline: Callable[[int], bytes]) -> Iterator[bytes]:
    while line := readline(LONGEST_LINE):
        if len(line) >= LONGEST_LINE:
            raise Unreadable(f"{path}: a line has more than {LONGEST_LINE:,} bytes")
        yield line


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def write(folder: Path, run: OutsideRun) -> None:
    """A run as metrics.jsonl and params.json. NaN and infinities are texts. Raises OSError."""
    with (folder / METRICS).open("w", encoding="utf-8", errors="replace") as file:
        for step, when, values in rows(run):
            said: dict[str, Any] = {"step": step, "time": when}
            said |= {column(name): _json(value) for name, value in values.items()}
            file.write(json.dumps(said, ensure_ascii=False) + "\n")
    write_json(folder / PARAMS, run.params)


def _json(value: float) -> Any:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
