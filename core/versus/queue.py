"""Making the runs that are missing: by turns, one at a time, so that none disturbs another.

What there is decides what is missing: stopped anywhere, it goes on there. Whoever makes runs holds
`versus.lock` of the home (flock) meanwhile, in which it says who it is.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest

from traindeck.core.base.errors import BudgetRefused, ControlError
from traindeck.core.base.files import opened, read_json
from traindeck.core.base.home import Home
from traindeck.core.catalogue.document import RunDoc, document
from traindeck.core.devices.cpu import describe
from traindeck.core.launch import LaunchRequest, launch
from traindeck.core.recipe.environments import python
from traindeck.core.recipe.find import find_recipe
from traindeck.core.recipe.requirements import lacks
from traindeck.core.run.artifacts import artifacts
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.state import LIVE
from traindeck.core.versus import served
from traindeck.core.versus.evidence import Evidence, Measured, gather, still_going
from traindeck.core.versus.pairs import LOAD_TAG, Suite, Task

LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Wanted:
    """One run that is missing: of a task, with this seed."""

    task: Task
    seed: int | None = None

    @property
    def words(self) -> str:
        seed = "" if self.seed is None else f" seed {self.seed}"
        return f"{self.task.recipe} ({self.task.role}{seed})"

    def is_made(self, doc: RunDoc) -> bool:
        """Whether its run ended as it should: a server is stopped."""
        return doc["state"] == (served.MEASURED if self.task.role == "serve" else "finished")


def missing(evidence: Evidence, suite: Suite) -> list[Wanted]:
    """What is to be run, in its order: what is not compared after each other, the rest by turns."""
    groups: dict[str, list[list[Wanted]]] = {}
    for task in suite.tasks():
        groups.setdefault(task.turns, []).append(_lacking(evidence, task))
    return [
        one
        for tasks in groups.values()
        for turn in zip_longest(*tasks)
        for one in turn
        if one is not None
    ]


def _lacking(evidence: Evidence, task: Task) -> list[Wanted]:
    if task.role.startswith("scaling:") and len(describe().usable_cores) < 2:
        return []
    if task.role in ("bundle", "serve"):
        runs = evidence.of("twin", task.side)
        if task.side not in evidence.bundles and runs and not _servable(runs):
            return []
    if task.role == "bundle":
        return [] if task.side in evidence.bundles else [Wanted(task)]
    there = evidence.of(task.role, task.side)
    if not task.tell:
        return [Wanted(task)] * max(0, task.repeats - len(there))
    seeds = {run.doc["params"].get("seed") for run in there}
    return [Wanted(task, seed) for seed in range(task.repeats) if seed not in seeds]


def begin(home: Home, wanted: Wanted, evidence: Evidence) -> RunDoc | None:
    """Launch one; None where it cannot be: a bundle or server of a side that left no model.

    Raises what `launch` and `find_recipe` raise.
    """
    task = wanted.task
    params, name = dict(task.params), f"{task.recipe} {task.role}"
    if wanted.seed is not None:
        params["seed"] = wanted.seed
    if task.role == "bundle":
        of = _servable(evidence.of("twin", task.side))
        if of is None:
            return None
        params = {"run": str(of.folder), "name": str(of.doc["recipe"])}
    if task.role == "serve":
        if task.side not in evidence.bundles:
            return None
        bundle, folder = evidence.bundles[task.side]
        params, name = served.params(folder), f"{task.recipe} {bundle['name']}"
    recipe = find_recipe(home, task.recipe)
    return launch(
        home,
        LaunchRequest(
            recipe=recipe,
            params=params,
            on=task.on,
            tags=[*task.tags, f"{LOAD_TAG}{os.getloadavg()[0]:.1f}"],
            name=name if task.role != "twin" else recipe.name,
        ),
    )


def _servable(runs: list[Measured]) -> Measured | None:
    """The newest run that left a model to export."""
    return next((run for run in reversed(runs) if artifacts(run.folder, "servable")), None)


def check_installed(home: Home, wanted: list[Wanted]) -> None:
    """Raises MissingError for what one of them lacks, NotFoundError for a recipe."""
    for name in dict.fromkeys(one.task.recipe for one in wanted):
        recipe = find_recipe(home, name)
        if lack := lacks(recipe, python(home, recipe)):
            raise lack.error()


def ended(home: Home, run_id: str) -> RunDoc:
    """Wait until a run has ended; what is then known of it."""
    folder = RunFolder(home.runs / run_id)
    while True:
        doc = document(folder, metrics=False)
        if doc is not None and doc["state"] not in LIVE:
            return doc
        time.sleep(LOOK_SECONDS)


@contextlib.contextmanager
def alone(home: Home, suite: Suite) -> Iterator[None]:
    """Be the only one in this home that makes runs for a comparison.

    Raises ControlError where another does, or its run goes on without it; OSError.
    """
    path = home.root / "versus.lock"
    lock = opened(path, os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = read_json(path) or {}
            typed, pid = who.get("typed", "traindeck versus run"), who.get("pid", "unknown")
            raise ControlError(
                f"`{typed}` (process {pid}) makes runs already, and two would disturb each other:"
                " wait for it, or interrupt it there"
            ) from None
        typed = f"traindeck versus run {suite.typed}".rstrip()
        os.ftruncate(lock, 0)
        os.pwrite(lock, json.dumps({"pid": os.getpid(), "typed": typed}).encode(), 0)
        if going_on := still_going(home):
            raise ControlError(
                f"run {going_on[0]} of a comparison still goes on: wait for it, or"
                f" `traindeck stop {going_on[0]}`"
            )
        yield
    finally:
        os.close(lock)


def run_missing(
    home: Home,
    suite: Suite,
    said: Callable[[int, int, Wanted, RunDoc | None], object],
) -> list[tuple[Wanted, RunDoc]]:
    """Make all that is missing, one after the other; which of them did not finish.

    Raises ControlError while another comparison makes runs: they would disturb each other. Raises
    BudgetRefused for what a budget does not admit, once all the rest is made.

    said  called with place, number of all, and the document once it has ended; None: it begins
    """
    with alone(home, suite):
        evidence = gather(home, suite)
        wanted = missing(evidence, suite)
        failed: list[tuple[Wanted, RunDoc]] = []
        refused: BudgetRefused | None = None
        broken: set[tuple[str, int]] = set()  # what failed once is not tried with another seed
        for place, one in enumerate(wanted, 1):
            if (one.task.role, one.task.side) in broken:
                continue
            if one.task.role in ("bundle", "serve"):
                evidence = gather(home, suite)
            said(place, len(wanted), one, None)
            try:
                doc = begin(home, one, evidence)
            except BudgetRefused as error:
                refused = refused or error
                broken.add((one.task.role, one.task.side))
                continue
            if doc is None:
                continue
            why = ""
            try:
                if one.task.role == "serve":
                    why = served.ask(home, doc["id"])
            finally:
                doc = ended(home, doc["id"])
            doc["reason"] = why or doc["reason"]
            said(place, len(wanted), one, doc)
            if not one.is_made(doc):
                failed.append((one, doc))
                broken.add((one.task.role, one.task.side))
        if refused:
            raise refused
        return failed
