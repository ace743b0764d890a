"""CSV files that grow: what Lightning's CSVLogger, Keras' CSVLogger and many scripts write.

A file counts if its header has a step or an epoch and some other name. Each other column of numbers
is a series; empty cells are none. A file whose header changes was written anew and is read again:
points up to the step that a series had reached are then left out.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

from traindeck.core.base.sanitize import printable
from traindeck.core.exchange.printed.names import NOT_METRICS, STEP_RANK, step_of
from traindeck.core.exchange.printed.plan import Metric

MAX_HEADER = 1 << 16  # bytes
MAX_COLUMNS = 500


class CsvLog:
    """One CSV file that may still grow; of one that was there before, what is added to it."""

    def __init__(self, path: Path, before: int = 0) -> None:
        self.path = path
        self.behind = False
        self._offset = before
        self._seen = (0, 0)
        self._header = b""
        self._columns: list[str] = []
        self._step: int | None = None
        self._epoch: int | None = None
        self._reached: dict[str, int] = {}
        self._rows = 0

    def read(self, max_bytes: int = 1 << 18) -> list[Metric]:
        """The points of the whole rows that were added since. Raises nothing."""
        try:
            file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            self.behind = False
            return []
        try:
            info = os.fstat(file)
            if (info.st_size, info.st_mtime_ns) == self._seen and not self.behind:
                return []
            data = self._new(file, info.st_size, max_bytes)
            self._seen = (info.st_size, info.st_mtime_ns)
            self.behind = len(data) == max_bytes
        except OSError:
            return []
        finally:
            os.close(file)
        whole = data.rfind(b"\n") + 1
        self._offset += whole
        return self._points(data[:whole].decode("utf-8", "replace")) if whole else []

    def _new(self, file: int, size: int, max_bytes: int) -> bytes:
        head = os.pread(file, MAX_HEADER, 0)
        header = head[: head.find(b"\n") + 1]
        if not header:
            return b""
        if header != self._header or size < self._offset:
            again = bool(self._header) or size < self._offset
            self._header = header
            self._learn(next(csv.reader([header.decode("utf-8-sig", "replace")]), []))
            self._offset = len(header) if again else max(self._offset, len(header))
        return os.pread(file, max_bytes, self._offset) if self._columns else b""

    def _learn(self, names: list[str]) -> None:
        self._columns, self._step, self._epoch = [], None, None
        names = [name.strip() for name in names]
        steps = [(STEP_RANK[word], n) for n, name in enumerate(names) if (word := step_of(name))]
        if not steps or not 2 <= len(names) <= MAX_COLUMNS:
            return
        self._columns = [printable(name) for name in names]
        self._step = min(steps)[1]
        self._epoch = next((n for n, name in enumerate(names) if name.lower() == "epoch"), None)

    def _points(self, text: str) -> list[Metric]:
        points: list[Metric] = []
        for row in csv.reader(text.splitlines()):
            if self._step is None or len(row) != len(self._columns):
                continue
            step = _number(row[self._step])
            if step is None or not step.is_integer() or abs(step) >= 1 << 53:
                continue
            for place, cell in enumerate(row):
                name = self._columns[place]
                if place == self._step or not name or name.lower() in NOT_METRICS:
                    continue
                value = _number(cell)
                if value is None or int(step) <= self._reached.get(name, -(1 << 62)):
                    continue
                self._reached[name] = int(step)
                points.append((int(step), name, value))
        return points


def _number(text: str) -> float | None:
    try:
        return float(text) if text.strip() and len(text) < 60 and "_" not in text else None
    except ValueError:
        return None
