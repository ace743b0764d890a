"""The one true state of a run: what its supervisor, its keeper and the kernel know, never a guess.

Standard library only: the supervisor imports this.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import Any

from traindeck.core.base.errors import FAILED, MISSING, NOT_FOUND, OVER_BUDGET, USAGE
from traindeck.core.base.process import Identity, boot_id

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


def identity(spec: dict[str, Any], who: str) -> Identity | None:
    """The process recorded in run.json as `launcher`, `supervisor`, `keeper` or `child`."""
    data = spec.get(who)
    try:
        return Identity.from_json(data) if isinstance(data, dict) else None
    except ValueError:
        return None


def true_state(spec: dict[str, Any], end: dict[str, Any] | None) -> Verdict:
    state, reason = spec["state"], spec.get("reason", "")
    end = end or {}
    if "state" in end:
        return Verdict(end["state"], end.get("reason", ""), end.get("exit_code"))
    if state not in LIVE:
        return Verdict(state, reason, spec.get("exit_code"))
    supervisor = identity(spec, "supervisor")
    if is_elsewhere(spec):
        why = f"runs on {spec['host']}; it was {state} when last heard of"
        return Verdict(UNREACHABLE, why, None)
    child = identity(spec, "child")
    if supervisor and supervisor.alive():
        if state == "running" and end and child and not child.alive():
            why = "the run has ended; what it left is being cleaned up"
            return Verdict("stopping", why, None)
        return Verdict(state, reason, None)
    if "error" in end:
        return Verdict("failed", end["error"], None)
    if "status" in end:
        asked = "stop" if state == "stopping" else ""
        verdict = judge(end["status"], asked=asked)
        why = "; ".join(
            part for part in (verdict.reason, "its supervisor was killed before") if part
        )
        return Verdict(verdict.state, why, verdict.exit_code)
    if spec["boot_id"] != boot_id():
        return Verdict("lost", f"the machine was restarted while the run was {state}", None)
    keeper = identity(spec, "keeper")
    if keeper and keeper.alive():
        why = "its supervisor was killed; the exit code will still be recorded"
        return Verdict(state, why, None)
    if child and child.alive():
        why = "its supervisor and keeper were killed; the exit code will not be known"
        return Verdict(state, why, None)
    if supervisor is None:
        launcher = identity(spec, "launcher")
        young = boottime() - spec["created_boottime"] < LAUNCH_SECONDS
        if young or (launcher and launcher.alive()):
            return Verdict(state, reason, None)
        return Verdict("lost", "the launching process died before the run was started", None)
    if state == "queued":
        why = "its supervisor was killed while the run waited; nothing was started"
        return Verdict("lost", why, None)
    return Verdict("lost", "supervisor and run are both gone; no exit code was recorded", None)


def is_elsewhere(spec: dict[str, Any]) -> bool:
    """Whether the run belongs to another machine that shares this home."""
    return bool(spec["boot_id"] != boot_id() and spec["host"] != os.uname().nodename)
