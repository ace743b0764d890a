"""Which files a run of this home has made: by the hash that it recorded, not by what is said."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from traindeck.core.base.files import tail
from traindeck.core.base.home import Home
from traindeck.core.models.bundle import Bundle
from traindeck.core.run import events

_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def made(path: Path, bundle: Bundle | None, home: Home | None) -> bool:
    """Whether a run that the file lies in, or that its bundle names, recorded just this file."""
    if home is None:
        return False
    digest = sha256(path)
    runs = home.runs.absolute()
    names = [bundle.get("run", {}).get("id"), bundle.get("exported_by")] if bundle else []
    if path.absolute().is_relative_to(runs):
        names = [path.absolute().relative_to(runs).parts[0]]
    return any(
        digest in recorded
        for name in names
        if isinstance(name, str) and _RUN.fullmatch(name)
        for recorded in _recorded(runs / name / "events.jsonl")
    )


def sha256(path: Path) -> str:
    """In hexadecimal. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _recorded(log: Path) -> Iterator[list[Any]]:
    for line in tail(log, events.TAIL_BYTES).split(b"\n"):
        event = events.parse(line)
        if event and event["type"] == "artifact":
            said = event.get("sha256")
            yield list(said.values()) if isinstance(said, dict) else [said]
