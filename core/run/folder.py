"""A run's folder and what it says.

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
import math
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypedDict, cast

from traindeck.core.base import schema
from traindeck.core.base.files import read_json
from traindeck.core.base.process import boot_id
from traindeck.core.run import points
from traindeck.core.run.state import (
    ENDED,
    LAUNCH_SECONDS,
    LIVE,
    Verdict,
    boottime,
    identity,
    is_elsewhere,
    true_state,
)

VERSION = 1
ETA_SHARE = 0.01
EXIT_ROOM = 2048
DAMAGED = "run.json is missing or damaged"
_STATE = schema.one_of(*LIVE, *ENDED)
_SPEC: schema.Schema = {
    "name": schema.text,
    "framework": schema.text,
    "state": _STATE,
    "on": schema.text,
    "params": schema.record,
    "command": schema.texts,
    "argv": schema.texts,
    "cwd": schema.text,
    "boot_id": schema.text,
    "host": schema.text,
    "created": schema.moment,
    "created_boottime": schema.moment,
    "grace": schema.moment,
    "claim": schema.record,
}
_SPEC_OPTIONAL: schema.Schema = {
    "reason": schema.text,
    "recipe": schema.maybe(schema.text),
    "script": schema.maybe(schema.text),
    "origin": schema.text,
    "headline": schema.maybe(schema.text),
    "privacy": schema.text,
    "dataset": schema.text,
    "ledger": schema.maybe(schema.text),
    "python": schema.text,
    "follow": schema.truth,
    "again_of": schema.maybe(schema.text),
    "device": schema.text,
    "gpus": schema.texts,
    "group": schema.maybe(schema.text),
    "oom_kills": schema.whole,
    "queue": schema.maybe(schema.queue),
    "started": schema.maybe(schema.moment),
    "started_boottime": schema.maybe(schema.moment),
    "ended": schema.maybe(schema.moment),
    "exit_code": schema.maybe(schema.whole),
}
_EXIT: schema.Schema = {
    "state": schema.one_of(*ENDED),
    "reason": schema.text,
    "error": schema.text,
    "status": schema.wait_status,
    "exit_code": schema.maybe(schema.whole),
    "seconds": schema.maybe(schema.moment),
    "ended": schema.moment,
    "ended_boottime": schema.moment,
}
_USER: schema.Schema = {"name": schema.text, "tags": schema.texts, "notes": schema.text}


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


class RunFolder:
    """Reads one run's folder; every read gives what is known now."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.id = path.name

    def spec(self) -> dict[str, Any] | None:
        """run.json, or None when there is none (yet) or it is damaged."""
        spec = read_json(self.path / "run.json")
        if spec is None or not schema.fits(spec, _SPEC, _SPEC_OPTIONAL):
            return None
        if spec["state"] in LIVE and "child" not in spec:
            self._add_started(spec)
        return spec

    def exit(self) -> dict[str, Any] | None:
        """exit.json, or None while the run has not ended."""
        end = read_json(self.path / "exit.json")
        if end is None or not schema.fits(end, {}, _EXIT):
            return None
        return end if not end.keys().isdisjoint(("status", "error", "state")) else None

    def state(self) -> tuple[str, str]:
        """The state and its reason."""
        verdict = self.verdict()
        return verdict.state, verdict.reason

    def verdict(self) -> Verdict:
        """The state, its reason and the exit code, as known now."""
        spec = self.spec()
        if spec is None:
            return Verdict("lost", DAMAGED, None)
        return true_state(spec, self.exit())

    def _add_started(self, spec: dict[str, Any]) -> None:
        """Who was started, which the keeper writes down before its supervisor can."""
        known = read_json(self.path / "exit.json") or {}
        spec.update((who, known[who]) for who in ("keeper", "child") if who in known)
        if "child" in known:
            spec["state"] = "running"

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
        verdict = true_state(spec, end)
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
            progress=self._progress(live),
            metrics={},
            headline=spec.get("headline"),
            privacy=self._privacy(spec),
            queue=spec.get("queue") if verdict.state == "queued" else None,
            tags=user.get("tags", []),
            notes=user.get("notes", ""),
            path=str(self.path),
        )
        sound = cast("RunDoc", _sound(doc))
        return with_metrics(sound, points.summarize(self.path)) if metrics else sound

    def tags(self) -> list[str]:
        """The tags that people gave it."""
        return list(self._user().get("tags", []))

    def _user(self) -> dict[str, Any]:
        user = read_json(self.path / "user.json") or {}
        return {key: user[key] for key, check in _USER.items() if check(user.get(key))}

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

    def _progress(self, live: bool) -> Progress | None:
        found = points.last_progress(self.path)
        if found is None:
            return None
        when, done, total = found
        whole = int(total) if math.isfinite(total) and total.is_integer() else None
        eta = self._eta(when, done, total) if live else None
        if whole is None:
            return Progress(done=float(done), total=total, eta_seconds=eta)
        return Progress(done=done, total=whole, eta_seconds=eta)

    def _eta(self, when: float, done: int, total: float) -> float | None:
        """Seconds that are left, at the pace since the first report: loading is no measure of it.

        None before a hundredth is done.
        """
        first = points.first_progress(self.path)
        if first is None or not ETA_SHARE * total <= done <= total:
            return None
        since, begun = first
        if done <= begun or when <= since:
            return None
        return (when - since) * (total - done) / (done - begun)

    def _privacy(self, spec: dict[str, Any]) -> dict[str, Any] | None:
        if spec.get("privacy", "none") == "none":
            return None
        from traindeck.core.privacy.report import report

        privacy = report(self.path, spec.get("ledger"))
        return privacy.to_json() if privacy else None


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


def clean_tags(tags: Iterable[str]) -> list[str]:
    """Tags as they are kept: without space around them, none twice, sorted."""
    return sorted({word.strip() for word in tags} - {""})


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
