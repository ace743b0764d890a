"""Having charge of a run: no two supervisors of one run ever work at once."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from traindeck.core.base.files import opened
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.spec import Spec, is_elsewhere
from traindeck.core.run.state import Verdict


@dataclass(frozen=True, slots=True)
class Charge:
    """What its one supervisor holds of a run.

    lock       the descriptor that holds it: the kernel frees it when we die
    exit_file  the descriptor of exit.json, open before a disk can be full or read-only; it holds a
               shared lock, as does the keeper's: whoever cannot see us knows by it that we live
    spec       run.json, whose only writer we are from now on
    before     the run's state when we came
    """

    folder: Path
    lock: int
    exit_file: int
    spec: Spec
    before: Verdict


def take_charge(folder: Path) -> Charge:
    """Become the supervisor of a run.

    Raises BlockingIOError when another has charge of it, ValueError when there is nothing to
    supervise any more, OSError when its files cannot be opened.
    """
    flags = os.O_RDWR | os.O_CREAT
    lock = opened(folder / "supervisor.lock", flags)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    run = RunFolder(folder)
    before = run.verdict()
    spec = run.spec()
    if spec is None or is_elsewhere(spec) or "state" in (run.exit() or {}):
        raise ValueError(f"nothing to supervise in {folder}")
    run.tidy()
    exit_file = opened(folder / "exit.json", flags)
    fcntl.flock(exit_file, fcntl.LOCK_SH)
    return Charge(folder, lock, exit_file, spec, before)
