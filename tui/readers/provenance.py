"""What a run's folder has about where the run came from, as one value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from traindeck.core.base.files import reading

MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a run's folder tells beside its `RunDoc`.

    `source` is source/provenance.json, {} when there is none; `patch_bytes` the size of
    source/diff.patch, None when there is none.
    """

    source: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    patch_bytes: int | None = None


def read_provenance(folder: Path) -> Provenance:
    """Read it; what is missing, damaged or over 1 MiB is left out. Does I/O, raises nothing."""
    try:
        patch_bytes = (folder / "source" / "diff.patch").stat().st_size
    except OSError:
        patch_bytes = None
    return Provenance(
        _read_object(folder / "source" / "provenance.json"),
        _read_object(folder / "params.json"),
        patch_bytes,
    )


def _read_object(path: Path) -> Mapping[str, Any]:
    try:
        with reading(path) as file:
            data = file.read(MAX_BYTES + 1)
        value = json.loads(data) if len(data) <= MAX_BYTES else {}
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
