"""The trash: what lies in it, how long and how large, and deleting it for good."""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from traindeck.core.base.errors import ControlError, UsageError
from traindeck.core.base.files import disk_use
from traindeck.core.base.home import Home
from traindeck.core.catalogue.document import document
from traindeck.core.catalogue.library import trashed
from traindeck.core.models.shelf import Shelf
from traindeck.core.run.folder import RunFolder

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_age = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([smhdw])").fullmatch


@dataclass(frozen=True, slots=True)
class Trashed:
    """A run in the trash, or a version of a model; a damaged run has but its id.

    id       a run's, or `models/NAME/<n>`
    state    the run's, or `model`
    bytes    what it takes up on the disk
    seconds  how long it has been there
    """

    id: str
    name: str | None
    state: str | None
    created: float | None
    bytes: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


def contents(home: Home) -> list[Trashed]:
    """All that is in the trash, the oldest run first, then models; reads every folder in it."""
    runs = [_look(home.trash / run_id) for run_id in trashed(home)]
    return runs + [_look_model(home, f"{name}/{n}") for name, n in sorted(Shelf(home).trashed())]


def purge(home: Home, run_id: str) -> int:
    """Delete a run or model that is in the trash for good; returns how many bytes that frees.

    What it spent of a budget stays spent. Raises ControlError.
    """
    folder = home.trash / run_id
    freed = disk_use(folder)
    try:
        if folder.is_symlink():
            folder.unlink()
        else:
            shutil.rmtree(folder)
    except OSError as error:
        what = os.fsdecode(error.filename) if error.filename else folder
        raise ControlError(f"{run_id} cannot be deleted: {what}: {error.strerror}") from None
    return freed


def age(text: str) -> float:
    """Seconds of an age such as 30d or 12h. Raises UsageError."""
    match = _age(text.strip().lower())
    if match is None:
        raise UsageError(f"{text!r} is no age: write 30d, 12h, 90m, 45s or 2w")
    return float(match[1]) * _SECONDS[match[2]]


def _look(folder: Path) -> Trashed:
    doc: Mapping[str, Any] = document(RunFolder(folder), metrics=False) or {}
    name, state, created = (doc.get(key) for key in ("name", "state", "created"))
    return Trashed(folder.name, name, state, created, disk_use(folder), _seconds_in(folder))


def _look_model(home: Home, name: str) -> Trashed:
    folder = home.trash / "models" / name
    return Trashed(f"models/{name}", name, "model", None, disk_use(folder), _seconds_in(folder))


def _seconds_in(folder: Path) -> float:
    since = math.inf
    with contextlib.suppress(OSError):
        since = folder.lstat().st_ctime  # when it was moved there
    return max(0.0, time.time() - since)
