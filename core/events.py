"""events.jsonl: what happened in a run besides its points, one JSON object a line.

Every event has `v` (format version, 1), `t` (unix seconds) and `type`; the rest depends on the
type: `state` (state, reason), `note` (text), `artifact` (path, kind), `spend`, `round`.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

VERSION = 1


def append(log: Path, type: str, /, **fields: Any) -> None:
    """Add one event in a single write, so that writers in several processes never interleave.

    Raises OSError when the file cannot be written.
    """
    event = {"v": VERSION, "t": time.time(), "type": type, **fields}
    line = json.dumps(event, default=str, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)


def parse(line: bytes) -> dict[str, Any] | None:
    """One event from its line; None for a line that is not one (torn, or of a later version)."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    if not isinstance(event, dict) or event.get("v") != VERSION or "type" not in event:
        return None
    return event
