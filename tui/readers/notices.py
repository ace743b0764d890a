"""What is worth telling someone who looks elsewhere: runs that end or fail, scripts that wait for a
hand, budgets that run low."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from traindeck.core.base.sanitize import plain
from traindeck.core.catalogue.document import RunDoc
from traindeck.core.run.state import ENDED, LIVE

ENDED_WELL, FAILED, HAND, LOW = "ended", "failed", "hand", "budget"
KINDS = (ENDED_WELL, FAILED, HAND, LOW)
GOOD = ("finished", "stopped")
_NAMES = 3


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to tell: its kind, a title and a line; `runs` are the ids it is about."""

    kind: str
    title: str
    text: str
    runs: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "title": self.title, "text": self.text, "runs": list(self.runs)}


class RunNotices:
    """Tells which runs have ended since it was last asked; nothing of those there at first, and
    nothing of those that come back: undeleted, or imported.

    since  unix time: a run that is new here but ended before is one that came back
    """

    def __init__(self, since: float = 0.0) -> None:
        self._since = since
        self._seen: set[str] | None = None
        self._live: set[str] = set()

    def take(self, by_id: Mapping[str, RunDoc]) -> list[Notice]:
        """Take all runs as they are now."""
        known, self._seen = self._seen, (self._seen or set()) | by_id.keys()
        before = self._live
        self._live = {run_id for run_id, doc in by_id.items() if doc["state"] in LIVE}
        if known is None:
            return []
        fresh = {each for each in by_id.keys() - known if not self._came_back(by_id[each])}
        docs = [by_id[run_id] for run_id in sorted(before | fresh) if run_id in by_id]
        over = [doc for doc in docs if doc["state"] in ENDED]
        good = [doc for doc in over if doc["state"] in GOOD]
        bad = [doc for doc in over if doc["state"] not in GOOD]
        return [notice for notice in (_ended(good), _failed(bad)) if notice]

    def _came_back(self, doc: RunDoc) -> bool:
        ended = doc["ended"]
        return ended is not None and ended < self._since


def _ended(docs: Sequence[RunDoc]) -> Notice | None:
    if not docs:
        return None
    words = {doc["state"] for doc in docs}
    state = words.pop() if len(words) == 1 else "over"
    return Notice(ENDED_WELL, f"{_names(docs)} {state}", _results(docs), _ids(docs))


def _failed(docs: Sequence[RunDoc]) -> Notice | None:
    if not docs:
        return None
    state = docs[0]["state"].replace("_", " ") if len(docs) == 1 else "failed"
    why = next((plain(doc["reason"]) for doc in docs if doc["reason"]), "")
    return Notice(FAILED, f"{_names(docs)}: {state}", why, _ids(docs))


def _ids(docs: Sequence[RunDoc]) -> tuple[str, ...]:
    return tuple(doc["id"] for doc in docs)


def _names(docs: Sequence[RunDoc]) -> str:
    names = [plain(doc["name"]) for doc in docs[:_NAMES]]
    more = len(docs) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _results(docs: Sequence[RunDoc]) -> str:
    from traindeck.core.base.format import compact

    told = []
    for doc in docs[:_NAMES]:
        name = doc["headline"]
        last = doc["metrics"][name]["last"] if name in doc["metrics"] else None
        if last is not None:
            told.append(f"{plain(str(name))} {compact(last)}")
    return ", ".join(told)


def waits(requests: Sequence[Any], known: Collection[tuple[str, str, str]]) -> Notice | None:
    """Scripts that wait for an owner's hand and were not told of yet."""
    fresh = [each for each in requests if (each.run, each.owner, each.job) not in known]
    if not fresh:
        return None
    owners = ", ".join(dict.fromkeys(plain(each.owner) for each in fresh[:_NAMES]))
    text = f"run {fresh[0].run}: `i` reads it, `traindeck approve {fresh[0].run} {owners}` lets it"
    return Notice(HAND, f"a script waits at {owners}", text, (fresh[0].run,))


def running_low(name: str, left: float, low: float) -> Notice | None:
    """A budget of which less than a share of `low` is left."""
    if left >= low:
        return None
    return Notice(LOW, f"the budget of {plain(name)} runs low", f"{100 * left:.1f} % of it is left")


class Limit:
    """At most one thing in so many seconds; those held back are counted for the next."""

    def __init__(self, every: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._every, self._clock = every, clock
        self._last = -float("inf")
        self.held = 0

    def allows(self) -> bool:
        now = self._clock()
        if now - self._last < self._every:
            self.held += 1
            return False
        self._last = now
        return True

    def take_held(self) -> int:
        """How many were held back since one was let through."""
        held, self.held = self.held, 0
        return held
