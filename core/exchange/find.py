"""Which runs a folder or file of other tools holds, and how each is read.

A folder is looked through without following links, for MLflow's runs, W&B's, event files,
Lightning's metrics.csv, CSV files and JSON lines with steps, and where there are none of these
beside them, logs with metrics. Of a file no more is read than tells that; the rest by the `read` of
what was found.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from traindeck.core.base.errors import NotFoundError
from traindeck.core.exchange import arrow, csv, jsonl, logs, mlflow, mlflow_db, wandb
from traindeck.core.exchange.params import HPARAMS, PARAMS, read_params
from traindeck.core.exchange.runs import OutsideRun, Unreadable
from traindeck.core.exchange.tensorboard import folders as tensorboard

MOST_RUNS = 10_000
MOST_FOLDERS = 50_000
DEEPEST = 12
_LINES = (".jsonl", ".ndjson")
_SKIPPED = frozenset(("node_modules", "site-packages", "__pycache__"))


@dataclass(frozen=True, slots=True)
class Found:
    """A run that lies there; `read` takes it in, and raises Unreadable or OSError."""

    place: Path
    read: Callable[[], OutsideRun]


@dataclass(frozen=True, slots=True)
class _Folder:
    path: Path
    name: str
    files: list[str]
    inside: list[str]

    def with_suffix(self, *suffixes: str) -> list[Path]:
        return [self.path / name for name in self.files if name.endswith(suffixes)]


def find(place: Path) -> list[Found]:
    """Every run in a folder, or the one of a file.

    Raises NotFoundError where there is no such file, Unreadable where no run is in it.
    """
    try:
        mode = place.stat().st_mode
    except OSError as error:
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            raise NotFoundError(f"{place}: there is no such file or folder") from None
        raise
    if stat.S_ISREG(mode) and place.suffix in (".db", ".sqlite") and mlflow_db.claims(place):
        return _database(place)
    if stat.S_ISREG(mode):
        return [Found(place, partial(read_file, place))]
    if not stat.S_ISDIR(mode):
        raise Unreadable(f"{place}: is neither a file nor a folder, so it is not read")
    found = []
    for run in _inside(place):
        found.append(run)
        if len(found) > MOST_RUNS:
            raise Unreadable(f"{place}: holds more than {MOST_RUNS:,} runs; import parts of it")
    if not found:
        raise Unreadable(
            f"{place}: holds no run: neither event files, nor MLflow's or W&B's runs, nor CSV files"
            " or JSON lines with steps, nor *.log with metrics; other logs are imported by name"
        )
    return found


def read_file(path: Path) -> OutsideRun:
    """The run of one file, by its name and what it begins with. Raises Unreadable, OSError."""
    if "tfevents" in path.name:
        return tensorboard.read(path, [path], path.parent.name or path.name)
    if path.suffix == ".wandb":
        return wandb.read(path)
    if path.name == wandb.HISTORY:
        return wandb.read_history(path)
    if path.suffix in (".csv", ".tsv"):
        return _table(path, _name_of(path))
    if path.suffix in _LINES:
        return _lines(path, path.stem)
    if path.suffix == ".parquet":
        return arrow.read(path)
    if path.suffix == ".py":
        raise Unreadable(f"{path}: is a program, and no log of what one printed")
    return logs.read(path)


def _inside(top: Path) -> Iterator[Found]:
    events: dict[Path, list[Path]] = {}
    for folder in _folders(top):
        if mlflow.META in folder.files and mlflow.is_run(folder.path):
            folder.inside.clear()
            if not mlflow.is_deleted(folder.path):
                yield Found(folder.path, partial(mlflow.read, folder.path))
            continue
        if mlflow_db.NAME in folder.files:
            path = folder.path / mlflow_db.NAME
            yield from _database(path)
        if logged := folder.with_suffix(".wandb"):
            folder.inside.clear()
            yield from (Found(path, partial(wandb.read, path)) for path in logged)
            continue
        if wandb.HISTORY in folder.files:
            path = folder.path / wandb.HISTORY
            yield Found(path, partial(wandb.read_history, path))
            continue
        own = [folder.path / name for name in folder.files if "tfevents" in name]
        if own:
            events[folder.path] = own
            continue  # what lies beside event files repeats them
        tables = False
        for path in folder.with_suffix(".csv", ".tsv"):
            if csv.claims(path):
                tables = True
                name = folder.name if path.name == csv.METRICS else f"{folder.name}/{path.stem}"
                yield Found(path, partial(_table, path, name))
        for path in folder.with_suffix(*_LINES):
            if jsonl.claims(path):
                tables = True
                name = folder.name if path.name == jsonl.METRICS else f"{folder.name}/{path.stem}"
                yield Found(path, partial(_lines, path, name))
        for path in [] if tables else folder.with_suffix(".log"):
            if logs.claims(path):
                yield Found(path, partial(logs.read, path, f"{folder.name}/{path.stem}"))
    yield from _tensorboard(top, events)


def _database(path: Path) -> list[Found]:
    """The runs of a database; one that cannot be read says so when it is asked for its run."""

    def fail(why: str) -> OutsideRun:
        raise Unreadable(why)

    try:
        return [Found(path, read) for _, read in mlflow_db.runs(path)]
    except Unreadable as error:
        return [Found(path, partial(fail, str(error)))]


def _tensorboard(top: Path, events: dict[Path, list[Path]]) -> Iterator[Found]:
    """The runs that event files belong to: parts of a run to that above them."""
    runs: dict[Path, list[Path]] = {}
    for folder, files in events.items():
        place = folder
        while place != top and tensorboard.belongs_to_parent(place):
            place = place.parent
        runs.setdefault(place, []).extend(files)
    for place, files in runs.items():
        yield Found(place, partial(tensorboard.read, place, files, _below(top, place)))


def _folders(top: Path) -> Iterator[_Folder]:
    """Every folder from the top on, nearest first; whoever takes one may clear what is inside."""
    waiting = [(top, 0)]
    for seen, (path, depth) in enumerate(waiting):
        if seen >= MOST_FOLDERS:
            raise Unreadable(f"{top}: more than {MOST_FOLDERS:,} folders; import parts of it")
        try:
            with os.scandir(path) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if path == top:
                raise Unreadable(f"{path}: {error.strerror}") from None
            continue
        files = [entry.name for entry in listed if entry.is_file(follow_symlinks=False)]
        inside = [
            entry.name
            for entry in listed
            if entry.is_dir(follow_symlinks=False)
            and not entry.name.startswith(".")
            and entry.name not in _SKIPPED
        ]
        folder = _Folder(path, _below(top, path), files, inside)
        yield folder
        if depth < DEEPEST:
            waiting += [(path / name, depth + 1) for name in folder.inside]


def _below(top: Path, path: Path) -> str:
    """What a run is called by its folder: the way to it, from the folder that was named."""
    below = path.relative_to(top).as_posix()
    name = top.absolute().name
    return name if below == "." else f"{name}/{below}"


def _name_of(path: Path) -> str:
    return path.absolute().parent.name if path.name == csv.METRICS else path.stem


def _table(path: Path, name: str) -> OutsideRun:
    run = csv.read(path, name)
    run.params = read_params(path.parent / HPARAMS)
    if path.name == csv.METRICS and run.params:
        run.tool = "Lightning's CSV"
    return run


def _lines(path: Path, name: str) -> OutsideRun:
    run = jsonl.read(path, name)
    run.params = read_params(path.parent / PARAMS)
    return run
