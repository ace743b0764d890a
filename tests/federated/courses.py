"""What became of a federation and its processes, for tests of what goes wrong."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from tests.conftest import until
from tests.federated import federated_tools as tools
from traindeck.recipes.shared.federated.scientist.federation import Federation, Outcome


def processes(root: Path, name: str) -> list[psutil.Process]:
    """An owner's process, its job server and its job."""
    with contextlib.suppress(psutil.Error, OSError, ValueError, KeyError):
        own = psutil.Process(
            json.loads((root / "owners" / name / "status.json").read_text())["pid"]
        )
        return [own, *own.children(recursive=True)]
    return []


def ours() -> list[psutil.Process]:
    """What these tests have started: there may be a helper of multiprocessing's from others."""
    children = psutil.Process().children(recursive=True)
    return [process for process in children if process not in EARLIER]


def alive(some: list[psutil.Process]) -> list[int]:
    return [p.pid for p in some if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


EARLIER: list[psutil.Process] = []


@dataclass
class Course:
    """What became of a federation: its rounds, and how it failed."""

    root: Path
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    models: dict[int, Any] = field(default_factory=dict)
    failure: str = ""
    processes: list[psutil.Process] = field(default_factory=list)
    killed: list[psutil.Process] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    waited: list[list[str]] = field(default_factory=list)

    def round(self, federation: Federation, number: int) -> Outcome:
        model = tools.first() if number == 1 else self.models[number - 1]
        if number > 1:
            model = np.asarray(model + self.outcomes[number - 1].update, np.float32)
        self.models[number] = model
        self.outcomes[number] = federation.round(number, model)
        federation.tell(number, self.outcomes[number])
        return self.outcomes[number]


_LETTERS: dict[Path, list[Any]] = {}


def letters(root: Path) -> list[Any]:
    if root not in _LETTERS:
        _LETTERS[root] = list(tools.opened(root))
    return _LETTERS[root]


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """At its end all processes that were started in it have ended."""
    EARLIER[:] = psutil.Process().children(recursive=True)
    yield
    until(lambda: not alive(ours()), "the end of all children")
