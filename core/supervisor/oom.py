"""Whether the kernel killed something for memory while the run lived."""

from __future__ import annotations

from pathlib import Path

from traindeck.core.supervisor import cgroup


class OomWatch:
    """Compares the kernel's counts of out-of-memory kills with those at its start.

    The run's own control group tells for certain, where it counts memory; else the machine's
    count (proc(5), /proc/vmstat) does, together with the SIGKILL that ended the run.
    """

    def __init__(self, group: Path | None) -> None:
        self._group = group
        self._before = _kills()

    def evidence(self) -> str:
        """The reason to give, or "" when nothing was killed for memory."""
        if self._group and cgroup.oom_kills(self._group):
            return "killed by the kernel: the run's control group was out of memory"
        kills = _kills() - self._before
        if kills <= 0:
            return ""
        return f"SIGKILL while the kernel counted {kills} out-of-memory kill{'s' * (kills > 1)}"


def _kills() -> int:
    try:
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    except OSError:
        pass
    return 0
