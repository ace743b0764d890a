"""The list of runs: TinyDB over a file that is never seen half-written.

One document a run, keyed by the run's id, written when a run changes its state. It only repeats
what the run folders say and can be made anew from them at any time (`reindex`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import NoneType
from typing import Any, cast

import orjson
from tinydb import TinyDB
from tinydb.storages import Storage
from tinydb.table import Table

from traindeck.core.base.errors import TraindeckError
from traindeck.core.base.files import locked, sweep, write_atomic
from traindeck.core.base.home import Home
from traindeck.core.base.ids import is_id
from traindeck.core.catalogue.document import TYPES, RunDoc, document, with_metrics
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.points import summarize


class CatalogueError(TraindeckError):
    """The catalogue cannot be read; the message says what to do."""


class AtomicStorage(Storage):
    """TinyDB's file, replaced as a whole (fsync and rename) at every write."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, dict[str, Any]] | None:
        """Raises CatalogueError when the file is damaged."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CatalogueError(f"{self._path} cannot be read: {error.strerror}") from None
        try:
            tables = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise self._damaged(str(error)) from None
        runs = tables.get("runs", {}) if isinstance(tables, dict) else None
        if not isinstance(runs, dict) or not all(map(_is_doc, runs.items())):
            raise self._damaged("it holds something else than runs")
        return cast("dict[str, dict[str, Any]]", tables)

    def _damaged(self, why: str) -> CatalogueError:
        return CatalogueError(f"{self._path} is damaged ({why}); `traindeck reindex` makes it anew")

    def write(self, data: dict[str, dict[str, Any]]) -> None:
        write_atomic(self._path, orjson.dumps(data, option=orjson.OPT_NON_STR_KEYS))


_MAY_BE_NONE = frozenset(key for key, types in TYPES.items() if NoneType in types)


def _compiled() -> Callable[[Any], bool]:
    """Whether all that is never None in a document is there and has a type that it may have."""
    alike: dict[tuple[type, ...], list[str]] = {}
    for key in TYPES.keys() - _MAY_BE_NONE:
        alike.setdefault(TYPES[key], []).append(f"type(doc[{key!r}])")
    tests = []
    for types, reads in alike.items():
        if len(types) == 1:
            tests.append(" is ".join([*reads, types[0].__name__]))
        else:
            tests += [f"{each} in ({', '.join(t.__name__ for t in types)})" for each in reads]
    check: Callable[[Any], bool] = eval(f"lambda doc: {' and '.join(tests)}")
    return check


_has_types = _compiled()  # ten thousand documents are looked at before every list


def _is_doc(item: tuple[str, Any]) -> bool:
    """Whether a document is whole."""
    run_id, doc = item
    try:
        return doc["id"] == run_id and _has_types(doc) and doc.keys() >= _MAY_BE_NONE
    except (LookupError, TypeError):  # it lacks one, or is no object
        return False


class _RunTable(Table):
    document_id_class = str  # type: ignore[assignment]  # keyed by run id, not by TinyDB's numbers


class Catalogue:
    """Reads need no lock; writes hold one around the whole read-change-write."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._db = TinyDB(home.catalogue, storage=_storage)
        self._runs = _RunTable(self._db.storage, "runs")

    def version(self) -> tuple[int, int] | None:
        """Changes whenever the catalogue does; costs one stat."""
        try:
            status = os.stat(self._home.catalogue)
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns

    def all(self) -> list[RunDoc]:
        """Every run as last recorded, oldest first. Raises CatalogueError."""
        data = self._db.storage.read() or {}  # TinyDB's table would copy every document
        runs = cast("dict[str, RunDoc]", data.get("runs", {}))
        return [runs[run_id] for run_id in sorted(runs)]

    def sync(self, *folders: Path) -> None:
        """Record what these runs' folders say now; forget a run whose folder is gone.

        A run whose supervisor was killed stays as it was until another has settled how it ended.
        Raises OSError when the catalogue cannot be written.
        """
        metrics = {folder: summarize(folder) for folder in folders}
        with self._writing():
            fresh, gone = [], []
            for folder in folders:
                run = RunFolder(folder)
                doc = document(run, metrics=False)
                if run.needs_supervisor():
                    continue
                if doc is None:
                    gone.append(folder.name)
                else:
                    fresh.append(with_metrics(doc, metrics[folder]))
            self._put(fresh, gone)

    def reindex(self) -> int:
        """Make the catalogue anew from the run folders; returns how many runs there are."""
        folders = [path for path in sorted(self._home.runs.iterdir()) if is_id(path.name)]
        for folder in (self._home.root, *folders):
            sweep(folder)
        metrics = {folder: summarize(folder) for folder in folders}
        with self._writing():
            docs: dict[str, Any] = {}
            for folder in folders:
                run = RunFolder(folder)
                doc = document(run, metrics=False)
                if doc is not None and not run.needs_supervisor():
                    docs[doc["id"]] = with_metrics(doc, metrics[folder])
            self._db.storage.write({"runs": docs})
            return len(docs)

    def _put(self, fresh: list[RunDoc], gone: list[str]) -> None:
        def change(table: dict[Any, Any]) -> None:
            for doc in fresh:
                table[doc["id"]] = doc
            for run_id in gone:
                table.pop(run_id, None)

        self._runs._update_table(change)  # TinyDB's upsert would write the whole file twice

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with locked(self._home.root / "catalogue.lock"):
            yield


def _storage(path: Path) -> AtomicStorage:
    return AtomicStorage(path)
