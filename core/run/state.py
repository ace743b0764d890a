"""The states of a run, and what a process's end says of them.

Standard library only: the supervisor imports this.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass

from traindeck.core.base.errors import FAILED, MISSING, NOT_FOUND, OVER_BUDGET, USAGE

LIVE = ("queued", "starting", "running", "stopping")
ENDED = ("finished", "failed", "stopped", "killed", "out_of_memory", "over_budget", "lost")
UNREACHABLE = "unreachable"
LAUNCH_SECONDS = 10.0  # how long a run may stand without a supervisor after its launcher has gone


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a run ended."""

    state: str
    reason: str
    exit_code: int | None


def boottime() -> float:
    """Seconds since this boot, sleep included: a clock that nobody sets."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def judge(status: int, *, asked: str = "", waited: float = 0.0, oom: str = "") -> Verdict:
    """Turn a wait status into a verdict.

    `asked` is what was asked of the run before it ended: nothing, `stop` (politely), `force` (the
    grace was over and SIGKILL was sent) or `kill`; `waited` how many seconds before it ended.
    `oom` is the evidence, if any, that the kernel killed it for memory.
    """
    code = os.waitstatus_to_exitcode(status)
    how = f"exit code {code}" if code >= 0 else signal_name(-code)
    if asked == "kill":
        return Verdict("killed", f"killed on request; {how}", code)
    if asked == "force":
        return Verdict("killed", f"still there {waited:.0f} s after the stop; {how} sent", code)
    if asked == "stop":
        return Verdict("stopped", f"ended on request after {waited:.1f} s; {how}", code)
    if oom and code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return Verdict("out_of_memory", oom, code)
    if code < 0:
        return Verdict("killed", f"ended by {how}, not sent by traindeck", code)
    if code:
        return Verdict("failed", how, code)
    return Verdict("finished", "", 0)


def exit_code(verdict: Verdict, *, recipe: bool) -> int:
    """What a command that waited for a run ends with: 0, 5 for a refused budget, else 1.

    A recipe that ended itself for wrong usage (2), or since something is not there (3, 4), is
    repeated; what another command means by these numbers is not known.
    """
    if recipe and verdict.state == "failed" and verdict.exit_code in (USAGE, NOT_FOUND, MISSING):
        return verdict.exit_code
    return {"finished": 0, "over_budget": OVER_BUDGET}.get(verdict.state, FAILED)


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
