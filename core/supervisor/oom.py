"""Whether the kernel killed something for memory when the run ended."""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path

from traindeck.core.supervisor import cgroup

LAST_SECONDS = 10  # that a killed process may take to give its memory back


class OomWatch:
    """Compares the kernel's count of out-of-memory kills with that of some seconds ago.

    The run's own control group tells for certain, where it counts memory; else the machine's
    count (proc(5), /proc/vmstat) does, together with the SIGKILL that ended the run. `before` is
    the count when the run started, for who takes over a run that may have ended meanwhile.
    """

    def __init__(self, group: Path | None, before: int | None = None) -> None:
        self._group = group
        self._counts = deque([_kills() if before is None else before], maxlen=LAST_SECONDS)
        self._due = time.monotonic() + 1.0

    @property
    def before(self) -> int:
        """The machine's count that later kills are told from."""
        return self._counts[0]

    def tick(self) -> None:
        """Count anew if it is time."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + 1.0
            self._counts.append(_kills())

    def evidence(self) -> str:
        """The reason to give, or "" when nothing was killed for memory in the last seconds."""
        if self._group and cgroup.oom_kills(self._group):
            return "killed by the kernel: the run's control group was out of memory"
        kills = _kills() - self.before
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
