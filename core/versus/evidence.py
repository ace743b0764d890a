"""The runs and bundles of a home that a comparison is made from."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from traindeck.core.base.errors import TraindeckError
from traindeck.core.base.files import read_json
from traindeck.core.base.home import Home
from traindeck.core.catalogue.document import RunDoc
from traindeck.core.catalogue.library import Library
from traindeck.core.models.bundle import Bundle, read_bundle
from traindeck.core.models.shelf import Shelf
from traindeck.core.run.points import read_points, summarize
from traindeck.core.run.state import LIVE
from traindeck.core.versus import served
from traindeck.core.versus.measured import Sample, Source
from traindeck.core.versus.pairs import TAG, Suite, Task, setting, shared_params

Point = tuple[float, int, float]


@dataclass(frozen=True, slots=True)
class Measured:
    """One run that is evidence: its document, without private series."""

    doc: RunDoc

    @property
    def folder(self) -> Path:
        return Path(self.doc["path"])

    @property
    def source(self) -> Source:
        seed = self.doc["params"].get("seed")
        return Source(self.doc["id"], seed=seed if isinstance(seed, int) else None)

    def last(self, series: str) -> float | None:
        """What it logged last by this name."""
        known = self.doc["metrics"].get(series)
        return known["last"] if known else None

    def middle(self, series: str) -> float | None:
        """The median of what it logged by this name."""
        values = [value for _, _, value in self.points(series)]
        return median(values) if values else None

    def points(self, series: str) -> list[Point]:
        return read_points(self.folder, (series,)).get(series, [])

    def first_metric_seconds(self) -> float | None:
        """From its start to the first value that it logged."""
        started = self.doc["started"]
        public = [name for name in self.doc["metrics"] if not name.startswith("private/")]
        firsts = [series[0][0] for series in read_points(self.folder, public).values() if series]
        return min(firsts) - started if firsts and started is not None else None

    def peak_memory(self) -> float | None:
        """Megabytes of all its processes, as they were seen once a second."""
        for name, known in summarize(self.folder, "device").items():
            if name.startswith("memory_") and known["max"] is not None:
                return known["max"] / 1e6
        return None


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is there, by role and side; runs oldest first."""

    suite: Suite
    runs: dict[tuple[str, int], list[Measured]] = field(default_factory=dict)
    bundles: dict[int, tuple[Bundle, Path]] = field(default_factory=dict)
    others: list[RunDoc] = field(default_factory=list)

    def of(self, role: str, side: int) -> list[Measured]:
        return self.runs.get((role, side), [])

    def sample(
        self,
        role: str,
        side: int,
        value: Callable[[Measured], float | None],
        *,
        exact: bool = False,
    ) -> Sample | None:
        """One value a run; None where no run has it."""
        values, sources = [], []
        for run in self.of(role, side):
            one = value(run)
            if one is not None:
                values.append(float(one))
                sources.append(run.source)
        return Sample(tuple(values), tuple(sources), exact) if values else None

    def over(
        self, role: str, base: str, side: int, value: Callable[[Measured], float | None]
    ) -> Sample | None:
        """A value over that of the run in the role `base` with the same seed, one a seed."""
        below = {run.doc["params"].get("seed"): run for run in self.of(base, side)}
        values, sources = [], []
        for run in self.of(role, side):
            other = below.get(run.doc["params"].get("seed"))
            one, under = value(run), value(other) if other else None
            if other and one is not None and under:
                values.append(one / under)
                sources += [other.source, run.source]
        return Sample(tuple(values), tuple(sources)) if values else None

    def series(
        self, role: str, name: str, *, exact: bool = False
    ) -> tuple[Sample | None, Sample | None]:
        """The last value of a series, for both sides."""
        a, b = (self.sample(role, at, lambda run: run.last(name), exact=exact) for at in (0, 1))
        return a, b

    def used(self) -> list[Measured]:
        """Every run that is evidence, once, oldest first."""
        found = {run.doc["id"]: run for runs in self.runs.values() for run in runs}
        return [found[key] for key in sorted(found)]


def gather(home: Home, suite: Suite, library: Library | None = None) -> Evidence:
    """Look for what there is. Reads the points of the runs that are evidence. Raises OSError."""
    docs = (library or Library(home)).runs()
    done = [doc for doc in docs if doc["state"] == "finished"]
    evidence = Evidence(suite, others=done)
    for task in _whole(suite):
        runs = [doc for doc in done if _fits(doc, task)]
        if task.role not in ("twin", "serve"):
            evidence.runs[task.role, task.side] = _measured(home, runs)
    _twins(home, suite, done, evidence)
    _bundles(home, evidence)
    for at, (_, folder) in evidence.bundles.items():
        evidence.runs["serve", at] = _measured(home, _servers(docs, folder))
    return evidence


def still_going(home: Home) -> list[str]:
    """Runs of any comparison that have not ended, by id."""
    docs = Library(home).runs()
    return [doc["id"] for doc in docs if doc["state"] in LIVE and TAG in doc["tags"]]


def _whole(suite: Suite) -> list[Task]:
    """What a longer comparison left is evidence as well."""
    return replace(suite, full=True, only=()).tasks()


def _fits(doc: RunDoc, task: Task) -> bool:
    return (
        f"versus:{task.role}" in doc["tags"]
        and _is_of(doc, task.recipe)
        and all(_same(doc["params"].get(name), value) for name, value in task.params.items())
    )


def _same(one: Any, other: Any) -> bool:
    """JSON has no infinity: it stands there as a word or null."""
    if other == float("inf"):
        return one in (None, "inf", "Infinity", other)
    return bool(one == other)


def _is_of(doc: RunDoc, recipe: str) -> bool:
    return doc["recipe"] == (Path(recipe).stem if recipe.endswith(".py") else recipe)


def _twins(home: Home, suite: Suite, done: Sequence[RunDoc], evidence: Evidence) -> None:
    """Of the settings in which both recipes ran, the one with most runs a side; else the newest."""
    first, second = (side.recipe for side in suite.sides)
    shared = shared_params(first, second)
    found: list[dict[Any, list[RunDoc]]] = [{}, {}]
    tasks = [task for task in suite.tasks() if task.role == "twin"]
    for task in tasks:
        recipe = suite.sides[task.side].recipe
        for doc in done:
            if (
                f"versus:{task.role}" in doc["tags"]
                and doc["recipe"] == recipe.name
                and all(
                    _same(doc["params"].get(name), recipe.validate({name: value})[name])
                    for name, value in task.params.items()
                )
            ):
                key = setting(doc["params"], shared)
                found[task.side].setdefault(key, []).append(doc)

    def rank(key: Any) -> tuple[int, str]:
        there = [each.get(key, []) for each in found]
        fewest = min(len(each) for each in there)
        return fewest, max((doc["id"] for each in there for doc in each), default="")

    keys = {*found[0], *found[1]}
    if keys:
        best = max(keys, key=rank)
        for at in (0, 1):
            evidence.runs["twin", at] = _measured(home, found[at].get(best, []))


def _measured(home: Home, docs: Sequence[RunDoc]) -> list[Measured]:
    found = []
    for doc in sorted(docs, key=lambda one: one["id"]):
        folder = home.runs / doc["id"]
        known = summarize(folder)
        public = {name: one for name, one in known.items() if not name.startswith("private/")}
        found.append(Measured({**doc, "metrics": public, "path": str(folder)}))
    return found


def _bundles(home: Home, evidence: Evidence) -> None:
    """The newest bundle of each side's recipe."""
    shelf = Shelf(home)
    for name in shelf.names():
        for version in shelf.versions(name):
            folder = shelf.folder(name, version)
            with contextlib.suppress(TraindeckError, OSError):
                bundle = read_bundle(folder)
                for at, side in enumerate(evidence.suite.sides):
                    before = evidence.bundles.get(at)
                    newer = before is None or before[0]["created"] < bundle["created"]
                    if bundle.get("run", {}).get("recipe") == side.recipe.name and newer:
                        evidence.bundles[at] = bundle, folder


def _servers(docs: Sequence[RunDoc], bundle: Path) -> list[RunDoc]:
    """Servers of this bundle that a comparison asked: what others asked theirs, nobody knows."""
    return [
        doc
        for doc in docs
        if f"{TAG}:serve" in doc["tags"]
        and doc["state"] == served.MEASURED
        and served.serves(doc["params"].get("models"), bundle)
    ]


def mistakes(run: Measured) -> dict[str, Any]:
    """What a run of a mistakes recipe wrote down: words of each error by the mistake's name."""
    found = read_json(run.folder / "artifacts" / "mistakes.json")
    return found if isinstance(found, dict) else {}
