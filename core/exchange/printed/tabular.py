"""Follows the tables of one writer: rows under the header above them, and boxes of names."""

from __future__ import annotations

import re

from traindeck.core.base.sanitize import printable
from traindeck.core.exchange.printed import names, tables
from traindeck.core.exchange.printed.lines import undrawn
from traindeck.core.exchange.printed.plan import Metric
from traindeck.core.exchange.printed.steps import Steps

FAR = 1 << 16  # bytes above a row that are looked through when what is near has no header
MAX_FAR = 20  # times
_BARS = re.compile(
    rb"[^\n]*(?:\||\xe2\x94\x81)[^\n]*\d/\d[^\n]*\n|[ \t]*Epoch \d+/\d+ :[ \t]*\n", re.IGNORECASE
)
_END_OF_BOX = re.compile(rb"^[ \t]*(?:[-+=]|\xe2[\x94\x95][\x80-\xbf]){5,}[ \t]*$", re.MULTILINE)


class Tabular:
    """What rows and boxes say, and how far a table's rows are of all there are to be."""

    def __init__(self, steps: Steps) -> None:
        self.progress: tuple[int, int] | None = None
        """How far a table's rows are, where they say so."""
        self._steps = steps
        self._above = b""
        self._header: tables.Header | None = None
        self._far = 0
        self._from_zero = False
        self._box: dict[str, float] = {}
        self._box_end = 0
        self._carry = b""
        self._section = ""

    @property
    def open(self) -> bool:
        """Whether a box has begun and not ended."""
        return bool(self._box)

    def begin(self) -> None:
        """New bytes are about to be read."""
        self._box_end = 0

    def end(self, data: bytes) -> list[Metric]:
        """Those bytes were read: what a box held that has ended with them."""
        self._carry = (self._carry + data[self._box_end :])[-tables.LOOK_BACK :]
        ended = self.close_box() if self._box and _END_OF_BOX.search(self._carry) else []
        self._above = (self._above + data[-FAR:])[-FAR:]
        return ended

    def above(self, data: bytes, start: int, size: int) -> bytes:
        """The bytes above a place in what is being read, also of what was read before."""
        near = data[max(0, start - size) : start]
        return near if start >= size else self._above[start - size :] + near

    def take_row(self, data: bytes, start: int, end: int) -> list[Metric]:
        """What a row says under its header."""
        line = data[start : end - 1].decode("utf-8", "replace")
        count = len(tables.cells(line))
        near = self.above(data, start, tables.LOOK_BACK)
        header = tables.header_above(undrawn(near.decode("utf-8", "replace")), count)
        if header is None and (self._header is None or len(self._header.names) != count):
            header = self._far_header(data, start, count)
        self._header = header or self._header
        row = tables.row(line, self._header) if self._header else None
        if row is None or not row.values:
            return []
        steps = self._steps
        if row.step is None:
            step = steps.epoch if steps.epoch is not None else steps.next
        else:
            step = row.step
            if row.word == "epoch":
                steps.epoch = step
            if row.total:
                self._from_zero = self._from_zero or step == 0
                self.progress = (step + self._from_zero, row.total + self._from_zero)
        steps.next = max(steps.next, step + 1)
        return [(step, printable(name), value) for name, value in row.values]

    def _far_header(self, data: bytes, start: int, count: int) -> tables.Header | None:
        """The header with nothing but drawn bars between it and a row."""
        if self._far >= MAX_FAR:
            return None
        self._far += 1
        above = _BARS.sub(b"", self.above(data, start, FAR))[-tables.LOOK_BACK :]
        return tables.header_above(undrawn(above.decode("utf-8", "replace")), count)

    def take_box(self, name: str, number: str, data: bytes, start: int, end: int) -> list[Metric]:
        """Take in a box's row; returns what the box before it held, if that has ended."""
        between = self._carry + data[self._box_end : start]
        self._box_end, self._carry = end, b""
        ended = self.close_box() if self._box and _END_OF_BOX.search(between) else []
        if not self._box:
            self._section = ""
        self._section = tables.section(between.decode("utf-8", "replace")) or self._section
        self._box[f"{self._section}/{name}" if self._section else name] = float(number)
        return ended

    def close_box(self) -> list[Metric]:
        """What a box held."""
        box, self._box, self._section = self._box, {}, ""
        found: dict[str, float] = {}
        ranked: list[tuple[int, float]] = []
        for name, value in box.items():
            word = names.step_of(name.rpartition("/")[2])
            if word is not None and value.is_integer():
                ranked.append((names.STEP_RANK[word], value))
            elif not names.is_noise(name):
                found[name] = value
        if not ranked and not any(names.is_metric(name) for name in found):
            return []
        step = int(min(ranked)[1]) if ranked else self._steps.next
        self._steps.next = step + 1
        return [(step, printable(name.replace(" ", "_")), value) for name, value in found.items()]
