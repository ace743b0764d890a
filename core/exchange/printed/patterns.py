r"""What a user's own regular expression finds: ``--parse 'it (?P<step>\d+) L=(?P<loss>\S+)'``.

Each named group is a series of its name; `step`, `epoch` and the like are the step. With groups
`name` and `value` a series is called what `name` matched. What else is understood of the line
stays, but for the numbers that a group took: these have the user's names only.
"""

from __future__ import annotations

import re
import shlex
from typing import NamedTuple

from traindeck.core.base.errors import UsageError
from traindeck.core.base.sanitize import printable
from traindeck.core.exchange.printed.names import STEP_RANK
from traindeck.core.exchange.printed.plan import Metric

MAX_TEXT = 4096  # characters of a line that are searched


class Match(NamedTuple):
    """What was found on a line: `spans` are the characters of all groups, `by` the pattern."""

    step: int | None
    values: list[tuple[str, float]]
    spans: list[tuple[int, int]]
    by: str

    def took(self, pieces: list[str], line: str) -> set[int]:
        """The places of the numbers that are in a group, of a line in pieces."""
        if "".join(pieces) != line:  # a bar was emptied
            return set()
        places: set[int] = set()
        at = 0
        for n, piece in enumerate(pieces):
            if n % 2 and any(start < at + len(piece) and at < end for start, end in self.spans):
                places.add(n // 2)
            at += len(piece)
        return places

    def joined(self, step: int, others: list[Metric]) -> list[Metric]:
        """The line's metrics with `others` of it, at the pattern's step, else at this one."""
        step = step if self.step is None else self.step
        new = [(step, printable(name), value) for name, value in self.values]
        names = {name for _, name, _ in new}
        return new + [(step, name, value) for _, name, value in others if name not in names]


class Pattern:
    """A regular expression with named groups. Raises UsageError for any other."""

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self._pattern = re.compile(text)
        except re.error as error:
            raise UsageError(f"{self._typed} is no regular expression: {error}") from None
        self._names = sorted(self._pattern.groupindex, key=lambda name: STEP_RANK.get(name, 99))
        if not set(self._names) - STEP_RANK.keys():
            raise UsageError(f"{self._typed} names no metric: write groups such as (?P<loss>\\S+)")

    @property
    def _typed(self) -> str:
        return f"--parse {shlex.quote(self.text)}"

    def find(self, line: str) -> Match | None:
        """The step and values on a line; None where it does not match or no group is a number."""
        match = self._pattern.search(line, 0, MAX_TEXT)
        if match is None:
            return None
        step: int | None = None
        values: list[tuple[str, float]] = []
        called = match["name"] if {"name", "value"} <= set(self._names) else None
        for name in self._names:
            number = _number(match[name])
            if number is None or (name == "name" and called is not None):
                continue
            if name in STEP_RANK and number.is_integer() and step is None:
                step = int(number)
            else:
                values.append((called if name == "value" and called else name, number))
        spans = [match.span(name) for name in self._names if match[name]]
        return Match(step, values, spans, self.text) if values else None


def _number(text: str | None) -> float | None:
    try:
        return float(text.strip().rstrip("%,;").replace(",", "")) if text else None
    except ValueError:
        return None
