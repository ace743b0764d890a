"""Asking a supervisor on this machine: it is found, made if it was killed, and sent a signal."""

from __future__ import annotations

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
HEAR_SECONDS = 0.5
"""How long a supervisor is given to write down what it was asked; it will hear it all the same."""


def ask(folder: Path, engine: Engine, number: int) -> None:
    """Signal the run's supervisor, and another one if it dies before it has heard.

    Raises ControlError when the run does not go on, or not here.
    """
    while True:
        supervisor, state = supervisor_of(folder, engine)
        if supervisor.send(number) and _heard(folder, supervisor, state):
            return


def supervisor_of(folder: Path, engine: Engine) -> tuple[Identity, str]:
    """The run's supervisor, alive, and the run's state; a run that has lost its own gets another.

    Raises ControlError when the run does not go on, or not here.
    """
    run = RunFolder(folder)
    deadline = time.monotonic() + ADOPT_SECONDS
    while time.monotonic() < deadline:
        spec = run.spec()
        verdict = known(engine, run, spec, run.exit()) if spec else run.verdict()
        if spec is None or verdict.state in ENDED:
            why = f"{verdict.state}. {verdict.reason}".rstrip(". ")
            raise ControlError(f"run {folder.name} does not run: {why}")
        if verdict.state == UNREACHABLE:
            raise ControlError(f"run {folder.name} {verdict.reason}: ask there")
        supervisor = identity(spec, "supervisor")
        if supervisor and supervisor.alive():
            return supervisor, verdict.state
        if supervisor:  # nothing comes of it while another one is adopting the run, or still dying
            try:
                engine.start(folder, "adopt")
            except OSError as error:
                why = f"has lost its supervisor, and {error.strerror or error}"
                raise ControlError(f"run {folder.name} {why}") from None
        time.sleep(0.02)
    raise ControlError(f"run {folder.name} has no supervisor that could be asked")


def _heard(folder: Path, supervisor: Identity, before: str) -> bool:
    """False if it died with the signal unheard: a killed process takes signals until it is gone."""
    run = RunFolder(folder)
    deadline = time.monotonic() + HEAR_SECONDS
    while time.monotonic() < deadline:
        alive = supervisor.alive()
        state = run.verdict().state
        if state in ENDED or (alive and state != before):
            return True
        if not alive:
            return False
        time.sleep(0.01)
    return True
