"""What people do to a run after its launch: stop, kill, rename, tag, note, delete, restore."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from traindeck.core.base.errors import ControlError
from traindeck.core.base.files import locked, read_json, write_json
from traindeck.core.base.home import Home
from traindeck.core.catalogue.store import Catalogue
from traindeck.core.engines.choose import engine_of, verdict
from traindeck.core.run.folder import RunFolder, check_words, clean_tags
from traindeck.core.run.state import LIVE, UNREACHABLE


def stop(folder: Path) -> None:
    """Ask a run to end: SIGTERM, and SIGKILL when its grace is over.

    Raises ControlError when it does not run.
    """
    engine_of(RunFolder(folder)).signal(folder, "stop")


def kill(folder: Path) -> None:
    """End a run and all it started at once. Raises ControlError when it does not run."""
    engine_of(RunFolder(folder)).signal(folder, "kill")


def rename(home: Home, run_id: str, name: str) -> None:
    """Give a run another name; an empty one restores its first.

    Raises ControlError, and UsageError for one that is too long.
    """
    check_words(name=name)
    _change(home, run_id, name=name.strip())


def tag(home: Home, run_id: str, tags: Sequence[str]) -> None:
    """Set a run's tags. Raises ControlError, and UsageError for too many."""
    check_words(tags=tags)
    _change(home, run_id, tags=clean_tags(tags))


def note(home: Home, run_id: str, text: str) -> None:
    """Set a run's notes. Raises ControlError, and UsageError for too much."""
    check_words(notes=text)
    _change(home, run_id, notes=text)


def trash(home: Home, run_id: str) -> None:
    """Move an ended run to the trash. Raises ControlError while it goes on."""
    folder = home.runs / run_id
    known = verdict(RunFolder(folder))
    if known.state == UNREACHABLE:
        raise ControlError(f"run {run_id} {known.reason}: delete it there")
    if known.state in LIVE:
        why = f"is {known.state}: stop it first (`traindeck stop {run_id}`)"
        raise ControlError(f"run {run_id} {why}")
    try:
        folder.rename(home.trash / run_id)
    except OSError as error:
        raise ControlError(f"run {run_id} cannot be deleted: {error.strerror}") from None
    Catalogue(home).sync(folder)


def restore(home: Home, run_id: str) -> None:
    """Bring a run back from the trash. Raises ControlError when it is not there."""
    folder = home.runs / run_id
    try:
        (home.trash / run_id).rename(folder)
    except OSError as error:
        raise ControlError(f"run {run_id} cannot be restored: {error.strerror}") from None
    Catalogue(home).sync(folder)


def _change(home: Home, run_id: str, **changes: Any) -> None:
    folder = home.runs / run_id
    path = folder / "user.json"
    try:
        with locked(home.root / "catalogue.lock"):
            write_json(path, {**(read_json(path) or {}), **changes})
        Catalogue(home).sync(folder)
    except OSError as error:
        raise ControlError(f"run {run_id} cannot be changed: {error.strerror}") from None
