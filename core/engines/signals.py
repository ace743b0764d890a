"""Asking a supervisor on this machine: it is found, made if it was killed, and sent a signal."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from traindeck.core.base.errors import ControlError
from traindeck.core.base.process import Identity
from traindeck.core.engines.base import Engine, known
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.spec import identity
from traindeck.core.run.state import ENDED, UNREACHABLE

ADOPT_SECONDS = 20.0
"""How long another supervisor may take to stand, on a busy machine too."""


def supervisor_of(folder: Path, engine: Engine) -> Identity:
    """The run's supervisor, alive; a run that has lost its own gets another.

    Raises ControlError when the run does not go on, or not here.
    """
    run = RunFolder(folder)
    deadline = time.monotonic() + ADOPT_SECONDS
    adopted = False
    while time.monotonic() < deadline:
        spec = run.spec()
        verdict = known(engine, spec, run.exit()) if spec else run.verdict()
        if spec is None or verdict.state in ENDED:
            why = f"{verdict.state}. {verdict.reason}".rstrip(". ")
            raise ControlError(f"run {folder.name} does not run: {why}")
        if verdict.state == UNREACHABLE:
            raise ControlError(f"run {folder.name} {verdict.reason}: ask there")
        supervisor = identity(spec, "supervisor")
        if supervisor and supervisor.alive():
            return supervisor
        if supervisor and not adopted:
            engine.start(folder, "adopt")
            adopted = True
        time.sleep(0.02)
    raise ControlError(f"run {folder.name} has no supervisor that could be asked")


def send(folder: Path, supervisor: Identity, number: int) -> None:
    """Signal this very process, not another with its pid. Raises ControlError if it has gone."""
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
