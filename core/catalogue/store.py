"""The list of runs: TinyDB over a file that is never seen half-written.

One document a run, keyed by the run's id, written when a run changes its state. It only repeats
what the run folders say and can be made anew from them at any time (`reindex`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from tinydb import TinyDB
from tinydb.table import Table

from traindeck.core.base.files import locked, sweep
from traindeck.core.base.home import Home
from traindeck.core.base.ids import is_id
from traindeck.core.catalogue.document import RunDoc, document, with_metrics
from traindeck.core.catalogue.storage import AtomicStorage
from traindeck.core.catalogue.storage import CatalogueError as CatalogueError
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.points import summarize


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
