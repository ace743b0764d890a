"""What a run made, by kind: what it said of its files, and their sums.

Standard library only: recipes import this.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from traindeck.core.base.files import read_bounded, reading
from traindeck.core.run import events

MAX_EVENTS = 256 << 20


def artifacts(folder: Path, kind: str) -> list[dict[str, Any]]:
    """The events by which a run recorded what is still there of a kind, in their order."""
    try:
        lines = read_bounded(folder / "events.jsonl", MAX_EVENTS).splitlines()
    except OSError:
        return []
    said = (event for line in lines if b'"artifact"' in line and (event := events.parse(line)))
    made = (event for event in said if event["type"] == "artifact" and event["kind"] == kind)
    found = ({**event, "path": str(_now(folder, Path(event["path"])))} for event in made)
    return [event for event in found if Path(event["path"]).exists()]


def sums(place: Path) -> dict[str, str]:
    """SHA-256, in hexadecimal, of a file or of each file in a folder, by its path there.

    Raises OSError, also for what is no regular file.
    """
    files = sorted(path for path in place.rglob("*") if not path.is_dir()) if place.is_dir() else []
    return {_name(path, place): sha256(path) for path in files or [place]}


def sha256(path: Path) -> str:
    """Of a regular file. Raises OSError."""
    with reading(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _now(folder: Path, path: Path) -> Path:
    """Where an artifact is: a home may have been moved since the run said it."""
    parts = path.parts
    for at in range(len(parts) - 2, 0, -1):
        if parts[at : at + 2] == (folder.name, "artifacts"):
            return folder.joinpath(*parts[at + 1 :])
    return path


def _name(path: Path, place: Path) -> str:
    return path.name if path == place else path.relative_to(place).as_posix()
