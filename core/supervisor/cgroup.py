"""A control group of the run's own, where the system lets us make one (cgroup v2).

With it nothing that a run started can be missed, even when supervisor and keeper were both killed,
and an out-of-memory kill is known to be the run's own. Without it all still works: see `keeper`.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

PREFIX = "traindeck-"


def make(run_id: str) -> Path | None:
    """Make the run's group beside our own; None where that is not allowed.

    Runs of two homes may have one id: the supervisor's pid tells their groups apart.
    """
    ours = _own_group()
    if ours is None:
        return None
    group = ours / f"{PREFIX}{run_id}-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        return None
    return group


def enter(group: Path) -> bool:
    """Move the calling process into a group, so that its next children are born there."""
    try:
        (group / "cgroup.procs").write_text("0")
    except OSError:
        return False
    return True


def leave() -> None:
    """Move the calling process out of a run's group, if a run has started it: to be its own."""
    group = _own_group()
    while group is not None and group.name.startswith(PREFIX):
        group = group.parent
        if not enter(group):
            return


def kill(group: Path) -> None:
    """End whatever is left in the group."""
    with contextlib.suppress(OSError):
        (group / "cgroup.kill").write_text("1")


def remove(group: Path) -> None:
    """Remove the group; what was killed in it may take a moment to go."""
    for _ in range(20):
        try:
            group.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.05)


def oom_kills(group: Path) -> int:
    """How often the kernel killed in this group for memory; 0 where that is not counted."""
    with contextlib.suppress(OSError):
        for line in (group / "memory.events").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def _own_group() -> Path | None:
    try:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        groups = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    own = next((line[4:] for line in groups if line.startswith("0::/")), None)
    root = next((line.split()[4] for line in mounts if " - cgroup2 " in line), None)
    return Path(root) / own if root is not None and own is not None else None
