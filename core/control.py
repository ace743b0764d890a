"""What people do to a run after its launch: stop, kill, rename, tag, note, delete, restore."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from traindeck.core.base.errors import TraindeckError
from traindeck.core.base.files import locked, read_json, write_json
from traindeck.core.base.home import Home
from traindeck.core.base.process import Identity
from traindeck.core.catalogue.library import trashed as trashed
from traindeck.core.catalogue.store import Catalogue
from traindeck.core.engines.local import Boot
from traindeck.core.run.folder import RunFolder, clean_tags
from traindeck.core.run.spec import identity
from traindeck.core.run.state import ENDED, LIVE, UNREACHABLE

ADOPT_SECONDS = 20.0
"""How long another supervisor may take to stand, on a busy machine too."""


class ControlError(TraindeckError):
    """What was asked cannot be done; the message says why."""


def stop(folder: Path) -> None:
    """Ask a run to end: SIGTERM, and SIGKILL when its grace is over.

    Raises ControlError when it does not run.
    """
    _signal(folder, signal.SIGTERM)


def kill(folder: Path) -> None:
    """End a run and all it started at once. Raises ControlError when it does not run."""
    _signal(folder, signal.SIGUSR1)


def rename(home: Home, run_id: str, name: str) -> None:
    """Give a run another name; an empty one restores its first. Raises ControlError."""
    _change(home, run_id, name=name.strip())


def tag(home: Home, run_id: str, tags: Sequence[str]) -> None:
    """Set a run's tags. Raises ControlError."""
    _change(home, run_id, tags=clean_tags(tags))


def note(home: Home, run_id: str, text: str) -> None:
    """Set a run's notes. Raises ControlError."""
    _change(home, run_id, notes=text)


def trash(home: Home, run_id: str) -> None:
    """Move an ended run to the trash. Raises ControlError while it goes on."""
    folder = home.runs / run_id
    state, reason = RunFolder(folder).state()
    if state == UNREACHABLE:
        raise ControlError(f"run {run_id} {reason}: delete it there")
    if state in LIVE:
        raise ControlError(f"run {run_id} is {state}: stop it first (`traindeck stop {run_id}`)")
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


def _signal(folder: Path, number: int) -> None:
    supervisor = _supervisor(folder)
    if not hasattr(os, "pidfd_open"):  # only Linux has it
        os.kill(supervisor.pid, number)
        return
    try:
        descriptor = os.pidfd_open(supervisor.pid)
    except ProcessLookupError:
        raise ControlError(f"run {folder.name} has just ended") from None
    try:
        if not supervisor.alive():
            raise ControlError(f"run {folder.name} has just ended")
        signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        raise ControlError(f"run {folder.name} has just ended") from None
    finally:
        os.close(descriptor)


def _supervisor(folder: Path) -> Identity:
    """The run's supervisor, alive; a run that has lost its own gets another."""
    run = RunFolder(folder)
    deadline = time.monotonic() + ADOPT_SECONDS
    adopted = False
    while time.monotonic() < deadline:
        spec = run.spec()
        state, reason = run.state()
        if spec is None or state in ENDED:
            raise ControlError(f"run {folder.name} does not run: {state}. {reason}".rstrip(". "))
        if state == UNREACHABLE:
            raise ControlError(f"run {folder.name} {reason}: ask there")
        supervisor = identity(spec, "supervisor")
        if supervisor and supervisor.alive():
            return supervisor
        if supervisor and not adopted:
            Boot().supervise(folder, "adopt")
            adopted = True
        time.sleep(0.02)
    raise ControlError(f"run {folder.name} has no supervisor that could be asked")
