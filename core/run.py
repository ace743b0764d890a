"""A run's folder and the one true state it is in.

    run.json       what was launched and its state; the supervisor is the only writer once it lives
    exit.json      the verdict; its room is taken at the start, so a full disk cannot lose it
    user.json      name, tags and notes: what people may change at any time
    params.json    the parameters, for the recipe and for people
    points.bin, points.names, device.bin, device.names    see `points`
    events.jsonl   see `events`
    output.log     what the run printed, as bytes
    source/        the script as launched, git commit and diff, packages
    artifacts/     what the run made

Standard library only: the supervisor imports this.
"""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from traindeck.core import events, points
from traindeck.core.files import read_json
from traindeck.core.procident import Identity, boot_id

VERSION = 1
LIVE = ("queued", "starting", "running", "stopping")
ENDED = ("finished", "failed", "stopped", "killed", "out_of_memory", "over_budget", "lost")
UNREACHABLE = "unreachable"
LAUNCH_SECONDS = 10.0  # how long a run may stand without a supervisor after its launcher has gone
EXIT_ROOM = 2048


class Progress(TypedDict):
    done: float
    total: float
    eta_seconds: float | None


class Queue(TypedDict):
    place: int
    reason: str


class RunDoc(TypedDict):
    """A run as lists, screens and `--json` show it. Times are unix seconds."""

    id: str
    name: str
    recipe: str | None
    framework: str
    state: str
    reason: str
    exit_code: int | None
    on: str
    device: str
    params: dict[str, Any]
    command: list[str]
    created: float
    started: float | None
    ended: float | None
    seconds: float | None
    progress: Progress | None
    metrics: dict[str, points.Summary]
    headline: str | None
    privacy: dict[str, Any] | None
    queue: Queue | None
    tags: list[str]
    notes: str
    path: str


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
        return Verdict("killed", f"killed on request ({how})", code)
    if asked == "force":
        return Verdict("killed", f"still there {waited:.0f} s after the stop; {how} sent", code)
    if asked == "stop":
        return Verdict("stopped", f"ended on request after {waited:.1f} s ({how})", code)
    if oom and code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return Verdict("out_of_memory", oom, code)
    if code < 0:
        return Verdict("killed", f"ended by {how}, not sent by traindeck", code)
    if code:
        return Verdict("failed", how, code)
    return Verdict("finished", "", 0)


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class RunFolder:
    """Reads one run's folder; every read gives what is known now."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = path.name

    def spec(self) -> dict[str, Any] | None:
        """run.json, or None when there is none (yet)."""
        return read_json(self.path / "run.json")

    def exit(self) -> dict[str, Any] | None:
        """exit.json, or None while the run has not ended."""
        return read_json(self.path / "exit.json")

    def state(self) -> tuple[str, str]:
        """The state and its reason."""
        spec = self.spec()
        if spec is None:
            return "lost", "run.json is missing or damaged"
        state, reason, _ = _true_state(spec, self.exit())
        return state, reason

    def doc(self, *, metrics: bool = True) -> RunDoc | None:
        """All that is known of the run; None when the folder holds none.

        With `metrics`, every point is read: about 0.4 s a million.
        """
        spec = self.spec()
        if spec is None:
            return None
        end = self.exit()
        state, reason, exit_code = _true_state(spec, end)
        user = read_json(self.path / "user.json") or {}
        live = state in LIVE
        seconds = _seconds(spec, end)
        return RunDoc(
            id=spec["id"],
            name=user.get("name") or spec["name"],
            recipe=spec["recipe"],
            framework=spec["framework"],
            state=state,
            reason=reason,
            exit_code=exit_code,
            on=spec["on"],
            device=spec.get("device") or spec["on"],
            params=spec["params"],
            command=spec["command"],
            created=spec["created"],
            started=spec.get("started"),
            ended=None if live else (end or {}).get("ended") or spec.get("ended"),
            seconds=seconds,
            progress=self._progress(seconds if live else None),
            metrics=points.summarize(self.path) if metrics else {},
            headline=spec.get("headline"),
            privacy=self._privacy() if spec.get("privacy", "none") != "none" else None,
            queue=spec.get("queue") if state == "queued" else None,
            tags=user.get("tags", []),
            notes=user.get("notes", ""),
            path=str(self.path),
        )

    def _progress(self, seconds: float | None) -> Progress | None:
        found = points.last_progress(self.path)
        if found is None:
            return None
        done, total = found
        eta = None
        if seconds is not None and 0 < done <= total:
            eta = seconds * (total - done) / done
        return Progress(done=done, total=total, eta_seconds=eta)

    def _privacy(self) -> dict[str, Any] | None:
        try:
            lines = (self.path / "events.jsonl").read_bytes().split(b"\n")
        except OSError:
            return None
        for line in reversed(lines):
            event = events.parse(line)
            if event and event["type"] == "spend":
                return {key: event[key] for key in event if key not in ("v", "t", "type")}
        return None


def encode_exit(record: dict[str, Any]) -> bytes:
    """A verdict for exit.json, padded to the room that was taken for it."""
    data = json.dumps(record).encode()
    if len(data) > EXIT_ROOM:
        data = json.dumps({**record, "reason": str(record.get("reason", ""))[:200]}).encode()
    return data.ljust(EXIT_ROOM)


def new_spec(**fields: Any) -> dict[str, Any]:
    """The part of run.json that every run has."""
    return {
        "v": VERSION,
        "created": time.time(),
        "created_boottime": boottime(),
        "boot_id": boot_id(),
        "host": os.uname().nodename,
        **fields,
    }


def identity(spec: dict[str, Any], who: str) -> Identity | None:
    """The process recorded in run.json as `launcher`, `supervisor`, `keeper` or `child`."""
    data = spec.get(who)
    try:
        return Identity.from_json(data) if isinstance(data, dict) else None
    except ValueError:
        return None


def _true_state(spec: dict[str, Any], end: dict[str, Any] | None) -> tuple[str, str, int | None]:
    state, reason = spec["state"], spec.get("reason", "")
    if end and "state" in end:
        return end["state"], end["reason"], end["exit_code"]
    if state not in LIVE:
        return state, reason, spec.get("exit_code")
    supervisor = identity(spec, "supervisor")
    if spec["boot_id"] != boot_id() and spec["host"] != os.uname().nodename:
        return UNREACHABLE, f"runs on {spec['host']}; it was {state} when last heard of", None
    if supervisor and supervisor.alive():
        child = identity(spec, "child")
        if state == "running" and end and child and not child.alive():
            return "stopping", "the run has ended; what it left is being cleaned up", None
        return state, reason, None
    if end and "status" in end:
        asked = "stop" if state == "stopping" else ""
        verdict = judge(end["status"], asked=asked, waited=end.get("waited", 0.0))
        note = "; its supervisor was killed before"
        return verdict.state, verdict.reason + note, verdict.exit_code
    if spec["boot_id"] != boot_id():
        return "lost", f"the machine was restarted while the run was {state}", None
    keeper, child = identity(spec, "keeper"), identity(spec, "child")
    if keeper and keeper.alive():
        return state, "its supervisor was killed; the exit code will still be recorded", None
    if child and child.alive():
        return state, "its supervisor and keeper were killed; the exit code will not be known", None
    if supervisor is None:
        launcher = identity(spec, "launcher")
        young = boottime() - spec["created_boottime"] < LAUNCH_SECONDS
        if young or (launcher and launcher.alive()):
            return state, reason, None
        return "lost", "the launching process died before the run was started", None
    if state == "queued":
        return "lost", "its supervisor was killed while the run waited; nothing was started", None
    return "lost", "supervisor and run are both gone; no exit code was recorded", None


def _seconds(spec: dict[str, Any], end: dict[str, Any] | None) -> float | None:
    if end and "seconds" in end:
        seconds: float = end["seconds"]
        return seconds
    started = spec.get("started_boottime")
    if started is None or spec["boot_id"] != boot_id():
        return None
    until = end["ended_boottime"] if end and "ended_boottime" in end else boottime()
    return float(until) - float(started)
