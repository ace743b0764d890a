"""Finding runs: the catalogue for those that have ended, their folders for those that go on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

from traindeck.core.base.errors import NotFoundError, UsageError
from traindeck.core.base.home import Home
from traindeck.core.base.ids import is_id
from traindeck.core.base.nearest import did_you_mean
from traindeck.core.base.process import Identity
from traindeck.core.catalogue.document import RunDoc, document, with_metrics
from traindeck.core.catalogue.store import Catalogue
from traindeck.core.engines.choose import engine_of, verdict
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.points import Summarizer
from traindeck.core.run.spec import identity
from traindeck.core.run.state import LIVE, UNREACHABLE

LAST = "@last"


class RunNotFound(NotFoundError):
    """No run goes by what was asked for."""


class AmbiguousRun(UsageError):
    """Several runs go by what was asked for."""


class Library:
    """All runs of a home. Does blocking I/O; every read is cheap when little has changed."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._catalogue = Catalogue(home)
        self._seen: Any = None
        self._docs: dict[str, RunDoc] = {}
        self._unsettled: set[str] = set()  # not, or not as they are, in the catalogue
        self._live: dict[str, tuple[object, RunDoc]] = {}
        self._supervisors: dict[str, Identity] = {}
        self._summaries: dict[str, Summarizer] = {}

    def version(self) -> object:
        """Compares unequal when `runs` may have changed; costs a few stats a live run."""
        return (
            self._catalogue.version(),
            _stamp(self.home.runs),
            tuple(
                (*self._marks(run_id), self._is_supervised(run_id))
                for run_id, doc in self._docs.items()
                if _goes_on(doc)
            ),
        )

    def runs(self) -> list[RunDoc]:
        """Every run, newest first. Raises CatalogueError."""
        self._load()
        for run_id, doc in self._docs.items():
            if _goes_on(doc):
                self._refresh(run_id)
        return [self._docs[run_id] for run_id in sorted(self._docs, reverse=True)]

    def find(self, ref: str, *, metrics: bool = True) -> RunDoc:
        """The run of this id, unique start of an id, name, or `@last`.

        Without `metrics` no point is read: enough for acting on it. Raises RunNotFound or
        AmbiguousRun, with what to do.
        """
        ids = self._ids()
        if ref == LAST:
            if not ids:
                raise RunNotFound(
                    "there are no runs yet; `traindeck recipes` lists what can be run"
                )
            return self._read(max(ids, key=self._is_readable_first), metrics)
        run_id = _resolve(ref, ids, self.runs)
        if run_id is None:
            mend = did_you_mean(ref, (doc["name"] for doc in self.runs()))
            raise RunNotFound(
                f"no run {ref!r} in {self.home.runs}; "
                + (f"{mend} " if mend else "")
                + "`traindeck ls` lists them"
            )
        return self._read(run_id, metrics)

    def find_trashed(self, ref: str) -> str:
        """The id of the run in the trash that `find` would find, were it not in the trash.

        `@last` is the newest there. Raises RunNotFound or AmbiguousRun, with what to do.
        """
        ids = trashed(self.home)
        if ref == LAST and ids:
            return ids[-1]

        def docs() -> Iterable[RunDoc]:
            runs = (RunFolder(self.home.trash / run_id) for run_id in ids)
            return filter(None, (document(run, metrics=False) for run in runs))

        run_id = _resolve(ref, ids, docs)
        if run_id is None:
            raise RunNotFound(f"no run {ref!r} in the trash; `traindeck restore` lists it")
        return run_id

    def tend(self) -> None:
        """Mend what killed processes left: adopt runs without a supervisor, record ends.

        Raises OSError when the home cannot be written.
        """
        stale = []
        for run_id in self._unsettled:
            run = RunFolder(self.home.runs / run_id)
            if run.needs_supervisor():
                engine_of(run).start(run.path, "adopt")
            elif verdict(run).state not in (*LIVE, UNREACHABLE):
                run.tidy()
                stale.append(run.path)
        if stale:
            self._catalogue.sync(*stale)

    def _load(self) -> None:
        seen = (self._catalogue.version(), _stamp(self.home.runs))
        if seen == self._seen:
            return
        there = set(self._ids())
        recorded = {doc["id"]: doc for doc in self._catalogue.all()}
        self._docs = {run_id: doc for run_id, doc in recorded.items() if run_id in there}
        for run_id in there - recorded.keys():
            doc = document(RunFolder(self.home.runs / run_id), metrics=False)
            if doc is not None:
                self._docs[run_id] = doc
        self._unsettled = recorded.keys() ^ there
        self._unsettled |= {run_id for run_id, doc in self._docs.items() if _goes_on(doc)}
        for run_id in set(self._live) - set(self._docs):
            self._forget(run_id)
        self._seen = seen

    def _refresh(self, run_id: str) -> None:
        marks = self._marks(run_id)
        known = self._live.get(run_id)
        waits = known and known[0] == marks and known[1]["state"] in ("queued", "starting")
        if known and waits and self._is_supervised(run_id):
            self._docs[run_id] = known[1]
            return
        run = RunFolder(self.home.runs / run_id)
        doc = document(run, metrics=False)
        if doc is None:
            return
        if not known or known[0] != marks:
            spec = run.spec()
            supervisor = identity(spec, "supervisor") if spec else None
            if supervisor:
                self._supervisors[run_id] = supervisor
        if known and known[0] == marks:
            with_metrics(doc, known[1]["metrics"])
        else:
            folder = self.home.runs / run_id
            with_metrics(doc, self._summaries.setdefault(run_id, Summarizer(folder)).update())
        self._docs[run_id] = doc
        self._live[run_id] = (marks, doc)
        if not _goes_on(doc):
            self._forget(run_id)

    def _forget(self, run_id: str) -> None:
        self._live.pop(run_id, None)
        self._summaries.pop(run_id, None)
        self._supervisors.pop(run_id, None)

    def _is_supervised(self, run_id: str) -> bool:
        supervisor = self._supervisors.get(run_id)
        return supervisor is not None and supervisor.alive()

    def _read(self, run_id: str, metrics: bool) -> RunDoc:
        doc = document(RunFolder(self.home.runs / run_id), metrics=metrics)
        if doc is None:
            raise RunNotFound(f"run {run_id} is just being made")
        return doc

    def _is_readable_first(self, run_id: str) -> tuple[bool, str]:
        return (self.home.runs / run_id / "run.json").exists(), run_id

    def _ids(self) -> list[str]:
        try:
            return [name for name in os.listdir(self.home.runs) if is_id(name)]
        except OSError:
            return []

    def _marks(self, run_id: str) -> tuple[object, ...]:
        folder = self.home.runs / run_id
        return tuple(_stamp(folder / name) for name in ("run.json", "points.bin", "user.json"))


def trashed(home: Home) -> list[str]:
    """Ids of the runs in the trash, oldest first."""
    try:
        return sorted(name for name in os.listdir(home.trash) if is_id(name))
    except OSError:
        return []


def _resolve(ref: str, ids: list[str], docs: Callable[[], Iterable[RunDoc]]) -> str | None:
    """The run of this id, unique start of an id, or name. Raises AmbiguousRun."""
    matching = [run_id for run_id in ids if ref and run_id.startswith(ref.lower())]
    if ref in matching:
        return ref
    if not matching:
        matching = [doc["id"] for doc in docs() if doc["name"] == ref]
    if len(matching) < 2:
        return matching[0] if matching else None
    some = ", ".join(sorted(matching)[-5:])
    raise AmbiguousRun(f"{ref!r} is the start or name of {len(matching)} runs, such as {some}")


def _goes_on(doc: RunDoc) -> bool:
    return doc["state"] in LIVE or doc["state"] == UNREACHABLE


def _stamp(path: Any) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
