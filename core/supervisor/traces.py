"""What a run left behind that tells how and when it ended."""

from __future__ import annotations

from pathlib import Path

from traindeck.core.base.files import tail
from traindeck.core.run import events

TAIL_BYTES = 4096


def last_words(folder: Path) -> str:
    """Why the run says it failed: its last error event, or the last line it printed, else ""."""
    try:
        return _last_words(folder)
    except Exception:  # whatever a run wrote, it changes no verdict
        return ""


def _last_words(folder: Path) -> str:
    from traindeck.core.base.sanitize import WHOLE, plain

    said = events.last(folder / "events.jsonl", "error")
    if said:
        return plain(said["text"], WHOLE)
    printed = tail(folder / "output.log", TAIL_BYTES).split(b"\n")
    return next((plain(line, WHOLE) for line in reversed(printed) if line.strip()), "")


def refused(folder: Path) -> bool:
    """Whether the run's last words are that a privacy budget refused it."""
    said = events.last(folder / "events.jsonl", "error")
    return said is not None and said.get("over_budget") is True


def last_sign(folder: Path) -> float | None:
    """When a lost run was last known to go on: the newest of what it wrote, in unix seconds."""
    names = ("run.json", "device.bin", "points.bin", "output.log")
    paths = [folder / name for name in names if (folder / name).exists()]
    return max((path.stat().st_mtime for path in paths), default=None)
