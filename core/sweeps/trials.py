"""What came of a sweep's trials, as its runs' folders tell it."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from traindeck.core.base.files import read_json
from traindeck.core.base.format import counted
from traindeck.core.base.home import Home
from traindeck.core.base.ids import is_id
from traindeck.core.base.nearest import nearest
from traindeck.core.engines.choose import verdict
from traindeck.core.privacy.telemetry import is_private
from traindeck.core.run import events
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.points import PROGRESS, read_names, read_points
from traindeck.core.run.state import LIVE, UNREACHABLE
from traindeck.core.sweeps.study import Design

PRUNED_EVENT = "pruned"
COMPLETE, RUNNING, WAITING, PRUNED, STOPPED, FAILED, LOST = (
    "complete",
    "running",
    "waiting",
    "pruned",
    "stopped",
    "failed",
    "lost",
)
MOST_ATTEMPTS = 5
"""Runs of one trial that something killed: then it has failed, since it is likely the cause."""
MOST_NAMES = 5
"""Series that a trial has which are named where it lacks the one that is sought."""
MOST_REPORTS = 1000
"""Values of a curve that are kept to compare trials by."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of a trial.

    part     which of its repeats, from 0
    state    complete, running, waiting, pruned, stopped, failed or lost
    value    the last of the series; None where there is none
    reports  the series' values in order, at most MOST_REPORTS
    created  unix seconds
    lacks    whether it finished and has no series of that name at all
    """

    run: str
    trial: int
    part: int
    values: Mapping[str, Any]
    state: str
    reason: str
    value: float | None
    reports: tuple[float, ...]
    created: float
    lacks: bool = False

    @property
    def live(self) -> bool:
        return self.state in (RUNNING, WAITING)


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial: its last attempt at each of its repeats.

    value   the mean of its repeats' last values, once all are complete
    spread  their standard deviation; None for fewer than two
    """

    number: int
    values: Mapping[str, Any]
    state: str
    reason: str
    value: float | None
    spread: float | None
    attempts: tuple[Attempt, ...]
    runs: int = field(default=1)

    @property
    def reports(self) -> tuple[float, ...]:
        """The curve of its first repeat."""
        return self.attempts[0].reports if self.attempts[0].part == 0 else ()

    @property
    def last(self) -> float | None:
        """Its value, or the last that was heard of it."""
        if self.value is not None:
            return self.value
        known = [a.value for a in self.attempts if a.value is not None]
        return known[-1] if known else None


class Runs:
    """The runs of one sweep; each `update` reads what is new and what goes on."""

    def __init__(self, home: Home, design: Design) -> None:
        self._home = home
        self._design = design
        self._others: set[str] = set()
        self._ours: dict[str, dict[str, Any]] = {}
        self._ended: dict[str, Attempt] = {}
        self._live: dict[str, tuple[object, Attempt]] = {}

    def update(self) -> list[Attempt]:
        """Every run of the sweep, oldest first."""
        there = set()
        try:
            names = os.listdir(self._home.runs)
        except OSError:
            names = []
        for name in names:
            if name in self._others or not is_id(name):
                continue
            there.add(name)
            if name not in self._ours:
                self._look(name)
        for gone in self._ours.keys() - there:
            del self._ours[gone]
            self._ended.pop(gone, None)
        return [self._attempt(name) for name in sorted(self._ours)]

    def _look(self, name: str) -> None:
        folder = self._home.runs / name
        spec = read_json(folder / "run.json")
        if spec is None:
            return  # just being made, or damaged: looked at again
        place: Any = spec.get("sweep")
        if _is_place(place) and place["id"] == self._design.id:
            self._ours[name] = {**place, "created": spec.get("created", 0.0)}
        else:
            self._others.add(name)

    def _attempt(self, name: str) -> Attempt:
        if name in self._ended:
            return self._ended[name]
        folder = self._home.runs / name
        run = RunFolder(folder)
        known = verdict(run)
        marks = (known.state, _size(folder / "points.bin"))
        before = self._live.get(name)
        if before and before[0] == marks:
            return before[1]
        one = read_attempt(self._design, name, folder, self._ours[name])
        if one.live:
            self._live[name] = (marks, one)
        elif "state" in (run.exit() or {}):  # what is recorded stays so
            self._ended[name] = one
            self._live.pop(name, None)
        return one


def read_attempt(design: Design, name: str, folder: Path, place: Mapping[str, Any]) -> Attempt:
    """What is known of one run of a sweep."""
    known = verdict(RunFolder(folder))
    series = read_points(folder, (design.series,)).get(design.series, [])
    values = [value for _, _, value in series]
    last = values[-1] if values and math.isfinite(values[-1]) else None
    state, reason = _outcome(design, folder, known.state, known.reason, last)
    return Attempt(
        run=name,
        trial=place["trial"],
        part=place["part"],
        values=place["values"],
        state=state,
        reason=reason,
        value=last,
        reports=tuple(values[:MOST_REPORTS]),
        created=float(place["created"]),
        lacks=known.state == "finished" and design.series not in read_names(folder),
    )


def _outcome(
    design: Design, folder: Path, state: str, reason: str, value: float | None
) -> tuple[str, str]:
    """What a run's state means for its trial."""
    if state in LIVE or state == UNREACHABLE:
        waiting = state in ("queued", "starting")
        return (WAITING if waiting else RUNNING), reason
    if state == "finished":
        if value is None:
            why = f"it finished without a value of {design.series}"
            return FAILED, why + _nearest(design.series, read_names(folder))
        return COMPLETE, ""
    if state == "stopped" or (state in ("killed", "lost") and "after the stop" in reason):
        pruned = events.last(folder / "events.jsonl", PRUNED_EVENT)
        return (PRUNED, str(pruned.get("text", ""))) if pruned else (STOPPED, reason)
    if state in ("killed", "lost") and not reason.startswith("killed on request"):
        return LOST, reason
    return FAILED, f"{state}: {reason}" if state != "failed" else reason


def _nearest(series: str, names: Sequence[str]) -> str:
    """Which of the names was likely meant, in words; where none is alike, the first of them."""
    if series in names:
        return ""
    names = [name for name in names if name != PROGRESS and not is_private(name)]
    told = nearest(series, names)[:1] or names[:MOST_NAMES]
    more = len(names) - len(told)
    others = f" and {counted(more, 'other')}" if more else ""
    return f"; it has {', '.join(told)}{others}" if told else ""


def trials(design: Design, attempts: list[Attempt]) -> list[Trial]:
    """The trials that these runs are of, by number."""
    runs: dict[int, list[Attempt]] = {}
    for one in attempts:
        runs.setdefault(one.trial, []).append(one)
    return [_trial(design, number, runs[number]) for number in sorted(runs)]


def _trial(design: Design, number: int, runs: list[Attempt]) -> Trial:
    last: dict[int, Attempt] = {}
    for one in runs:  # oldest first
        last[one.part] = one
    parts = tuple(last[part] for part in sorted(last))
    state, reason = _together(design, parts)
    values = [one.value for one in parts if one.value is not None]
    complete = state == COMPLETE
    return Trial(
        number=number,
        values=parts[0].values,
        state=state,
        reason=reason,
        value=statistics.fmean(values) if complete else None,
        spread=statistics.stdev(values) if complete and len(values) > 1 else None,
        attempts=parts,
        runs=len(runs),
    )


def _together(design: Design, parts: tuple[Attempt, ...]) -> tuple[str, str]:
    """The state of a trial whose repeats are in these."""
    for state in (FAILED, PRUNED, STOPPED, LOST, RUNNING, WAITING):
        found = [one for one in parts if one.state == state]
        if found:
            return state, found[0].reason
    return (COMPLETE, "") if len(parts) >= design.seeds else (RUNNING, "")


def unfinished(design: Design, attempts: list[Attempt]) -> list[tuple[int, int, Mapping[str, Any]]]:
    """What is still to be run of trials that were begun: number, repeat, values.

    Repeats of a trial follow its first one, and only where that was complete.
    """
    left = []
    runs: dict[int, dict[int, list[Attempt]]] = {}
    for one in attempts:
        runs.setdefault(one.trial, {}).setdefault(one.part, []).append(one)
    for number, parts in sorted(runs.items()):
        values = next(iter(parts.values()))[0].values
        for part in range(design.seeds):
            tried = parts.get(part, [])
            if not tried or _again(design, tried):
                left.append((number, part, values))
            if part == 0 and not (tried and tried[-1].state == COMPLETE):
                break
            if tried and tried[-1].state == FAILED and not _again(design, tried):
                break
    return left


def _again(design: Design, tried: list[Attempt]) -> bool:
    last = tried[-1]
    if last.state == LOST:
        lost = sum(one.state == LOST and one.created > design.again for one in tried)
        return lost < MOST_ATTEMPTS
    if last.state == STOPPED:
        return last.created < design.again
    return last.state == FAILED and last.created < design.failed


def best(design: Design, done: list[Trial]) -> Trial | None:
    """The best complete trial, the first of equals."""
    complete = [one for one in done if one.value is not None]
    sign = -1.0 if design.maximize else 1.0
    return min(complete, key=lambda one: sign * float(one.value or 0.0), default=None)


def _is_place(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("id"), str)
        and isinstance(value.get("trial"), int)
        and isinstance(value.get("part"), int)
        and isinstance(value.get("values"), dict)
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
