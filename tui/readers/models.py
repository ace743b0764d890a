"""The models of a home and who serves them, read off the event loop.

What a version's state is, its server says: in its run's record (`serving.json`), for as long as
that run goes on. Figures are the run's own points.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from traindeck.core.base.errors import TraindeckError
from traindeck.core.base.files import read_bounded, reading
from traindeck.core.base.home import Home
from traindeck.core.catalogue.document import RunDoc
from traindeck.core.models.bundle import BUNDLE, Bundle, read_bundle
from traindeck.core.models.shelf import Shelf, numbered
from traindeck.core.run.points import RECORD, read_names
from traindeck.core.run.state import LIVE
from traindeck.core.serving import (
    FAILED,
    IS_LOADING,
    RECIPE,
    SERVING,
    Served,
    address,
    last_words,
)
from traindeck.tui.readers.deploying import EXPORT
from traindeck.tui.readers.watch import Watch

LOOK_EVERY = 1.0
WINDOW_SECONDS = 60.0
MOST_RECORDS = 16384
MOST_CARD = 4 << 20
_MEGABYTE = 1 << 20
_ORDER = (SERVING, IS_LOADING, FAILED, "")


@dataclass(frozen=True, slots=True)
class Figures:
    """How a server fares, as of its last point and the minute before that.

    rates     requests a second, oldest first
    p50, p99  milliseconds, None where nothing was asked in that minute
    errors    in that minute
    """

    rates: tuple[float, ...] = ()
    p50: float | None = None
    p99: float | None = None
    errors: int = 0
    memory_mb: float | None = None

    @property
    def rate(self) -> float | None:
        return self.rates[-1] if self.rates else None


@dataclass(frozen=True, slots=True)
class Server:
    """A serving run; `serves` counts the versions whose requests its figures are of, together."""

    run: str
    state: str
    http: str = ""
    grpc: str = ""
    needs_token: bool = False
    serves: int = 0
    figures: Figures = field(default_factory=Figures)


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a model: of the home, or of elsewhere where a server has it.

    bundle     None when it has no sound description, and `problem` says why
    before     labels that it had before they were moved on
    state      serving, loading, failed, or empty: nobody serves it
    error      why it failed
    served_as  the name that its server gives it
    format     what it is served by
    figures    of this version alone, where its server has several
    """

    name: str
    number: int
    folder: Path
    bundle: Bundle | None = None
    problem: str = ""
    labels: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    own: bool = True
    state: str = ""
    error: str = ""
    served_as: str = ""
    format: str = ""
    server: Server | None = None
    figures: Figures | None = None

    @property
    def together(self) -> bool:
        """Whether there are figures of all that its server serves, and none of this alone."""
        return self.figures is None and self.server is not None and self.server.serves > 1

    @property
    def fares(self) -> Figures | None:
        """Its own figures, or its server's where there are none."""
        return self.figures or (self.server.figures if self.server else None)

    @property
    def key(self) -> str:
        return f"{self.name}/{self.number}" if self.own else str(self.folder)


@dataclass(frozen=True, slots=True)
class Card:
    """What a bundle's papers say, spelled out as they stand."""

    readme: str
    bundle: str


class ModelWatch(Watch[tuple[Version, ...]]):
    """Looks at all models and servers, from `start` on.

    runs  those that serve, as the app knows them; see `concerns`
    """

    def __init__(
        self,
        home: Home,
        *,
        ready: Callable[[tuple[Version, ...]], object],
        failed: Callable[[Exception], object],
        interval: float = LOOK_EVERY,
    ) -> None:
        super().__init__("model watch", ready=ready, failed=failed, interval=interval)
        self.runs: Sequence[RunDoc] = ()
        self._shelf = Shelf(home)
        self._bundles: dict[Path, tuple[object, Bundle | None, str]] = {}

    def park(self, parked: bool) -> None:
        """Look no more while nobody sees it, or go on."""
        self._parked = parked
        if not parked:
            self.look_now()

    def _look(self) -> tuple[Version, ...]:
        shelf = self._shelf
        versions: dict[Path, Version] = {}
        for name in shelf.names():
            labels, before = shelf.labels(name), shelf.before(name)
            for number in reversed(shelf.versions(name)):
                folder = shelf.folder(name, number)
                bundle, problem = self._bundle(folder)
                versions[folder.resolve()] = Version(
                    *(name, number, folder, bundle, problem),
                    tuple(word for word, at in labels.items() if at == number),
                    tuple(word for word, at in before.items() if at == number),
                )
        settled: set[str] = set()
        for doc in sorted(self.runs, key=lambda run: run["id"], reverse=True):
            self._ask(doc, versions, settled)
        return tuple(versions.values())

    def _ask(self, doc: RunDoc, versions: dict[Path, Version], settled: set[str]) -> None:
        """Add what a server has; of one that failed, only where no newer one had the model."""
        run, live = Path(doc["path"]), doc["state"] in LIVE
        there = address(run)
        served = list(there["versions"]) if there else list(_meant(doc))
        names = {one["model"] for one in served}
        newest = names - settled
        settled |= names
        if not live and doc["state"] != "failed":
            return
        words = "" if live else f"the server has failed: {last_words(run)}"
        fared = figures(run) if live else {}
        server = Server(
            doc["id"],
            doc["state"],
            there["http"] if there else "",
            there["grpc"] if there else "",
            bool(there and there["token_file"]),
            sum(one["state"] == SERVING for one in served),
            fared.get("", Figures()),
        )
        for one in served:
            if not live and one["model"] not in newest:
                continue
            folder = Path(one["folder"])
            before = versions.get(folder.resolve()) or self._elsewhere(one)
            state = one["state"] if live else FAILED
            own = fared.get(f"{one['model']}/{one['version']}") if server.serves > 1 else None
            if _ORDER.index(state) < _ORDER.index(before.state):
                versions[folder.resolve()] = replace(
                    before,
                    state=state,
                    error=words or one["error"],
                    served_as=one["model"],
                    format=one["format"],
                    server=server,
                    figures=own and replace(own, memory_mb=one.get("memory", 0) / _MEGABYTE),
                )

    def _elsewhere(self, one: Served) -> Version:
        folder = Path(one["folder"])
        bundle, problem = self._bundle(folder)
        return Version(one["model"], one["version"], folder, bundle, problem, own=False)

    def _bundle(self, folder: Path) -> tuple[Bundle | None, str]:
        try:
            status = os.stat(folder / BUNDLE)
            stamp: object = (status.st_mtime_ns, status.st_size, status.st_ino)
        except OSError:
            stamp = None
        known = self._bundles.get(folder)
        if known is None or known[0] != stamp:
            try:
                known = stamp, read_bundle(folder), ""
            except TraindeckError as error:
                known = stamp, None, str(error)
            self._bundles[folder] = known
        return known[1], known[2]


def concerns(doc: RunDoc) -> bool:
    """Whether a run serves, or makes, models."""
    return doc["recipe"] in (RECIPE, EXPORT)


def _meant(doc: RunDoc) -> Iterator[Served]:
    """What a server was asked to serve that never said what it has: the newest as it began."""
    try:
        words = shlex.split(str(doc["params"].get("models") or ""))
    except ValueError:
        words = []
    for word in words:
        name, _, place = word.partition("=")
        there = numbered(Path(place))
        versions = {n: at for n, at in there.items() if _made(at) <= doc["created"]} or there
        folder = versions[max(versions)] if versions else Path(place)
        number = max(versions, default=1)
        yield Served(
            model=name,
            version=number if versions or not folder.name.isdigit() else int(folder.name),
            folder=str(folder),
            state=IS_LOADING,
            format="",
            error="",
        )


def _made(bundle: Path) -> float:
    try:
        return os.stat(bundle / BUNDLE).st_mtime
    except OSError:
        return 0.0


def figures(run: Path) -> dict[str, Figures]:
    """How a server fares, by the end of its points: no more is read, however long it runs.

    By `model/version` for each of several versions, and by "" for the server itself.
    """
    try:
        with reading(run / "points.bin") as file:
            whole = os.fstat(file.fileno()).st_size // RECORD.size
            file.seek(max(0, whole - MOST_RECORDS) * RECORD.size)
            data = file.read(min(whole, MOST_RECORDS) * RECORD.size)
    except OSError:
        return {}
    names = read_names(run, "points")
    points = [
        (when, names[series].removeprefix("serve/"), value)
        for when, _, series, value in RECORD.iter_unpack(
            data[: len(data) // RECORD.size * RECORD.size]
        )
        if series < len(names)
    ]
    since = max((when for when, _, _ in points), default=0.0) - WINDOW_SECONDS
    of: dict[str, dict[str, list[float]]] = {}
    for when, name, value in points:
        if when >= since:
            whose, _, figure = name.rpartition("/")
            of.setdefault(whose, {}).setdefault(figure, []).append(value)
    return {whose: _figures(by) for whose, by in of.items()}


def _figures(by: dict[str, list[float]]) -> Figures:
    last = {name: values[-1] for name, values in by.items()}
    return Figures(
        tuple(by.get("requests_per_second", ())),
        last.get("p50_ms"),
        last.get("p99_ms"),
        round(sum(by.get("errors", ()))),
        last.get("memory_mb"),
    )


def read_card(folder: Path) -> Card:
    """A bundle's papers. What cannot be read is said in its stead."""

    def text(name: str) -> str:
        try:
            return read_bounded(folder / name, MOST_CARD).decode("utf-8", "replace")
        except OSError as error:
            return f"{name} cannot be read: {error.strerror or error}"

    return Card(text("README.md"), text(BUNDLE))


def exportable(docs: Sequence[RunDoc]) -> list[RunDoc]:
    """The runs that have left a servable. Asks the disk for each."""
    from traindeck.core.models.servable import FOLDER

    return [doc for doc in docs if (Path(doc["path"]) / "artifacts" / FOLDER).is_dir()]
