"""The one true state of a run: what its supervisor, its keeper and the kernel know, never a guess.

Standard library only: the supervisor imports this.
"""

from __future__ import annotations

import re

from traindeck.core.base.process import boot_id, name_of
from traindeck.core.run.spec import End, Spec, identity, is_elsewhere
from traindeck.core.run.state import ENDED, LAUNCH_SECONDS, LIVE, Verdict, boottime, judge

_SPOKEN = "traindeck "


def recorded(spec: Spec, end: End | None) -> Verdict | None:
    """How the run ended, as its supervisor wrote it down; None while it has not."""
    if end and "state" in end:
        return Verdict(end["state"], end.get("reason", ""), end.get("exit_code"))
    if spec["state"] not in LIVE:
        return Verdict(spec["state"], spec.get("reason", ""), spec.get("exit_code"))
    return None


def spoken(verdict: Verdict) -> str:
    """The name of a supervisor that cannot write its verdict down: see `process.call_oneself`."""
    code = "" if verdict.exit_code is None else verdict.exit_code
    return f"{_SPOKEN}{ENDED.index(verdict.state)}:{code}"


def _heard(name: str) -> Verdict | None:
    said = re.fullmatch(_SPOKEN + r"(\d):(-?\d{1,3})?", name)
    if said is None or int(said[1]) >= len(ENDED):
        return None
    why = "this cannot be written down: its supervisor keeps it until the disk can be written"
    return Verdict(ENDED[int(said[1])], why, int(said[2]) if said[2] else None)


def true_state(spec: Spec, end: End | None, *, deserted: bool = False) -> Verdict:
    """The state of a run, by its processes on this machine as long as no end is recorded.

    Of a run of another machine or container it is the last that was written, its engine may know
    better; unless it is deserted: then nobody is left there who could write down another.
    """
    if verdict := recorded(spec, end):
        return verdict
    state, reason = spec["state"], spec.get("reason", "")
    end = end or {}
    if is_elsewhere(spec):
        if deserted:
            why = f"it was {state} in another container ({spec['host']}); nothing is left there"
            return Verdict("lost", why, None)
        return Verdict(state, reason, None)
    supervisor, child = identity(spec, "supervisor"), identity(spec, "child")
    if supervisor and supervisor.alive():
        if child and not child.alive():
            if told := _heard(name_of(supervisor.pid)):
                return told
            if state == "running":
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
