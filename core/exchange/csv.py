"""Runs as CSV: what Keras' and Lightning's CSVLogger, TensorBoard and many scripts write.

A header names the columns. Three forms are read, the first is written:

    epoch,loss,val_loss               each other column of numbers is a series, empty cells are none
    Wall time,Step,Value              one series, called as the file is (TensorBoard's download)
    series,step,time,value            a point a row (`traindeck metrics --csv`)

A column that is called like a time (`time`, `timestamp`, `wall_time` …) gives the points' times
where it holds unix seconds or ISO dates; otherwise all points have the file's time of change.
Between semicolons a comma is decimal, but among the steps, where 1,000 may be a thousand.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from traindeck.core.base.files import reading
from traindeck.core.base.sanitize import printable
from traindeck.core.exchange.own import column
from traindeck.core.exchange.own import rows as logged
from traindeck.core.exchange.params import HPARAMS
from traindeck.core.exchange.plain_yaml import dump
from traindeck.core.exchange.printed.names import NOT_METRICS, STEP_RANK, step_of
from traindeck.core.exchange.runs import (
    LATEST_STEP,
    LONGEST_NAME,
    OutsideRun,
    Points,
    Unreadable,
    instant,
)
from traindeck.core.run.fractions import Fractions

METRICS = "metrics.csv"
MOST_COLUMNS = 5000
LONGEST_ROW = 1 << 20  # characters
TIMES = ("wall time", "wall_time", "time", "timestamp", "_timestamp", "datetime", "date")
NOT_SERIES = NOT_METRICS | {*TIMES, "", "unnamed: 0", "index", "relative time (process)"}
_THOUSANDS = re.compile(r"\s*\d{1,3},\d{3}\s*")
_COMMA = re.compile(r"^(\s*[-+]?\d+),(\d+(?:[eE][-+]?\d+)?\s*)$")

Row = list[str]


def claims(path: Path) -> bool:
    """Whether a CSV file is one of a training: its header has steps beside something else."""
    try:
        with reading(path) as file:
            head = file.read(1 << 16).partition(b"\n")[0]
    except OSError:
        return False
    first = head.decode("utf-8-sig", "replace")
    names = _names(next(csv.reader([first], delimiter=_separator(first)), []))
    return len(names) > 1 and _step_column(names) is not None


def read(path: Path, name: str = "") -> OutsideRun:
    """The run of one CSV file. Raises Unreadable, OSError."""
    run = OutsideRun("CSV", path, name or path.stem, Points(path))
    with io.TextIOWrapper(
        reading(path, follow=True), encoding="utf-8-sig", errors="replace", newline=""
    ) as lines:
        changed = os.fstat(lines.fileno()).st_mtime
        rows = _rows(path, lines)
        take(run, next(rows, []), rows, changed)
    return run


def take(run: OutsideRun, header: Row, rows: Iterable[Row], changed: float) -> None:
    """Add what a table says; points without a time have `changed`. Raises Unreadable."""
    path, names = run.place, _names(header)
    if not names:
        raise Unreadable(f"{path}: is empty")
    if len(names) > MOST_COLUMNS:
        raise Unreadable(f"{path}: its header has {len(names):,} columns; {MOST_COLUMNS:,} go")
    if {"series", "value"} <= set(names) and _step_column(names) is not None:
        _take_points(run, names, rows, changed)
    else:
        _take_columns(run, names, rows, changed)
    if not run.points.count:
        raise Unreadable(f"{path}: no column of numbers under a header with names")
    run.points.sort()


def _rows(path: Path, lines: TextIO) -> Iterator[Row]:
    first = lines.readline(LONGEST_ROW)
    separator = _separator(first)

    def bounded() -> Iterator[str]:
        yield first
        while line := lines.readline(LONGEST_ROW):
            if len(line) >= LONGEST_ROW:
                raise Unreadable(f"{path}: a line has more than {LONGEST_ROW:,} characters")
            yield line.replace("\0", "")

    if len(first) >= LONGEST_ROW:
        raise Unreadable(f"{path}: a line has more than {LONGEST_ROW:,} characters")
    reader = csv.reader(bounded(), delimiter=separator)
    try:
        yield from _with_points(reader) if separator == ";" else reader
    except csv.Error as error:
        raise Unreadable(f"{path}, line {reader.line_num}: {error}") from None


def _separator(header: str) -> str:
    return max(",;\t", key=header.count)


def _with_points(rows: Iterator[Row]) -> Iterator[Row]:
    """Rows whose decimal commas are points, as spreadsheets write them between semicolons.

    Not what may be thousands among the steps.
    """
    header = next(rows, [])
    yield header
    step = _step_column(_names(header))
    for row in rows:
        yield [
            cell if at == step and _THOUSANDS.fullmatch(cell) else _COMMA.sub(r"\1.\2", cell)
            for at, cell in enumerate(row)
        ]


def _names(row: Row) -> Row:
    names = [printable(name.strip())[:LONGEST_NAME] for name in row]
    lower = [name.lower() for name in names]
    known = (*TIMES, "value", "series")
    return [low if low in known else name for name, low in zip(names, lower, strict=True)]


def _step_column(names: Row) -> int | None:
    """The column that says best what the step is."""
    steps = [(STEP_RANK[word], place) for place, n in enumerate(names) if (word := step_of(n))]
    return min(steps)[1] if steps else None


def _time_column(names: Row) -> int | None:
    return next((names.index(word) for word in TIMES if word in names), None)


def _take_points(run: OutsideRun, names: Row, rows: Iterable[Row], changed: float) -> None:
    series, value, step = names.index("series"), names.index("value"), _step_column(names)
    when, add = _when(names, changed), run.points.add
    assert step is not None
    for row in rows:
        if len(row) != len(names) or (known := _number(row[value])) is None:
            continue
        if (at := _number(row[step])) is not None and at.is_integer():
            add(printable(row[series])[:LONGEST_NAME], when(row), int(at), known)


def _take_columns(run: OutsideRun, names: Row, rows: Iterable[Row], changed: float) -> None:
    step = _step_column(names)
    when = _when(names, changed)
    columns = [
        (place, name)
        for place, name in enumerate(names)
        if place != step and name.lower() not in NOT_SERIES
    ]
    if [name for _, name in columns] == ["value"]:
        columns = [(columns[0][0], run.name)]
    add, skipped, fractions = run.points.add, 0, Fractions()
    for number, row in enumerate(rows):
        at = number if step is None else _number(row[step]) if step < len(row) else None
        if at is None or len(row) > len(names) or not abs(at) < LATEST_STEP:
            skipped += bool(row)
            continue
        whole, more = fractions.whole(at, {})
        moment = when(row)
        for place, name in columns:
            if place < len(row) and (value := _number(row[place])) is not None:
                add(name, moment, whole, value)
        for name, value in more.items():
            add(name, moment, whole, value)
    if skipped:
        run.remarks.append(f"{skipped:,} rows left out: no step, or more cells than names")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _when(names: Row, changed: float) -> Callable[[Row], float]:
    """What gives a row's time."""
    column = _time_column(names)
    if column is None:
        return lambda row: changed

    def when(row: Row) -> float:
        return (time_of(row[column]) if column < len(row) else None) or changed

    return when


def time_of(text: str) -> float | None:
    """Unix seconds from a number or an ISO date, one without a zone being in UTC."""
    number = _number(text)
    if number is not None:
        return instant(number) if number > 1e8 else None
    try:
        parsed = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return instant((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp())


def write(folder: Path, run: OutsideRun) -> None:
    """A run as Lightning's CSVLogger has it: metrics.csv, and hparams.yaml. Raises OSError."""
    names = list(run.points.series)
    with (folder / METRICS).open("w", encoding="utf-8", errors="replace", newline="") as file:
        table = csv.writer(file)
        table.writerow(["step", "time", *map(column, names)])
        for step, when, values in logged(run):
            cells = (repr(values[name]) if name in values else "" for name in names)
            table.writerow([step, repr(when), *cells])
    (folder / HPARAMS).write_text(dump(run.params), encoding="utf-8", errors="replace")
