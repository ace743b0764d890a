"""What a sample of a process tree says, whichever way it was taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class TreeUsage:
    """One sample of a process tree.

    cpu_percent    since the sample before, 100 = one core; 0 on the first
    memory_bytes   proportional set size or resident set size, as `memory_kind` says; a sum of
                   resident sizes counts what processes share once for each of them
    read_bytes, write_bytes   what went to and from storage so far, never decreasing; None where the
                   system does not tell
    """

    cpu_percent: float
    memory_bytes: int
    memory_kind: Literal["pss", "rss"]
    threads: int
    processes: int
    read_bytes: int | None
    write_bytes: int | None
