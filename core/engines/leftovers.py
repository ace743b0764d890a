"""What a run left behind when supervisor and keeper were both killed: found by marks, and ended.

The environment that a process was started with names its run's folder, and its session is the run's
own process, which begins one. Nothing else on the machine is touched.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from traindeck.core.base.environ import RUN_FOLDER
from traindeck.core.base.process import (
    SESSION,
    Identity,
    boot_id,
    start_ticks,
    stat_fields,
    variable,
)
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.spec import identity, is_elsewhere

END_SECONDS = 10.0


def left_over(folder: Path) -> list[Identity]:
    """The living processes of a run of this machine, whoever their parent is by now."""
    spec = RunFolder(folder).spec()
    if spec is None or is_elsewhere(spec):
        return []
    child = identity(spec, "child")
    if child is not None and child.boot_id != boot_id():
        child = None
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        if name.isdecimal() and int(name) != os.getpid():
            who = Identity.of(int(name))
            if who and _is_marked(who.pid, folder, child) and who.alive():
                found.append(who)
    return found


def end_left_over(folder: Path) -> bool:
    """Kill what is left of a run until nothing is, for some seconds; whether there was anything."""
    some = False
    deadline = time.monotonic() + END_SECONDS
    while (left := left_over(folder)) and time.monotonic() < deadline:
        for process in left:
            with contextlib.suppress(PermissionError):
                some = process.send(signal.SIGKILL) or some
        time.sleep(0.02)
    return some


def _is_marked(pid: int, folder: Path, child: Identity | None) -> bool:
    mark = variable(pid, RUN_FOLDER)
    if mark is not None:
        return mark == str(folder) or os.path.realpath(mark) == os.path.realpath(folder)
    return child is not None and _is_of_session(pid, child)


def _is_of_session(pid: int, leader: Identity) -> bool:
    """Whether it is in the session that this process began.

    The kernel gives no process the pid of a session that has others in it: one of that pid that is
    not this leader began another session.
    """
    fields = stat_fields(pid)
    if fields is None or int(fields[SESSION]) != leader.pid:
        return False
    return start_ticks(leader.pid) in (None, leader.start_ticks)
