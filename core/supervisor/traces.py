"""What a run left behind that tells how and when it ended."""

from __future__ import annotations

import contextlib
from pathlib import Path

from traindeck.core.base.files import tail
from traindeck.core.run import events

TAIL_BYTES = 64 << 10


def last_words(folder: Path) -> str:
    """Why the run says it failed: its last error event, or what it printed at last, else ""."""
    try:
        return _last_words(folder)
    except Exception:  # whatever a run wrote, it changes no verdict
        return ""


def _last_words(folder: Path) -> str:
    from traindeck.core.base.sanitize import WHOLE, plain
    from traindeck.core.supervisor.words import last_line

    said = events.last(folder / "events.jsonl", "error")
    if said:
        return plain(said["text"], WHOLE)
    return plain(last_line(tail(folder / "output.log", TAIL_BYTES)), WHOLE)


def refused(folder: Path) -> bool:
    """Whether the run's last words are that a privacy budget refused it."""
    said = events.last(folder / "events.jsonl", "error")
    return said is not None and said.get("over_budget") is True


def last_sign(folder: Path) -> float | None:
    """When a lost run was last known to go on: the newest of what it wrote, in unix seconds."""
    names = ("run.json", "device.bin", "points.bin", "output.log")
    seen = []
    for name in names:
        with contextlib.suppress(OSError):
            seen.append((folder / name).stat().st_mtime)
    return max(seen, default=None)
