"""events.jsonl: what happened in a run besides its points, one JSON object a line.

Every event has `v` (format version, 1), `t` (unix seconds) and `type`; the rest depends on the
type: `state` (state, reason), `note` and `error` (text; over_budget: true where a privacy budget
refused what was to be done), `artifact` (path, kind), `spend` (event, epsilon, delta), `audit`
(result), `round`, `pruned` (text: why its sweep gave it up). An event that lacks what its type
needs is none.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from traindeck.core.base.files import opened, tail

VERSION = 1
TAIL_BYTES = 256 << 10
_FIELDS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "state": {"state": str},
    "note": {"text": str},
    "pruned": {"text": str},
    "error": {"text": str},
    "artifact": {"path": str, "kind": str},
    "spend": {"epsilon": (int, float), "delta": (int, float)},
    "audit": {"result": dict},
}


def append(log: Path, type: str, /, **fields: Any) -> None:
    """Add one event in a single write, so that writers in several processes never interleave.

    Raises OSError when the file cannot be written.
    """
    event = {"v": VERSION, "t": time.time(), "type": type, **fields}
    line = json.dumps(event, default=str, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    descriptor = opened(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def parse(line: bytes) -> dict[str, Any] | None:
    """One event from its line; None for a line that is not one (torn, or of a later version)."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, dict) or event.get("v") != VERSION:
        return None
    kind = event.get("type")
    if not isinstance(kind, str):
        return None
    for field, types in _FIELDS.get(kind, {}).items():
        if not isinstance(event.get(field), types):
            return None
    return event


def last(path: Path, type: str) -> dict[str, Any] | None:
    """The last event of a type, looked for in the last 256 KiB."""
    for line in reversed(tail(path, TAIL_BYTES).split(b"\n")):
        event = parse(line)
        if event and event["type"] == type:
            return event
    return None
