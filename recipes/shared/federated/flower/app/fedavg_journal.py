"""What the app tells the recipe that started it: one JSON object a line, in one write each."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

NAME = "journal.jsonl"


def write(folder: str | Path, kind: str, **facts: object) -> None:
    """Add a line to the folder's journal."""
    line = json.dumps({"type": kind, "t": time.time(), **facts}).encode() + b"\n"
    descriptor = os.open(Path(folder) / NAME, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)
