"""How a supervisor comes to life: forked away from whoever launched it.

The launcher starts a first process, which forks the supervisor and ends as soon as that has written
its identity into run.json. So the supervisor belongs to init, has no terminal, and the launcher
knows that the run is in its hands.
"""

from __future__ import annotations

import os
from pathlib import Path

from traindeck.core.supervisor.supervisor import Supervisor


def main(folder: str, mode: str) -> None:
    """Detach and supervise the run in `folder`; `mode` is `start` or `adopt`.

    Does nothing when another supervisor has charge of the run."""
    registered, register = os.pipe()
    if os.fork():
        os.close(register)
        os._exit(0 if os.read(registered, 1) else 1)
    os.close(registered)
    os.setsid()
    supervisor = Supervisor(Path(folder))
    try:
        supervisor.register()
    except BlockingIOError:
        return
    os.write(register, b"!")
    os.close(register)
    if mode == "adopt":
        supervisor.adopt()
    else:
        supervisor.run()
