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
from typing import Any, TypedDict, cast

from traindeck.core import events, points
from traindeck.core.files import read_json
from traindeck.core.procident import Identity, boot_id

VERSION = 1
LIVE = ("queued", "starting", "running", "stopping")
ENDED = ("finished", "failed", "stopped", "killed", "out_of_memory", "over_budget", "lost")
UNREACHABLE = "unreachable"
LAUNCH_SECONDS = 10.0  # how long a run may stand without a supervisor after its launcher has gone
EXIT_ROOM = 2048
DAMAGED = "run.json is missing or damaged"
_NUMBER = (int, float)
_SPEC: dict[str, Any] = {
    "name": str,
    "framework": str,
    "state": str,
    "on": str,
    "params": dict,
    "command": list,
    "argv": list,
    "cwd": str,
    "boot_id": str,
    "host": str,
    "created": _NUMBER,
    "created_boottime": _NUMBER,
    "grace": _NUMBER,
    "claim": dict,
}
_EXIT: dict[str, Any] = {
    "state": str,
    "reason": str,
    "error": str,
    "status": int,
    "seconds": (int, float, type(None)),
    "ended": _NUMBER,
    "ended_boottime": _NUMBER,
}
_USER: dict[str, Any] = {"name": str, "tags": list, "notes": str}


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
        """run.json, or None when there is none (yet) or it is damaged."""
        spec = read_json(self.path / "run.json")
        if spec is None or any(not isinstance(spec.get(k), t) for k, t in _SPEC.items()):
            return None
        return spec

    def exit(self) -> dict[str, Any] | None:
        """exit.json, or None while the run has not ended."""
        end = read_json(self.path / "exit.json")
        if end is None or any(not isinstance(end[k], t) for k, t in _EXIT.items() if k in end):
            return None
        return (
            end if "status" in end or "error" in end or {"state", "reason"} <= end.keys() else None
        )

    def state(self) -> tuple[str, str]:
        """The state and its reason."""
        verdict = self.verdict()
        return verdict.state, verdict.reason

    def verdict(self) -> Verdict:
        """The state, its reason and the exit code, as known now."""
        spec = self.spec()
        if spec is None:
            return Verdict("lost", DAMAGED, None)
        return _true_state(spec, self.exit())

    def needs_supervisor(self) -> bool:
        """Whether its supervisor was killed before it could record how the run ended."""
        spec = self.spec()
        if spec is None or is_elsewhere(spec) or "state" in (self.exit() or {}):
            return False
        supervisor = identity(spec, "supervisor")
        return supervisor is not None and spec["state"] in LIVE and not supervisor.alive()

    def doc(self, *, metrics: bool = True) -> RunDoc | None:
        """All that is known of the run; None when the folder holds none (yet).

        With `metrics`, every point is read: about 0.4 s a million.
        """
        spec = self.spec()
        if spec is None:
            return self._damaged_doc()
        end = self.exit() or {}
        verdict = _true_state(spec, end)
        user = self._user()
        live = verdict.state in LIVE
        seconds = _seconds(spec, end) if live or "seconds" in end else None
        doc = RunDoc(
            id=self.id,
            name=user.get("name") or spec["name"],
            recipe=spec.get("recipe"),
            framework=spec["framework"],
            state=verdict.state,
            reason=verdict.reason,
            exit_code=verdict.exit_code,
            on=spec["on"],
            device=spec.get("device") or spec["on"],
            params=spec["params"],
            command=spec["command"],
            created=spec["created"],
            started=spec.get("started"),
            ended=None if live else end.get("ended", spec.get("ended")),
            seconds=seconds,
            progress=self._progress(seconds if live else None),
            metrics={},
            headline=spec.get("headline"),
            privacy=self._privacy() if spec.get("privacy", "none") != "none" else None,
            queue=spec.get("queue") if verdict.state == "queued" else None,
            tags=user.get("tags", []),
            notes=user.get("notes", ""),
            path=str(self.path),
        )
        sound = cast("RunDoc", _sound(doc))
        return with_metrics(sound, points.summarize(self.path)) if metrics else sound

    def _user(self) -> dict[str, Any]:
        user = read_json(self.path / "user.json") or {}
        return {key: user[key] for key, kind in _USER.items() if isinstance(user.get(key), kind)}

    def _damaged_doc(self) -> RunDoc | None:
        """A folder that holds no usable run.json; None while it may just be being made."""
        try:
            made = self.path.stat().st_mtime
        except OSError:
            return None
        if abs(time.time() - made) < LAUNCH_SECONDS:
            return None
        return RunDoc(
            id=self.id,
            name=self.id,
            recipe=None,
            framework="other",
            state="lost",
            reason=DAMAGED,
            exit_code=None,
            on="",
            device="",
            params={},
            command=[],
            created=made,
            started=None,
            ended=made,
            seconds=None,
            progress=None,
            metrics={},
            headline=None,
            privacy=None,
            queue=None,
            tags=[],
            notes="",
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
        event = events.last(self.path / "events.jsonl", "spend")
        if event is None:
            return None
        return {key: event[key] for key in event if key not in ("v", "t", "type")}


def with_metrics(doc: RunDoc, metrics: dict[str, points.Summary]) -> RunDoc:
    """Put metrics into a document that was made without.

    While the recipe's headline is not among them, or the run has none, another speaks for it: an
    accuracy, else a loss, else what was logged first.
    """
    doc["metrics"] = metrics
    if metrics and doc["headline"] not in metrics:
        named = [[n for n in metrics if n.endswith(word)] for word in ("accuracy", "loss", "")]
        doc["headline"] = next(names[0] for names in named if names)
    return doc


def encode_exit(record: dict[str, Any]) -> bytes:
    """A verdict for exit.json, padded to the room that was taken for it; long texts are cut."""
    for room in (EXIT_ROOM, 1000, 200):
        cut = {
            key: value.encode("utf-8", "replace")[:room].decode("utf-8", "ignore")
            if isinstance(value, str)
            else value
            for key, value in record.items()
        }
        data = json.dumps(cut, ensure_ascii=False).encode()
        if len(data) <= EXIT_ROOM:
            break
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


def _true_state(spec: dict[str, Any], end: dict[str, Any] | None) -> Verdict:
    state, reason = spec["state"], spec.get("reason", "")
    end = end or {}
    if "state" in end:
        return Verdict(end["state"], end["reason"], end.get("exit_code"))
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


def _sound(value: Any) -> Any:
    """The same with every text valid UTF-8 and every number one that JSON readers take."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_sound(str(key)): _sound(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_sound(item) for item in value]
    if isinstance(value, int) and abs(value) >= 2**63:
        return str(value)
    return value


def _seconds(spec: dict[str, Any], end: dict[str, Any]) -> float | None:
    if "seconds" in end:
        return cast("float | None", end["seconds"])
    started = spec.get("started_boottime")
    if started is None or spec["boot_id"] != boot_id():
        return None
    return float(end.get("ended_boottime", boottime())) - float(started)
