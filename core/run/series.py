"""What series are called, and the lines of `points.names` that say so."""

from __future__ import annotations

import hashlib

PROGRESS = "\tprogress"
"""The series of how far a run is: step is what is done, value is the total.

In `points.names` its line is `progress`, and that of a metric which is called so `\\tprogress`.
"""
MAX_NAME = 200  # characters
PRIVATE = "private/"
"""How names begin of what may be made of private training data."""
LINES = {"progress": PROGRESS, PROGRESS: "progress"}
"""The line of a name that is not its own line, and the name of such a line."""


def clean_name(name: str) -> str:
    """A series name as it is stored: one line, at most 200 characters.

    Of a longer one a digest takes the place of the end, so that names stay apart.
    """
    clean = "".join(c if c.isprintable() else "_" for c in name) or "_"
    if len(clean) <= MAX_NAME:
        return clean
    digest = hashlib.blake2s(clean.encode("utf-8", "replace"), digest_size=6).hexdigest()
    return f"{clean[: MAX_NAME - len(digest) - 1]}~{digest}"


def is_private(name: str) -> bool:
    """Whether it may be made of private training data, see `privacy.telemetry`."""
    return name.startswith(PRIVATE)
