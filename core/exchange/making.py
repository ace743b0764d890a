"""Runs of a home made of those of other tools: whole, or not at all, and none twice.

A run is built beside the others under a name that no list shows, and becomes one by a rename.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from traindeck.core.base.files import locked, read_json, write_json
from traindeck.core.base.home import Home
from traindeck.core.base.ids import is_id, new_folder
from traindeck.core.base.sanitize import plain
from traindeck.core.exchange.runs import OutsideRun, Points, Unreadable, bounds
from traindeck.core.run.folder import EXIT_ROOM, LONGEST_NAME, clean_tags, encode_exit
from traindeck.core.run.points import PointWriter
from traindeck.core.run.spec import IMPORTED, Imported, new_spec

_UNFINISHED = ".import-"
_AT_ONCE = 100_000  # points between two writes
_NOT_SAID = "how it ended is not said there"


@dataclass(frozen=True, slots=True)
class Made:
    """What became of one run.

    id     its id here, of the one that was there already where `new` is false
    since  the run that was made of the same place before that changed
    """

    id: str
    new: bool
    since: str | None = None


class Maker:
    """Makes runs in a home; knows those that were made of other tools' before.

    Hold it (`with`) while it is used: two at once would each miss what the other makes.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._by_mark: dict[str, str] = {}
        self._by_place: dict[tuple[str, str], str] = {}
        self._held = contextlib.ExitStack()

    def __enter__(self) -> Maker:
        """Raises OSError where the home cannot be written."""
        self._home.make()
        self._held.enter_context(locked(self._home.locks / "import"))
        for path in self._home.runs.iterdir():
            if path.name.startswith(_UNFINISHED):  # of one that was killed: nobody else holds on
                shutil.rmtree(path, ignore_errors=True)
            elif is_id(path.name) and (known := imported(path)) is not None:
                self._by_mark[known["mark"]] = path.name
                self._by_place[known["place"], known["part"]] = path.name
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def make(self, run: OutsideRun, *, name: str = "", tags: Iterable[str] = ()) -> Made:
        """Make a run, by another name if one is given, unless it is there already.

        Raises Unreadable where there is nothing in it, OSError.
        """
        if not run.points.count and not run.params:
            nothing = f"{run.place}: there is neither a metric nor a parameter in it"
            raise Unreadable(run.remarks[0] if run.remarks else nothing)
        mark = _mark(run)
        if mark in self._by_mark:
            return Made(self._by_mark[mark], new=False)
        place = str(run.place.absolute()), run.part
        run.name, run.tags = name or run.name, [*run.tags, *tags]
        building = self._home.runs / f"{_UNFINISHED}{os.getpid()}"
        try:
            building.mkdir(mode=0o700)
            _fill(building, run, Imported(tool=run.tool, place=place[0], part=run.part, mark=mark))
            folder = new_folder(self._home.runs, self._home.trash)
            try:
                _name(building, folder.name)
                building.rename(folder)
            except BaseException:
                folder.rmdir()
                raise
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise
        self._by_mark[mark] = folder.name
        before = self._by_place.get(place)
        self._by_place[place] = folder.name
        return Made(folder.name, new=True, since=before)


def imported(folder: Path) -> Imported | None:
    """Where a run came from that was made of another tool's; None of any other run."""
    spec = read_json(folder / "run.json") or {}
    known: Imported | None = spec.get("imported")
    return known if IMPORTED.fits(known) else None


def _mark(run: OutsideRun) -> str:
    """What two runs have in common only if they are the same."""
    digest = hashlib.sha256()
    facts = [run.name, run.params, sorted(run.tags), run.state, run.started]
    digest.update(json.dumps(facts, sort_keys=True, default=str).encode("utf-8", "replace"))
    for name in sorted(run.points.series):
        series = run.points.series[name]
        digest.update(f"\0{len(series)} {name}\0".encode("utf-8", "replace"))
        for column in (series.times, series.steps, series.values):
            digest.update(column)
    return digest.hexdigest()


def _fill(folder: Path, run: OutsideRun, origin: Imported) -> None:
    """Write all files of a run but its id. Raises OSError."""
    for name in ("artifacts", "source"):
        (folder / name).mkdir()
    first, last = bounds(run.points)
    started, ended = run.started or first, run.ended or last
    reason = f"imported from {run.tool}; {run.reason or _NOT_SAID}"
    write_json(folder / "params.json", run.params)
    source: dict[str, Any] = {**run.source, "imported": {**origin, "at": time.time()}}
    if run.remarks:
        source["imported"]["remarks"] = run.remarks
    write_json(folder / "source" / "provenance.json", source)
    user: dict[str, Any] = {"tags": clean_tags(run.tags)} if run.tags else {}
    if run.notes:
        user["notes"] = run.notes
    if user:
        write_json(folder / "user.json", user)
    _write_points(folder, run.points)
    end: dict[str, Any] = {"state": run.state, "reason": reason, "exit_code": run.exit_code}
    if ended is not None:
        end["ended"] = ended
    if started is not None and ended is not None:
        end["seconds"] = max(0.0, ended - started)
    (folder / "exit.json").write_bytes(encode_exit(end)[:EXIT_ROOM])
    spec = new_spec(
        name=plain(run.name, LONGEST_NAME) or "imported",
        recipe=None,
        framework="other",
        params=run.params,
        argv=[],
        command=["traindeck", "import", origin["place"]],
        cwd=str(Path(origin["place"]).parent),
        on="",
        claim={},
        grace=0.0,
        imported=origin,
        state=run.state,
        reason=reason,
        exit_code=run.exit_code,
        started=started,
        ended=ended,
    )
    spec["created"] = started or spec["created"]
    write_json(folder / "run.json", spec)


def _name(folder: Path, run_id: str) -> None:
    spec = read_json(folder / "run.json") or {}
    write_json(folder / "run.json", {**spec, "id": run_id})


def _write_points(folder: Path, points: Points) -> None:
    writer = PointWriter(folder)
    try:
        for name, series in points.series.items():
            rows = ((when, step, name, value) for when, step, value in series)
            while part := list(islice(rows, _AT_ONCE)):
                writer.add_all(part)
                writer.flush()
    finally:
        writer.close()
