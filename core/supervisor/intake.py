"""Metrics of commands that know nothing of traindeck: TensorBoard files and printed JSON lines."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from traindeck.core import events
from traindeck.core.devices.proctree import descendants
from traindeck.core.follow import Tail
from traindeck.core.points import PROGRESS, PointWriter, summarize
from traindeck.core.procident import start_ticks

READ_BYTES = 1 << 20
MAX_SERIES = 20_000  # names made anew at each step would fill disk and memory


class Intake:
    """Turns what a bare command writes into points; recipes log themselves.

    After an adoption all is read anew, for what came while nobody watched; points up to the step
    that each series had reached are then left out.
    """

    def __init__(self, folder: Path, spec: dict[str, Any], root: int) -> None:
        self._writer: PointWriter | None = None
        if not spec["follow"]:
            return
        from traindeck.core.stdout_metrics import StdoutMetrics
        from traindeck.core.tfevents import EventTree

        with contextlib.suppress(OSError):
            self._writer = PointWriter(folder)
        self._reached = {name: found["step"] for name, found in summarize(folder).items()}
        self._names = set(self._reached)
        self._full = False
        self._folder = folder
        self._root = root
        self._printed = StdoutMetrics()
        self._log = Tail(folder / "output.log")
        self._tree = EventTree(Path(spec["cwd"]), since=spec["started"], accept=self._is_ours)

    def take(self) -> bool:
        """One round of reading within a budget; True when there is more at once."""
        if self._writer is None:
            return False
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

    def _is_ours(self, path: Path) -> bool:
        """Whether an event file was not written by another run in the same folder."""
        from traindeck.core.tfevents import writer_pid

        pid = writer_pid(path)
        return pid is None or start_ticks(pid) is None or pid in descendants(self._root)
