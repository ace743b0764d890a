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
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from traindeck.core.base import schema
from traindeck.core.base.files import read_json
from traindeck.core.base.process import boot_id
from traindeck.core.run.state import (
    ENDED,
    LIVE,
    Verdict,
    boottime,
    identity,
    is_elsewhere,
    true_state,
)

VERSION = 1
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

    def tags(self) -> list[str]:
        """The tags that people gave it."""
        return list(self.user().get("tags", []))

    def user(self) -> dict[str, Any]:
        """user.json: what of it is sound."""
        user = read_json(self.path / "user.json") or {}
        return {key: user[key] for key, check in _USER.items() if check(user.get(key))}


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
