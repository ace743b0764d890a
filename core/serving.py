"""What a server is to serve, found by words, and the servers that run.

A word is `NAME`, a model of the home; `RUN`, what that run left or the model that was exported of
it; `FOLDER`, with versions as numbered folders or with one model; or `AS=` before any of these, to
serve it by another name.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

from traindeck.core.base.errors import (
    MissingError,
    NotFoundError,
    TraindeckError,
    UsageError,
)
from traindeck.core.base.files import read_json, tail
from traindeck.core.base.home import Home
from traindeck.core.base.nearest import did_you_mean
from traindeck.core.base.sanitize import plain
from traindeck.core.base.schema import Schema
from traindeck.core.catalogue.library import AmbiguousRun, Library, RunNotFound
from traindeck.core.models import servable
from traindeck.core.models.bundle import read_bundle
from traindeck.core.models.servable import SERVED
from traindeck.core.models.shelf import Shelf, as_name, numbered
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.state import ENDED, LIVE

RECIPE = "serve"
ADDRESS = "serving.json"
"""In a run's folder, written once the server listens."""

SERVING, IS_LOADING, FAILED = "serving", "loading", "failed"
READY_SECONDS = 60.0
_KINDS = {kind.exit_code: kind for kind in (UsageError, NotFoundError, MissingError)}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Served(TypedDict):
    """A version as its server has it: `state` is `serving`, `loading` or `failed`."""

    model: str
    version: int
    folder: str
    state: str
    format: str
    """What it is served by; empty unless it is."""
    error: str
    memory: NotRequired[int]
    """Bytes that loading it added to the server's, about."""


class Address(TypedDict):
    """Where a server is, and what it serves."""

    http: str
    grpc: str
    models: list[str]
    token_file: str
    ca: str
    private: list[str]
    ready: bool
    """Whether each model has a version that serves."""
    problems: dict[str, str]
    """Why a model has none, and none is being loaded."""
    versions: list[Served]
    """Those that the server has, or tries to load."""


_SERVED = Schema(Served)
_ADDRESS = Schema(Address)


@dataclass(frozen=True, slots=True)
class Target:
    """A model to serve: `folder` has its versions as numbered folders, or, `single`, is one."""

    name: str
    folder: Path
    single: bool = False


def targets(home: Home, words: Sequence[str]) -> list[Target]:
    """What the words mean. Raises NotFoundError, UsageError."""
    found = [_target(home, word) for word in words]
    names = [target.name for target in found]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two models would be served as {name!r}: say OTHER=… for one of them")
    return found


def _target(home: Home, word: str) -> Target:
    given, equals, ref = word.partition("=")
    name, ref = (given, ref) if equals else ("", word)
    if name and not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be a model's name: letters, digits, . _ - are taken")
    if not ref:
        raise UsageError("say what is to be served: a model, a run, or a folder")
    if _NAME.fullmatch(ref) and Shelf(home).versions(ref):
        return Target(name or ref, home.models / ref)
    path = Path(ref).expanduser()
    if path.is_dir():
        return _folder(name, path.absolute())
    try:
        run = Library(home).find(ref, metrics=False)
    except (RunNotFound, AmbiguousRun) as error:
        if isinstance(error, AmbiguousRun):
            raise
        known = ", ".join(Shelf(home).names())
        raise NotFoundError(
            f"{ref!r} is no model, no run and no folder; models are: {known or 'none yet'}"
            " (`traindeck export RUN` makes one)"
        ) from None
    return _of_run(home, name, run["id"], run["name"])


def _folder(name: str, path: Path) -> Target:
    name = name or as_name(path.name) or "model"
    if numbered(path):
        return Target(name, path)
    if any((path / file).exists() for file in SERVED):
        return Target(name, path, single=True)
    raise NotFoundError(
        f"{path} has neither numbered folders (1, 2, …) nor a model: {', '.join(SERVED)}"
    )


def _of_run(home: Home, name: str, run_id: str, run_name: str) -> Target:
    """The model that was exported of a run, else the servable that the run left."""
    shelf = Shelf(home)
    for model in shelf.names():
        for version in reversed(shelf.versions(model)):
            folder = shelf.folder(model, version)
            try:
                made_of = read_bundle(folder).get("run", {}).get("id")
            except TraindeckError:
                continue
            if made_of == run_id:
                return Target(name or model, folder, single=True)
    left = home.runs / run_id / "artifacts" / servable.FOLDER
    if any((left / file).exists() for file in SERVED):
        return Target(name or as_name(run_name) or "model", left, single=True)
    raise NotFoundError(
        f"run {run_id} has left nothing that can be served: `traindeck export {run_id}`"
        " says why, or makes it"
    )


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def address(run: Path) -> Address | None:
    """Where a run's server listens; None while it does not, or where it is none."""
    value: Any = read_json(run / ADDRESS)
    sound = _ADDRESS.fits(value) and all(map(_SERVED.fits, value["versions"]))
    return cast(Address, value) if sound else None


def awaited(run: Path, seconds: float = READY_SECONDS) -> Address:
    """Wait until every model of a server that was started serves, or is seen not to load.

    What has not come about after so many seconds is not waited for. Raises what the server's end
    means, with its last words, and TraindeckError where it does not listen by then.
    """
    until = time.monotonic() + seconds
    while True:
        there = address(run)
        late = time.monotonic() > until
        if there is not None and (there["ready"] or there["problems"] or late):
            return there
        verdict = RunFolder(run).verdict()
        if verdict.state in ENDED:
            kind = _KINDS.get(verdict.exit_code or 0, TraindeckError)
            raise kind(f"the server has {verdict.state}: {last_words(run)}")
        if late:
            raise TraindeckError(
                f"the server does not listen yet ({verdict.state});"
                f" `traindeck logs {run.name}` says why"
            )
        time.sleep(0.05)


def last_words(run: Path) -> str:
    """The last line that a run has printed, for people."""
    lines = tail(run / "output.log", 4096).decode("utf-8", "replace").strip().splitlines()
    return plain(lines[-1].removeprefix("error: ")) if lines else "it said nothing"


def servers(home: Home) -> dict[str, Address]:
    """The servers of this home that run, newest first, by their run's id."""
    found = {}
    for folder in sorted(home.runs.iterdir(), reverse=True) if home.runs.is_dir() else ():
        if (folder / ADDRESS).exists() and RunFolder(folder).state()[0] in LIVE:
            there = address(folder)
            if there is not None:
                found[folder.name] = there
    return found


def server_of(home: Home, model: str) -> Address:
    """The newest server that serves a model. Raises NotFoundError."""
    known: list[str] = []
    for there in servers(home).values():
        if model in there["models"]:
            return there
        known += there["models"]
    what = f"served are: {', '.join(sorted(set(known)))}" if known else "nothing is served"
    made = Shelf(home).names()
    if model in made:
        mend = f"`traindeck serve {model}` serves it"
    else:
        mend = did_you_mean(model, [*known, *made])
    if not mend:
        lists = "`traindeck models` lists those to serve"
        mend = lists if made else "`traindeck export RUN` makes a model to serve"
    raise NotFoundError(f"no server of this home serves {model!r}; {what}; {mend}")
