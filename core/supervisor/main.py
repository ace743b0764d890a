"""How a supervisor comes to life: forked away from whoever launched it.

The launcher starts a first process, which forks the supervisor and ends as soon as that has written
its identity into run.json. So the supervisor belongs to init, has no terminal, and the launcher
knows that the run is in its hands. Which run it is, the first process is told only when all is
imported: until then the launcher prepares it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import traindeck.core.devices.request  # noqa: F401  needed once the run is known: better now
from traindeck.core.base.environ import SUPERVISOR
from traindeck.core.base.files import opened
from traindeck.core.supervisor import cgroup
from traindeck.core.supervisor.charge import take_charge
from traindeck.core.supervisor.supervisor import Supervisor


def main() -> None:
    """Read which run to supervise, detach and do so.

    Standard input says it: the run's folder, NUL, and `start` or `adopt`. Does nothing when it says
    nothing, or when another supervisor has charge of the run.
    """
    folder, _, mode = sys.stdin.buffer.read().partition(b"\0")
    if not folder:
        return
    path = Path(os.fsdecode(folder))
    os.environ.pop(SUPERVISOR, None)  # /proc shows it ever after, and no run inherits it
    cgroup.leave()
    registered, register = os.pipe()
    if os.fork():
        os.close(register)
        os._exit(_tell(os.read(registered, 4096)))
    os.close(registered)
    os.setsid()
    _redirect(path / "supervisor.log")
    try:
        supervisor = Supervisor(take_charge(path))
        supervisor.register()
    except (BlockingIOError, ValueError):
        return
    except OSError as error:
        os.write(register, f"{error.strerror}: {error.filename or path}".encode())
        return
    os.write(register, b"!")
    os.close(register)
    supervisor.supervise(supervisor.adopt if mode == b"adopt" else supervisor.run)


def _tell(answer: bytes) -> int:
    """Tell the launcher what the supervisor said; returns the exit code."""
    if answer == b"!":
        return 0
    os.write(2, answer)
    return 1


def _redirect(log: Path) -> None:
    """From here on the run's own log is told what goes wrong, not whoever launched it."""
    null = os.open(os.devnull, os.O_RDONLY)
    said = opened(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(null, 0)
    os.dup2(said, 1)
    os.dup2(said, 2)
    os.close(null)
    os.close(said)
