"""Numbers that are set side by side: where each comes from, how far its repeats lie apart, and
whether a difference is more than that.

Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from traindeck.core.base.format import compact, counted

FEWEST = 3
"""Repeats without which nothing that varies is called different."""

Better = Literal["higher", "lower", ""]


@dataclass(frozen=True, slots=True)
class Source:
    """What made a number: the run's id, or the command that shows it again; with its seed."""

    run: str = ""
    command: str = ""
    seed: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {"run": self.run, "command": self.command, "seed": self.seed}


@dataclass(frozen=True, slots=True)
class Sample:
    """What one side shows of one indicator.

    values   one a repeat; `sources` says which run made each, or one command made them all
    exact    it does not vary: counted, not timed
    text     what is said where it is no number
    """

    values: tuple[float, ...] = ()
    sources: tuple[Source, ...] = ()
    exact: bool = False
    text: str = ""

    @property
    def median(self) -> float:
        return median(self.values) if self.values else math.nan

    @property
    def range(self) -> float:
        """From the least repeat to the greatest."""
        return max(self.values) - min(self.values) if self.values else 0.0

    def shown(self, unit: str = "") -> str:
        """`3.21 s (3.1 to 3.4, 3 runs)`."""
        if not self.values:
            return self.text or "–"
        after = f" {unit}" if unit else ""
        middle = f"{compact(self.median)}{after}"
        if len(self.values) == 1 or self.exact:
            return middle
        low, high = compact(min(self.values)), compact(max(self.values))
        return f"{middle} ({low} to {high}, {counted(len(self.values), 'run')})"

    def to_json(self) -> dict[str, Any]:
        return {
            "median": finite(self.median),
            "min": finite(min(self.values, default=math.nan)),
            "max": finite(max(self.values, default=math.nan)),
            "values": [finite(value) for value in self.values],
            "sources": [one.to_json() for one in self.sources],
            "exact": self.exact,
            "text": self.text,
        }


@dataclass(frozen=True, slots=True)
class Indicator:
    """One line of an axis.

    sides    what each side shows; None: not measured, and `make` is the command that measures it
    better   which way is better, where one is; without it there is no verdict
    why      why it was not measured
    note     what must be known to read it
    held     why the sides must not be compared by it, though both were measured
    """

    name: str
    sides: tuple[Sample | None, Sample | None]
    unit: str = ""
    better: Better = ""
    why: str = ""
    make: str = ""
    note: str = ""
    held: str = ""

    @property
    def measured(self) -> bool:
        return any(side is not None for side in self.sides)

    @property
    def winner(self) -> int | None:
        """0 or 1, the side that is better by more than the spread; None: nothing to tell."""
        a, b = self.sides
        if not self.better or self.held or a is None or b is None or not differ(a, b):
            return None
        return int((b.median > a.median) == (self.better == "higher"))

    def missing(self, labels: tuple[str, str] = ("", "")) -> str:
        """Why a side is not there, by its label where the other one is, and what makes it."""
        gone = [label for label, side in zip(labels, self.sides, strict=True) if side is None]
        whose = f"{gone[0]} " if len(gone) == 1 and gone[0] else ""
        why = f"{whose}not measured: {self.why}" if self.why else f"{whose}not measured"
        return f"{why}; make it with: {self.make}" if self.make else why

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "unit": self.unit,
            "better": self.better,
            "sides": [side.to_json() if side else None for side in self.sides],
            "winner": self.winner,
            "missing": self.missing() if None in self.sides else "",
            "note": self.note,
            "held": self.held,
        }


@dataclass(frozen=True, slots=True)
class Axis:
    """One of the six, with its indicators in order."""

    id: str
    title: str
    indicators: tuple[Indicator, ...]

    def verdict(self, labels: Sequence[str]) -> str:
        """Who is better by more than the spread, and in what; `labels` name the sides."""
        said = []
        for side, label in enumerate(labels):
            won = [one.name for one in self.indicators if one.winner == side]
            if won:
                said.append(f"{label}: {', '.join(won)}")
        if said:
            return "ahead beyond the spread, " + "; ".join(said)
        if any(None not in one.sides and one.better for one in self.indicators):
            return "no difference beyond the spread"
        if any(None not in one.sides for one in self.indicators):
            return "measured, and none of it is better or worse by itself"
        return "too little was measured for a verdict"

    def to_json(self, labels: Sequence[str]) -> dict[str, Any]:
        return {
            "id": self.id,
            "title": self.title,
            "verdict": self.verdict(labels),
            "indicators": [one.to_json() for one in self.indicators],
        }


def finite(value: float) -> float | None:
    """As JSON has it, which has no NaN and no infinity."""
    return value if math.isfinite(value) else None


def differ(a: Sample, b: Sample) -> bool:
    """Whether two medians lie further apart than the repeats of either side do.

    Of what varies there must be three repeats a side, and their ranges must not touch. Of two
    sides that are the same, 1 in 10 still looks so with three repeats each, 1 in 126 with five.
    """
    for side in (a, b):
        if not side.values or not all(map(math.isfinite, side.values)):
            return False
        if not side.exact and len(side.values) < FEWEST:
            return False
    apart = min(a.values) > max(b.values) or min(b.values) > max(a.values)
    return apart and abs(a.median - b.median) > max(a.range, b.range)
