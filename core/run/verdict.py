"""The one true state of a run: what its supervisor, its keeper and the kernel know, never a guess.

Standard library only: the supervisor imports this.
"""

from __future__ import annotations

from traindeck.core.base.process import boot_id
from traindeck.core.run.spec import End, Spec, identity, is_elsewhere
from traindeck.core.run.state import LAUNCH_SECONDS, LIVE, UNREACHABLE, Verdict, boottime, judge


def true_state(spec: Spec, end: End | None) -> Verdict:
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
