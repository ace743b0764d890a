"""Runs that differ in nothing but their seed, told as one: mean and spread of what they came to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from traindeck.core.catalogue.document import RunDoc
from traindeck.core.catalogue.values import FIELDS, NUMBER, PARAMS, SPAN, TEXT, Pick, pick
from traindeck.core.run.state import LIVE

EXCEPT_SEED = "all but seed"
"""Grouping by every parameter in which the runs differ, the seed aside."""
SEEDS = frozenset({"seed", "random_seed", "rng_seed"})

D = TypeVar("D", bound=RunDoc)


@dataclass(frozen=True, slots=True)
class Group(Generic[D]):
    """The runs that have the same values; `key` has one a name that was grouped by."""

    key: tuple[Any, ...]
    docs: list[D]


@dataclass(frozen=True, slots=True)
class Spread:
    """Of `count` finite numbers; `std` is the sample's (n - 1), None for a single one."""

    mean: float
    std: float | None
    count: int


class Grouper(Generic[D]):
    """Puts runs into groups one by one; `known` keeps the keys of runs that did not change."""

    def __init__(
        self, by: Sequence[Pick], known: dict[str, tuple[D, list[tuple[str, Any]]]] | None = None
    ) -> None:
        self._by = by
        self._before = known or {}
        self.known: dict[str, tuple[D, list[tuple[str, Any]]]] = {}
        self._groups: dict[str, Group[D]] = {}

    def add(self, doc: D) -> None:
        """A run with several tags is in the group of each of them."""
        known = self._before.get(doc["id"])
        if known is None or known[0] is not doc:
            known = (doc, [(repr(key), key) for key in _keys(doc, self._by)])
        self.known[doc["id"]] = known
        for word, key in known[1]:
            group = self._groups.get(word)
            if group is None:
                group = self._groups[word] = Group(key, [])
            group.docs.append(doc)

    def groups(self) -> list[Group[D]]:
        """In the order that their first runs came in."""
        return list(self._groups.values())


def keys_of(by: Sequence[Pick], docs: Iterable[RunDoc]) -> list[Pick]:
    """What to group by: of a name that is a parameter of some run, the parameter, for all runs.

    Each keeps the text that it was asked for by.
    """
    params = {name for doc in docs for name in doc["params"]}
    return [
        replace(pick(f"{PARAMS}{each.text}"), text=each.text)
        if each.text in params and each.text not in FIELDS
        else each
        for each in by
    ]


def grouped(docs: Iterable[D], by: Sequence[Pick]) -> list[Group[D]]:
    """The runs in groups, in the order that the groups' first runs come in."""
    grouper: Grouper[D] = Grouper(by)
    for doc in docs:
        grouper.add(doc)
    return grouper.groups()


def _keys(doc: RunDoc, by: Sequence[Pick]) -> list[tuple[Any, ...]]:
    keys: list[tuple[Any, ...]] = [()]
    for each in by:
        ends: list[Any] = [each.value(doc)]
        if each.text == "tags":
            ends = [*doc["tags"]] or [None]
        keys = [(*key, end) for key in keys for end in ends]
    return keys


def spread(values: Iterable[Any]) -> Spread | None:
    """Mean and standard deviation of the finite numbers; None where there is none."""
    numbers = [
        float(value) for value in values if type(value) in (int, float) and math.isfinite(value)
    ]
    if not numbers:
        return None
    mean = math.fsum(numbers) / len(numbers)
    if len(numbers) < 2:
        return Spread(mean, None, 1)
    squares = math.fsum((number - mean) ** 2 for number in numbers)
    return Spread(mean, math.sqrt(squares / (len(numbers) - 1)), len(numbers))


def in_common(group: Group[D], pick: Pick) -> Spread | Any | None:
    """What a group has in a column: a spread of numbers, the value that all have, else None.

    Runs that go on are in no spread where others have ended: theirs are numbers of a part.
    """
    ended = [doc for doc in group.docs if doc["state"] not in LIVE] or group.docs
    if pick.kind in (NUMBER, SPAN) and (known := spread(map(pick.value, ended))) is not None:
        return known
    values = [pick.value(doc) for doc in group.docs]
    first = values[0]
    same = pick.kind in (TEXT, NUMBER) and all(value == first for value in values[1:])
    return first if same else None


def varied(docs: Sequence[RunDoc]) -> list[str]:
    """The parameters in which the runs differ, in the order they are first met."""
    seen: dict[str, str] = {}
    counts: dict[str, int] = {}
    differ: dict[str, None] = {}
    for doc in docs:
        for name, value in doc["params"].items():
            word = repr(value)
            counts[name] = counts.get(name, 0) + 1
            if seen.setdefault(name, word) != word:
                differ[name] = None
    return [name for name in seen if name in differ or counts[name] < len(docs)]
