"""Which processes are a run's: those below it, but for other runs that were started from there.

A supervisor is known by a variable of its environment, and so are keeper, scribe and clerks, which
it forks. Whatever lies below one is another run's.
"""

from __future__ import annotations

from traindeck.core.base.environ import SUPERVISOR
from traindeck.core.base.process import PPID, stat_fields, variable
from traindeck.core.devices.proctree import descendants


def is_supervisors(pid: int) -> bool:
    """Whether a process is a supervisor or was forked from one."""
    return variable(pid, SUPERVISOR) is not None


def family(root: int) -> list[int]:
    """Pids of all living descendants of a process that belong to its run, parents first."""
    pids = descendants(root)
    others: set[int] = set()
    for pid in pids:
        fields = stat_fields(pid)
        if is_supervisors(pid) or (fields is not None and int(fields[PPID]) in others):
            others.add(pid)
    return [pid for pid in pids if pid not in others]
