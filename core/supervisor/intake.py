"""Metrics of commands that know nothing of traindeck: prints, TensorBoard files and CSV files."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from traindeck.core.base.errors import TraindeckError
from traindeck.core.run import events
from traindeck.core.run.follow import Tail
from traindeck.core.run.points import PROGRESS, PointWriter, read_names, read_points, summarize
from traindeck.core.run.spec import Spec
from traindeck.core.run.state import boottime
from traindeck.core.supervisor.naming import Naming
from traindeck.core.supervisor.ownership import Ownership
from traindeck.core.supervisor.twins import are_twins

if TYPE_CHECKING:
    from traindeck.core.exchange.csvlog import CsvLog
    from traindeck.core.exchange.merging import Merged
    from traindeck.core.exchange.tensorboard.scalars import Rest
    from traindeck.core.supervisor.viewing import Viewing

READ_BYTES = 1 << 20
MAX_SERIES = 20_000  # names made anew at each step would fill disk and memory
MAX_LEFT_OUT = 20  # files that are told of
LAST_READ_SECONDS = 5.0  # of what a run left, before its end is recorded
FARTHEST = 1 << 62  # of a step from 0
SILENT_LINES = 50
HINT = (
    "no metrics found in {lines} lines so far; `traindeck parse {run}` shows what is understood"
    " of them and why, and `--parse REGEX` adds what is not"
)
"""The event's text of a run that prints much and none of it is understood."""


class Intake:
    """Turns what a run writes into points, unless it logs by itself.

    After an adoption all is read anew, for what came while nobody watched; points up to the step
    that each series had reached are then left out.
    """

    def __init__(self, folder: Path, spec: Spec, root: int, child: int) -> None:
        self._writer: PointWriter | None = None
        if not spec["follow"]:
            return
        from traindeck.core.exchange.printed.names import epochs
        from traindeck.core.exchange.printed.patterns import Pattern
        from traindeck.core.exchange.printed.reader import StdoutMetrics
        from traindeck.core.exchange.tensorboard.events import EventTree

        with contextlib.suppress(OSError):
            self._writer = PointWriter(folder)
        self._reached = {name: series["step"] for name, series in summarize(folder).items()}
        self._naming = Naming(self._reached)
        self._full = False
        self._folder = folder
        patterns: list[Pattern] = []
        for text in spec.get("parse") or ():
            try:
                patterns.append(Pattern(text))
            except TraindeckError as error:
                self._note(str(error))
        self._printed = StdoutMetrics(tuple(patterns), epochs(spec.get("params") or {}))
        self._progress: tuple[int, int] | None = None
        self._log = Tail(folder / "output.log")
        self._lines = 0
        self._doubled_told = False
        self._ready: dict[str, str] = {}
        """What printed series are stored as of which nothing is left out any more."""
        self._met: set[tuple[str, str]] = set()
        """The kinds of writers' series that were compared with the others' of the same name."""
        self._found = bool(self._reached)
        self._logs_itself = False
        started = float(spec.get("started") or spec["created"])
        self._owners = Ownership(folder, Path(spec["cwd"]), started, root, child)
        self._left_out: set[Path] = set()
        self._merged: dict[str, Merged] = {}
        self._tables: dict[str, CsvLog] = {}
        since = started
        boot = spec.get("started_boottime")
        if boot is not None:  # by today's clock, if it was set back while nobody watched
            since = min(since, time.time() - (boottime() - boot))
        self._tree = EventTree(Path(spec["cwd"]), since=since, accept=self._is_ours, rest=[])
        self._viewing: Viewing | None = None
        self._private = spec.get("privacy", "none") != "none"

    def take(self) -> bool:
        """One round of reading within a budget; True when there is more at once."""
        if self._writer is None:
            return False
        self._owners.look_around()
        data, _ = self._log.read(READ_BYTES)
        self._take_printed(data)
        self._take_files()
        while self._tree.problems:
            self._note(self._tree.problems.pop())
        with contextlib.suppress(OSError):
            self._writer.flush()
        behind = self._tree.behind or any(table.behind for table in self._tables.values())
        return len(data) == READ_BYTES or behind

    def end(
        self, listen: Callable[[], None], asked: Callable[[], str], *, well: bool = False
    ) -> Callable[[], None] | None:
        """Read what a run left, for some seconds: no long log holds its end up.

        `well`: it exited with 0, and nobody had asked it to end. Listens between the rounds, and
        ends at once when the run is asked to be killed. Returns what reads the rest, if there is
        any.
        """
        if self._writer is not None:
            until = time.monotonic() + LAST_READ_SECONDS
            self._tree.look()
            while self.take():
                listen()
                if time.monotonic() > until or asked() in ("kill", "force"):
                    return partial(self.close, well=well)
        self.close(well=well)
        return None

    def close(self, *, well: bool = False) -> None:
        """Read what is left: the files that came last, the line without an end."""
        if self._writer is None:
            return
        self._tree.look()
        while self.take():
            pass
        self._add("printed", [(None, *metric) for metric in self._printed.finish(well=well)])
        if not self._logs_itself:
            self._tell_progress(time.time())
        with contextlib.suppress(OSError):
            self._writer.close()
        if not self._found and self._lines:
            self._hint()

    def _take_printed(self, data: bytes) -> None:
        if not data:
            return
        silent = self._lines < SILENT_LINES
        self._lines += data.count(b"\n")
        if not self._logs_itself:
            self._logs_itself = self._naming.others(read_names(self._folder))
            self._found = self._found or self._logs_itself
        if self._logs_itself:  # what it prints besides is for people
            return
        now = time.time()
        self._add_printed(now, self._printed.feed(data))
        self._tell_doubled()
        self._tell_progress(now)
        if silent and self._lines >= SILENT_LINES and not self._found:
            self._hint()

    def _tell_progress(self, now: float) -> None:
        if self._printed.progress != self._progress and self._printed.progress is not None:
            self._progress = self._printed.progress
            done, total = self._progress
            self._write([(now, done, PROGRESS, float(total))])

    def _take_files(self) -> None:
        for path, points in self._tree.read_files(READ_BYTES):
            series: dict[str, list[tuple[float, int, float]]] = {}
            for when, step, name, value in points:
                series.setdefault(name, []).append((when, step, value))
            for name, found in series.items():
                self._merge(path, name, found)
        if self._tree.rest:
            self._view(self._tree.rest)
        for path_text, before in self._tree.tables.items():
            if path_text not in self._tables:
                from traindeck.core.exchange.csvlog import CsvLog

                self._tables[path_text] = CsvLog(Path(path_text), before)
                self._owners.notice(Path(path_text))
        now = time.time()
        for table in self._tables.values():
            rows = table.read()
            if rows and self._owns_table(table.path):
                self._add(table.path.stem, [(now, *row) for row in rows])

    def _view(self, rest: list[Rest]) -> None:
        """Keep the pictures, histograms and texts of event files."""
        if self._viewing is None:
            from traindeck.core.supervisor.viewing import Viewing

            self._viewing = Viewing(self._folder, self._private)
        told = self._viewing.problem
        self._viewing.take(rest)
        rest.clear()
        if self._viewing.problem != told:
            self._note(self._viewing.problem)

    def _merge(self, path: Path, name: str, points: Sequence[tuple[float, int, float]]) -> None:
        from traindeck.core.exchange.merging import Merged

        merged = self._merged.get(name)
        if merged is None:
            merged = self._merged[name] = Merged(path, partial(self._written, name))
        known = merged.conflict
        new = merged.take(path, points)
        self._add("events", [(when, step, name, value) for when, step, value in new])
        if merged.conflict is not None and known is None:
            self._note(
                f"{name}: several event files have step {merged.conflict} with other values;"
                " of such steps the first file's are kept"
            )

    def _written(self, name: str) -> list[tuple[float, int, float]]:
        """A series of event files as it was written so far."""
        return self._stored_as(self._naming.name("events", name))

    def _stored_as(self, stored: str) -> list[tuple[float, int, float]]:
        assert self._writer is not None
        with contextlib.suppress(OSError):
            self._writer.flush()
        return read_points(self._folder, {stored}).get(stored, [])

    def _add_printed(self, now: float, metrics: Sequence[tuple[int, str, float]]) -> None:
        ready = self._ready
        if metrics and abs(max(metrics)[0]) <= FARTHEST and {m[1] for m in metrics} <= ready.keys():
            self._write([(now, step, ready[name], value) for step, name, value in metrics])
            return
        self._add("printed", [(now, *metric) for metric in metrics])
        for name in {metric[1] for metric in metrics}:
            stored = self._naming.name("printed", name)
            if stored in self._naming and stored not in self._reached:
                ready[name] = stored

    def _add(self, kind: str, points: Sequence[tuple[float | None, int, str, float]]) -> None:
        new: list[tuple[float, int, str, float]] = []
        now = time.time()
        self._look_for_twins(kind, points)
        for when, step, name, value in points:
            if abs(step) > FARTHEST or (value == -1 and name == "hp_metric"):
                continue  # Lightning's stand-in for a metric that nobody named
            stored = self._naming.name(kind, name)
            if not stored:
                continue
            if stored not in self._naming:
                if len(self._naming) >= MAX_SERIES:
                    self._tell_full()
                    continue
                self._naming.add(stored)
            if stored in self._reached:
                if step <= self._reached[stored]:
                    continue
                del self._reached[stored]
            new.append((now if when is None else when, step, stored, value))
        if new:
            self._found = True
            self._write(new)
        for told in self._naming.told():
            self._note(told)

    def _look_for_twins(
        self, kind: str, points: Sequence[tuple[float | None, int, str, float]]
    ) -> None:
        """Of a series that is printed and is in a file too, the file's is kept: it is exact."""
        fresh: dict[str, list[tuple[int, float]]] = {}
        for _, step, name, value in points:
            if (kind, name) not in self._met:
                fresh.setdefault(name, []).append((step, value))
        for name, here in fresh.items():
            self._met.add((kind, name))
            owner = self._naming.owner(name)
            if owner in (None, kind) or "printed" not in (owner, kind):
                continue
            there = [
                (step, value) for _, step, value in self._stored_as(self._naming.name(owner, name))
            ]
            printed, written = (there, here) if owner == "printed" else (here, there)
            if not there or not are_twins((v for _, v in printed), (v for _, v in written)):
                continue
            # Points of lower steps replace what lies beyond them, so nothing printed stays.
            if owner != "printed" or min(written)[0] <= min(printed)[0]:
                self._naming.leave_out("printed", name, owner if kind == "printed" else kind)
                self._ready.pop(name, None)

    def _write(self, points: Sequence[tuple[float, int, str, float]]) -> None:
        assert self._writer is not None
        with contextlib.suppress(OSError):
            self._writer.add_all(points)

    def _tell_full(self) -> None:
        if not self._full:
            self._full = True
            self._note(f"more than {MAX_SERIES} series: others are not recorded")

    def _tell_doubled(self) -> None:
        if self._printed.doubled is not None and not self._doubled_told:
            self._doubled_told = True
            step, name = self._printed.doubled
            self._note(
                f"{name} of step {step} was printed more than once, as ranks that do not name"
                " themselves do: of each step the first is kept"
            )

    def _hint(self) -> None:
        self._note(HINT.format(lines=self._lines, run=self._folder.name))

    def _note(self, text: str) -> None:
        with contextlib.suppress(OSError):
            events.append(self._folder / "events.jsonl", "note", text=text)

    def _is_ours(self, path: Path) -> bool:
        """Whether an event file is the run's; what is left out is told once."""
        from traindeck.core.exchange.tensorboard.origin import begun, writer_pid

        return self._owns(path, writer_pid(path), begun(path))

    def _owns_table(self, path: Path) -> bool:
        return self._owns(path, None, None)

    def _owns(self, path: Path, writer: int | None, begun: float | None) -> bool:
        why = self._owners.why_not(path, writer, begun)
        if why and path not in self._left_out:
            self._left_out.add(path)
            if len(self._left_out) < MAX_LEFT_OUT:
                self._note(f"{path} is left out: {why}")
            elif len(self._left_out) == MAX_LEFT_OUT:
                self._note("more files are left out; they are not told of")
        return not why
