"""The catalogue's file: TinyDB's tables as JSON, a line a run.

Of a file that was read before, only the lines that are new are parsed. What parses ten thousand
runs at once holds up every other thread of the process for as long, the screen's among them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import NoneType
from typing import Any

import orjson
from tinydb.storages import Storage

from traindeck.core.base.errors import TraindeckError
from traindeck.core.base.files import write_atomic
from traindeck.core.catalogue.document import TYPES

RUNS = "runs"
HEAD, BETWEEN, TAIL = b'{"runs":{\n', b"\n,", b"\n}}"  # no newline stands within a JSON value

Runs = Mapping[str, Any]


class CatalogueError(TraindeckError):
    """The catalogue cannot be read; the message says what to do."""


class AtomicStorage(Storage):
    """TinyDB's file, replaced as a whole (fsync and rename) at every write.

    A run that did not change between two reads is the same object.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last: tuple[bytes, Runs] = b"", {}  # the file as it was read or written, and its runs

    def read(self) -> dict[str, dict[str, Any]] | None:
        """Raises CatalogueError when the file is damaged."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CatalogueError(f"{self._path} cannot be read: {error.strerror}") from None
        try:
            runs = self._read_on(data)
            tables = orjson.loads(data) if runs is None else {RUNS: runs}
        except ValueError as error:
            raise self._damaged(str(error)) from None
        if runs is None:
            runs = tables.get(RUNS, {}) if isinstance(tables, dict) else None
            if not isinstance(runs, dict) or not all(map(_is_doc, runs.items())):
                raise self._damaged("it holds something else than runs")
        self._last = data, runs
        return {**tables, RUNS: dict(runs)}

    def _read_on(self, data: bytes) -> dict[str, Any] | None:
        """The runs, where this and the last file hold a line for each; else None.

        Raises ValueError when a new line is damaged.
        """
        known = dict(zip(_lines(self._last[0]), self._last[1].items(), strict=False))
        if not known or len(known) != len(self._last[1]):
            return None
        runs: dict[str, Any] = {}
        for line in _lines(data):
            item = known.get(line)
            if item is None:
                [item] = orjson.loads(b"{%b}" % line).items()
                if not _is_doc(item):
                    raise ValueError("it holds something else than runs")
            runs[item[0]] = item[1]
        return runs or None

    def _damaged(self, why: str) -> CatalogueError:
        return CatalogueError(f"{self._path} is damaged ({why}); `traindeck reindex` makes it anew")

    def write(self, data: dict[str, dict[str, Any]]) -> None:
        """Replace the file by these tables; a document is never changed once it was read."""
        runs = data.get(RUNS, {})
        if data.keys() != {RUNS}:
            text = _json(data)
        else:
            pairs = zip(_lines(self._last[0]), self._last[1].items(), strict=False)
            known = {(key, id(doc)): line for line, (key, doc) in pairs}
            lines = (known.get((k, id(doc))) or _json({k: doc})[1:-1] for k, doc in runs.items())
            text = HEAD + BETWEEN.join(lines) + TAIL
        write_atomic(self._path, text)
        self._last = text, dict(runs)


def _json(value: Mapping[str, Any]) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS)


def _lines(data: bytes) -> list[bytes]:
    """The runs of a file that has a line for each; else nothing."""
    if not (data.startswith(HEAD) and data.endswith(TAIL)):
        return []
    body = data[len(HEAD) : -len(TAIL)]
    return body.split(BETWEEN) if body else []


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
