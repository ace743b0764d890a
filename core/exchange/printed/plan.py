"""What one line of a shape means: which of its numbers are what."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from traindeck.core.base.sanitize import printable
from traindeck.core.exchange.printed.numbers import MARK, joined
from traindeck.core.exchange.printed.ranks import Labels

RECURRENCES = 3  # of a line of unknown names, before it counts
_INSERT = re.compile(rf"{MARK}(\d+){MARK}")

Metric = tuple[int, str, float]
"""Step, name, value."""


class Step(NamedTuple):
    """A number that is a step; `word` one of `names.STEPS`, `total` the place of how many.

    scale   of both, as they are written: 1000 each of ``1.2k/10k``
    groups  how many more numbers belong to it, parted by commas: 2 of ``1,024,000``
    """

    word: str
    place: int
    total: int | None = None
    scale: tuple[float, float] = (1.0, 1.0)
    groups: int = 0


class Value(NamedTuple):
    """A number that is a metric: `scale` times it, or its share of the number at `total`.

    A name may hold other numbers: each stands in it as its place between two MARKs. `groups` as of
    a step; where it is 1 the comma may be a decimal one.
    """

    name: str
    place: int
    scale: float = 1.0
    total: int | None = None
    groups: int = 0


class Bar(NamedTuple):
    """A progress bar: the places of what is done and of all there is (100 if None).

    `style` says whose it is: tqdm, rich, keras, epochs, fastai.
    """

    done: int
    total: int | None
    scale: tuple[float, float] = (1.0, 1.0)
    style: str = ""


@dataclass(slots=True)
class Plan:
    """What lines of one shape mean. Steps come best first.

    kind     which reader made it: object, pairs, bar, table …
    rank     which rank printed the line, or the place of it; `ranked` whether it is a place
    labels   what tells whether the number at the line's head is a rank
    sure     whether its first line counts at once; others only once they have recurred
    bar      the line is (also) a bar
    epoch    the place of the epoch that the following lines belong to
    inside   the step counts within an epoch
    why      in words, for whoever asks
    """

    kind: str = ""
    steps: list[Step] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    part: str = ""
    rank: int = 0
    ranked: bool = False
    labels: Labels | None = None
    sure: bool = True
    bar: Bar | None = None
    key: str = ""
    why: str = ""
    strict: bool = False
    held: list[tuple[list[str], int | None]] = field(default_factory=list)
    fast: re.Pattern[bytes] | None = None
    names: tuple[str, ...] = ()
    at: int | None = None
    """The step of the line before."""
    quick: tuple[str, int] | None = None
    """Word and place of the step, where no other number has a say in it."""
    simple: list[tuple[str, int]] | None = None
    """Name and place of each value, where there is no more to them."""

    drawn: list[tuple[str, int]] | None = None
    """The same of a bar that names no step of its own."""

    def prepare(self) -> None:
        """See what can be done at once with each line that is to come."""
        self.names = tuple(value.name for value in self.values)
        plain = all(v[2:] == (1.0, None, 0) and MARK not in v.name for v in self.values)
        if self.bar is not None and self.kind == "bar" and not self.ranked and not self.rank:
            by_bar = [Step("batch", *self.bar[:2])]
            if plain and self.values and self.bar.total is not None and self.steps == by_bar:
                self.drawn = [(printable(value.name), value.place) for value in self.values]
        counted = any(step.total is not None or step.groups for step in self.steps)
        if not self.steps or self.ranked or self.labels or self.bar is not None or counted:
            return
        if not plain:
            return
        self.simple = [(printable(value.name), value.place) for value in self.values] or None
        first = self.steps[0]
        if first.word != "epoch" and (not self.strict or len(self.steps) == 1):
            self.quick = first.word, first.place

    def recurred(self, numbers: list[str], drawn: int | None) -> list[tuple[list[str], int | None]]:
        """Keep a line of unknown names; all that were kept, once they recur with other values.

        `drawn`: how far the bar above it is, which each that was kept comes back with.
        """
        self.held.append((numbers, drawn))
        if len(self.held) < RECURRENCES:
            return []
        values = [valued(self.values[0], held) for held, _ in self.held]
        steady = values[1] - values[0]
        counts = all(b - a == steady for a, b in pairwise(values))
        if not math.isfinite(sum(values)) or (counts and steady.is_integer()):  # or just counts
            del self.held[0]
            return []
        self.sure = True
        held, self.held = self.held, []
        return held

    def without(
        self, places: set[int], numbers: Sequence[str], metrics: list[Metric]
    ) -> list[Metric]:
        """The metrics of a line but for those whose numbers are at some places."""
        names = {printable(named(v.name, numbers)) for v in self.values if v.place in places}
        names |= {step.word for step in self.steps if step.place in places}
        endings = tuple(f"/{name}" for name in names)
        return [each for each in metrics if not f"/{each[1]}".endswith(endings)]


class Seen(NamedTuple):
    """What was made of one line, for whoever asks."""

    line: str
    kind: str
    why: str
    metrics: list[Metric]

    @classmethod
    def by(cls, plan: Plan, line: str, metrics: list[Metric]) -> Seen:
        """What a line gave that was read by a plan."""
        why = plan.why
        if not plan.sure:
            why = f"counts once it has come {RECURRENCES} times"
        elif metrics and plan.bar is not None and len(metrics) < len(plan.values):
            why += ", what is unchanged is not repeated"
        return cls(line, plan.kind, why, metrics)


def valued(value: Value, numbers: Sequence[str | bytes]) -> float:
    """What a value is on the line that has these numbers."""
    if value.groups:
        return joined(numbers[value.place : value.place + value.groups + 1])
    number = float(numbers[value.place])
    if value.total is not None:
        total = float(numbers[value.total])
        return number / total if total else number
    return number * value.scale


def named(name: str, numbers: Sequence[str | bytes]) -> str:
    """A value's name with those of the line's numbers that are in it."""
    if MARK not in name:
        return name

    def number(match: re.Match[str]) -> str:
        text = numbers[int(match[1])]
        return text if isinstance(text, str) else text.decode()

    return _INSERT.sub(number, name)
