"""What became of a run, from all that is known of its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from traindeck.core.base.errors import OVER_BUDGET
from traindeck.core.run.state import Verdict, boottime, judge
from traindeck.core.supervisor.oom import OomWatch
from traindeck.core.supervisor.stopping import Request
from traindeck.core.supervisor.traces import last_words, refused


def conclude(
    folder: Path,
    end: dict[str, Any],
    status: int | None,
    *,
    request: Request,
    oom: OomWatch,
    adopted: bool,
) -> Verdict:
    """The verdict, by what its keeper has recorded (`end`) or the wait status that we have.

    `adopted`: we did not see the run begin, so that an unknown end is also our predecessor's.
    """
    if "error" in end:
        return Verdict("failed", end["error"], None)
    status = end.get("status", status)
    if status is None:
        who = "supervisor and keeper were both" if adopted else "its keeper was"
        why = f"{who} killed; the exit code is not known"
        asked = {"force": "ended by SIGKILL after the stop", "kill": "killed on request"}
        reasons = (asked.get(request.asked, ""), why)
        return Verdict("lost", "; ".join(filter(None, reasons)), None)
    ended = end.get("ended_boottime", boottime())
    waited = max(0.0, ended - request.at) if request.asked else 0.0
    asked_before = request.asked if not request.asked or ended >= request.at else ""
    verdict = judge(status, asked=asked_before, waited=waited, oom=oom.evidence())
    if verdict.exit_code == OVER_BUDGET and refused(folder):
        return Verdict("over_budget", last_words(folder), OVER_BUDGET)
    if verdict.state == "failed":
        why = last_words(folder)
        return Verdict("failed", f"{verdict.reason}: {why}" if why else verdict.reason, status >> 8)
    return verdict
