"""Whether the kernel killed something for memory while the run lived."""

from __future__ import annotations

from pathlib import Path


class OomWatch:
    """Compares the kernel's count of out-of-memory kills (proc(5), /proc/vmstat) with its start."""

    def __init__(self) -> None:
        self._before = _kills()

    def evidence(self) -> str:
        """The reason to give, or "" when nothing was killed for memory."""
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
