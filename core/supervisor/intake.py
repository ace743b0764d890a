"""Metrics of commands that know nothing of traindeck: TensorBoard files and printed JSON lines."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from traindeck.core.follow import Tail
from traindeck.core.points import PointWriter

READ_BYTES = 1 << 20


class Intake:
    """Turns what a bare command writes into points; recipes log themselves."""

    def __init__(self, folder: Path, spec: dict[str, Any]) -> None:
        self._writer: PointWriter | None = None
        if not spec["follow"]:
            return
        from traindeck.core.stdout_metrics import StdoutMetrics
        from traindeck.core.tfevents import EventTree

        with contextlib.suppress(OSError):
            self._writer = PointWriter(folder)
        self._printed = StdoutMetrics()
        self._log = Tail(folder / "output.log")
        self._tree = EventTree(Path(spec["cwd"]), since=spec["started"])

    def take(self) -> bool:
        """One round of reading within a budget; True when there may be more at once."""
        if self._writer is None:
            return False
        data, _ = self._log.read(READ_BYTES)
        for step, name, value in self._printed.feed(data):
            self._add(step, name, value)
        found = self._tree.read(READ_BYTES)
        for _, step, name, value in found:
            self._add(step, name, value)
        with contextlib.suppress(OSError):
            self._writer.flush()
        return len(data) == READ_BYTES or bool(found)

    def close(self) -> None:
        """Read what is left."""
        while self.take():
            pass

    def _add(self, step: int, name: str, value: float) -> None:
        assert self._writer is not None
        with contextlib.suppress(OSError):
            self._writer.add(step, {name: value})
