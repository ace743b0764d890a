"""Metrics of commands that know nothing of traindeck: TensorBoard files and printed JSON lines."""

from __future__ import annotations

import contextlib
import math
import os
import time
from pathlib import Path

from traindeck.core.base.ids import is_id
from traindeck.core.base.process import start_ticks
from traindeck.core.devices.proctree import descendants
from traindeck.core.run import events
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.follow import Tail
from traindeck.core.run.points import PROGRESS, PointWriter, summarize
from traindeck.core.run.spec import Spec
from traindeck.core.run.state import ENDED, boottime

READ_BYTES = 1 << 20
LOOK_SECONDS = 0.5
NEWEST = 1000  # runs: of older ones none is asked whether it shares our folder
MAX_SERIES = 20_000  # names made anew at each step would fill disk and memory
FARTHEST = 1 << 62  # of a step from 0


class Intake:
    """Turns what a bare command writes into points; recipes log themselves.

    After an adoption all is read anew, for what came while nobody watched; points up to the step
    that each series had reached are then left out.
    """

    def __init__(self, folder: Path, spec: Spec, root: int, child: int) -> None:
        self._writer: PointWriter | None = None
        if not spec["follow"]:
            return
        from traindeck.core.exchange.printed import StdoutMetrics
        from traindeck.core.exchange.tensorboard.events import EventTree

        with contextlib.suppress(OSError):
            self._writer = PointWriter(folder)
        self._reached = {name: series["step"] for name, series in summarize(folder).items()}
        self._names = set(self._reached)
        self._full = False
        self._folder = folder
        self._root = root
        self._printed = StdoutMetrics()
        self._log = Tail(folder / "output.log")
        self._cwd = Path(spec["cwd"])
        self._started = float(spec.get("started") or spec["created"])
        self._ours = {child}
        self._foreign: set[Path] = set()
        self._shared = False
        self._look_at = 0.0
        since = self._started
        started = spec.get("started_boottime")
        if started is not None:  # by today's clock, if it was set back while nobody watched
            since = min(since, time.time() - (boottime() - started))
        self._tree = EventTree(self._cwd, since=since, accept=self._is_ours)

    def take(self) -> bool:
        """One round of reading within a budget; True when there is more at once."""
        if self._writer is None:
            return False
        self._look_around()
        data, _ = self._log.read(READ_BYTES)
        for step, name, value in self._printed.feed(data):
            self._add(step, name, value)
        for when, step, name, value in self._tree.read(READ_BYTES):
            self._add(step, name, value, when)
        while self._tree.problems:
            self._note(self._tree.problems.pop())
        with contextlib.suppress(OSError):
            self._writer.flush()
        return len(data) == READ_BYTES or self._tree.behind

    def close(self) -> None:
        """Read what is left: the files that came last, the line without an end."""
        if self._writer is None:
            return
        self._tree.look()
        while self.take():
            pass
        for step, name, value in self._printed.finish():
            self._add(step, name, value)
        with contextlib.suppress(OSError):
            self._writer.close()

    def _add(self, step: int, name: str, value: float, when: float | None = None) -> None:
        assert self._writer is not None
        if abs(step) > FARTHEST:
            return
        name = f"{name}_" if name == PROGRESS else name  # the plain name is not for foreign values
        if name not in self._names:
            if len(self._names) >= MAX_SERIES:
                self._tell_full()
                return
            self._names.add(name)
        if name in self._reached:
            if step <= self._reached[name]:
                return
            del self._reached[name]
        with contextlib.suppress(OSError):
            self._writer.add(step, {name: value}, when)

    def _tell_full(self) -> None:
        if not self._full:
            self._full = True
            self._note(f"more than {MAX_SERIES} series: others are not recorded")

    def _note(self, text: str) -> None:
        with contextlib.suppress(OSError):
            events.append(self._folder / "events.jsonl", "note", text=text)

    def _look_around(self) -> None:
        """Remember which processes are ours, for when a file of theirs is found."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            ours = descendants(os.getpid())
            if self._root not in ours:  # taken over, or its keeper was killed
                ours += [self._root, *descendants(self._root)]
            self._ours.update(ours)

    def _is_ours(self, path: Path) -> bool:
        """Whether an event file was not written by another run in the same folder.

        Its name tells its writer's pid. Ours are the processes that were seen below the run; one
        that lives and is none of them is somebody else's, and so is its file for good. A writer
        that ended unseen may have been ours, if no other run worked in the folder meanwhile.
        """
        from traindeck.core.exchange.tensorboard.events import writer_pid

        if path in self._foreign:
            return False
        pid = writer_pid(path)
        if pid is None or pid in self._ours:
            return True
        self._look_at = 0.0
        self._look_around()
        if pid in self._ours or (start_ticks(pid) is None and not self._is_shared()):
            return True
        self._foreign.add(path)
        return False

    def _is_shared(self) -> bool:
        """Whether another of the home's newest runs has worked in our folder since we began."""
        if not self._shared:
            runs = self._folder.parent
            newest = sorted((name for name in os.listdir(runs) if is_id(name)), reverse=True)
            others = (
                RunFolder(runs / name) for name in newest[:NEWEST] if name != self._folder.name
            )
            self._shared = any(self._meets(run) for run in others)
        return self._shared

    def _meets(self, other: RunFolder) -> bool:
        spec = other.spec()
        if spec is None:
            return False
        ended = (spec.get("ended") or 0.0) if spec["state"] in ENDED else math.inf
        theirs, ours = Path(spec["cwd"]), self._cwd
        same = theirs.is_relative_to(ours) or ours.is_relative_to(theirs)
        return same and ended >= self._started
