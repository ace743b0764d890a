"""Models and their versions: a new one is loaded beside the old, and only then is that let go."""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from traindeck.core.models.shelf import LABELS, STABLE, numbered, words_in
from traindeck.recipes.shared.deploy.serving.backends.base import Backend
from traindeck.recipes.shared.deploy.serving.errors import Refused, brief, invalid
from traindeck.recipes.shared.deploy.serving.meters import asks

START, LOADING, AVAILABLE, UNLOADING, END = 10, 20, 30, 40, 50
RETRY_SECONDS = 5.0
"""Between tries of a version that did not load; at once when its files change."""


@dataclass(slots=True)
class Version:
    number: int
    folder: Path
    state: int = START
    error: Refused | None = None
    backend: Backend | None = None
    tries: int = 0
    next_try: float = 0.0
    seen: object = None
    """What the folder looked like when it was last tried."""


@dataclass(slots=True)
class Model:
    """A model and which of its versions are wanted.

    policy  `latest` (the `count` highest), `all`, `specific` (`numbers`), `stable`: what the label
            of that name is on, the latest where it is on none; or `single`: `base` is the model
    """

    name: str
    base: Path
    policy: str = "latest"
    count: int = 1
    numbers: frozenset[int] = frozenset()
    labels: Mapping[str, int] = field(default_factory=dict)
    prefer: str = ""
    versions: dict[int, Version] = field(default_factory=dict)
    _known: Mapping[str, int] = field(default_factory=dict)

    def label(self, name: str) -> int | None:
        """The version that a label is on, as of the last look."""
        return self._known.get(name)

    def _labels(self) -> Mapping[str, int]:
        self._known = {**words_in(self.base / LABELS), **self.labels}
        return self._known

    def wanted(self) -> dict[int, Path]:
        """The folders to serve, by version. An empty or missing base has none."""
        if self.policy == "single":
            return {_own_number(self.base): self.base} if self.base.is_dir() else {}
        found = numbered(self.base)
        labels = self._labels()
        if self.policy == "all":
            return found
        if self.policy == "specific":
            return {number: path for number, path in found.items() if number in self.numbers}
        if self.policy == STABLE and labels.get(STABLE) in found:
            return {labels[STABLE]: found[labels[STABLE]]}
        latest = sorted(found)[-self.count :]
        chosen = {*latest, *labels.values()}
        return {number: path for number, path in found.items() if number in chosen}


class Store:
    """All that is served. One thread looks at the folders; any number ask for models.

    load     makes a backend of a version's folder and the format that is preferred
    poll     seconds between looks; 0: the folders are looked at once
    retries  of a version that does not load and does not change
    changed  asked at each look: other models to serve from now on, or None
    """

    def __init__(
        self,
        models: Iterable[Model],
        load: Callable[[Path, str], Backend],
        poll: float = 1.0,
        retries: int = 5,
        changed: Callable[[], Iterable[Model] | None] = lambda: None,
    ) -> None:
        self.models = {model.name: model for model in models}
        self._changed = changed
        self._load_backend, self._poll, self._retries = load, poll, retries
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def set(self, models: Iterable[Model]) -> None:
        """Serve these from now on; those that stay keep what is loaded. Blocks while loading."""
        with self._lock:
            new = {model.name: model for model in models}
            for name, old in self.models.items():
                if name in new and (new[name].base, new[name].prefer) == (old.base, old.prefer):
                    new[name].versions = old.versions
            gone = [old for name, old in self.models.items() if name not in new]
            replaced = [
                old
                for name, old in self.models.items()
                if name in new and new[name].versions is not old.versions
            ]
            self.models = new
            self._look()
            for model in (*gone, *replaced):
                for version in model.versions.values():
                    _unload(version)

    def start(self) -> threading.Thread:
        """Look now and then, in a thread, until `stop`."""
        thread = threading.Thread(target=self._watch, name="store", daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        self._stopping.set()

    def look(self) -> None:
        """Load what is new and let go of what is no longer wanted."""
        with self._lock:
            self._look()

    def _watch(self) -> None:
        self.look()
        while self._poll > 0 and not self._stopping.wait(self._poll):
            models = self._changed()
            if models is None:
                self.look()
            else:
                self.set(models)

    def _look(self) -> None:
        for model in self.models.values():
            wanted = model.wanted()
            for number in sorted(wanted, reverse=True):
                version = model.versions.get(number)
                if version is None or (version.state == END and version.error is None):
                    version = model.versions[number] = Version(number, wanted[number])
                if self._is_due(version):
                    self._load(model, version)
            served = [one for one in model.versions.values() if one.state == AVAILABLE]
            if any(one.number in wanted for one in served):  # never the last before another is
                for version in served:
                    if version.number not in wanted:
                        _unload(version)
            for number, version in list(model.versions.items()):
                if version.error and not version.folder.exists():
                    del model.versions[number]

    def _is_due(self, version: Version) -> bool:
        if version.state == START:
            return True
        if version.state != END or version.error is None:
            return False
        if _looks(version.folder) != version.seen:
            version.tries = 0
            return True
        return version.tries <= self._retries and time.monotonic() >= version.next_try

    def _load(self, model: Model, version: Version) -> None:
        version.state, version.seen = LOADING, _looks(version.folder)
        version.tries += 1
        try:
            version.backend = self._load_backend(version.folder, model.prefer)
        except Refused as error:
            first = version.error is None or version.error.message != error.message
            version.error, version.state = error, END
            version.next_try = time.monotonic() + RETRY_SECONDS
            if first:
                say(f"{model.name} {version.number} was not loaded: {error}", error=True)
        except Exception as error:
            version.error, version.state = Refused("INTERNAL", brief(error)), END
            version.next_try = time.monotonic() + RETRY_SECONDS
            say(f"{model.name} {version.number} was not loaded: {brief(error)}", error=True)
        else:
            version.error, version.state = None, AVAILABLE
            say(f"{model.name} {version.number} is served by {version.backend.kind}")

    def get(
        self, name: str, number: int | None = None, label: str | None = None
    ) -> tuple[Backend, int]:
        """What serves a model's version, or its latest, and that version. Raises Refused."""
        if not name:
            raise invalid("ModelSpec has no name specified.")
        model = self.models.get(name)
        number = _latest(model, number)
        if label:
            number = model.label(label) if model else None
            if number is None:
                raise invalid(f"Unrecognized servable version label: {label}")
        if model:
            numbers = sorted(model.versions, reverse=True) if number is None else [number]
            for one in numbers:
                version = model.versions.get(one)
                backend = version.backend if version and version.state == AVAILABLE else None
                if backend is not None:
                    asks(name, one)
                    return backend, one
        what = f"Latest({name})" if number is None else f"Specific({name}, {number})"
        raise Refused("NOT_FOUND", f"Servable not found for request: {what}")

    def serving(self) -> dict[tuple[str, int], Backend]:
        """What serves, by model and version."""
        return {
            (model.name, version.number): version.backend
            for model in list(self.models.values())
            for version in list(model.versions.values())
            if version.state == AVAILABLE and version.backend is not None
        }

    def status(self, name: str, number: int | None = None) -> list[Version]:
        """A model's versions, the highest first, or one. Raises Refused when there is none."""
        if not name:
            raise invalid("Missing model name in request.")
        model = self.models.get(name)
        number = _latest(model, number)
        if number is not None:
            if not model or number not in model.versions:
                raise Refused("NOT_FOUND", f"Could not find version {number} of model {name}")
            return [model.versions[number]]
        if not model or not model.versions:
            raise Refused("NOT_FOUND", f"Could not find any versions of model {name}")
        return [model.versions[one] for one in sorted(model.versions, reverse=True)]

    def ready(self, name: str = "") -> bool:
        """Whether the model, or each of them, has a version that serves."""
        models = [self.models.get(name)] if name else list(self.models.values())
        return bool(models) and all(
            model is not None
            and any(one.state == AVAILABLE for one in list(model.versions.values()))
            for model in models
        )

    def problems(self) -> dict[str, str]:
        """Why a model has no version that serves, where none is being loaded either."""
        found = {}
        for model in list(self.models.values()):
            versions = sorted(model.versions.values(), key=lambda one: -one.number)
            wrong = [str(one.error) for one in versions if one.error]
            if wrong and all(one.state == END for one in versions):
                found[model.name] = wrong[0]
        return found


def _own_number(folder: Path) -> int:
    """A version's number where it is known by one, else 1."""
    return int(folder.name) if folder.name.isascii() and folder.name.isdigit() else 1


def say(text: str, error: bool = False) -> None:
    """A line in the run's log."""
    print(text, file=sys.stderr if error else sys.stdout, flush=True)


def _latest(model: Model | None, number: int | None) -> int | None:
    """0 means the latest to OpenVINO's clients, and there is rarely a folder 0."""
    return None if number == 0 and model and 0 not in model.versions else number


def _looks(folder: Path) -> object:
    """What changes when a file in the folder does."""
    with suppress(OSError):
        return sorted(
            (str(path), (stat := path.stat()).st_size, stat.st_mtime_ns)
            for path in folder.rglob("*")
        )
    return None


def _unload(version: Version) -> None:
    """Let go of a version; requests that still run keep it until they are answered."""
    if version.state != AVAILABLE:
        return
    version.state = UNLOADING
    version.backend = None
    gc.collect()
    with suppress(OSError, AttributeError):  # glibc alone keeps what was freed, and has this
        ctypes.CDLL(None).malloc_trim(0)
    version.state, version.error = END, None
