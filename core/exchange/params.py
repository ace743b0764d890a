"""Files of parameters beside a run's metrics: `hparams.yaml` and `params.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from traindeck.core.base.files import read_bounded
from traindeck.core.exchange.plain_yaml import load
from traindeck.core.exchange.runs import flat

HPARAMS, PARAMS = "hparams.yaml", "params.json"
LONGEST = 4 << 20


def read_yaml(path: Path) -> dict[str, Any]:
    """What a YAML file holds; nothing where it cannot be read or is longer than 4 MiB."""
    try:
        return load(read_bounded(path, LONGEST).decode("utf-8", "replace"))
    except OSError:
        return {}


def read_params(path: Path) -> dict[str, Any]:
    """The parameters in a YAML or JSON file; none where it cannot be read."""
    if path.suffix != ".json":
        return flat(read_yaml(path))
    try:
        found = json.loads(read_bounded(path, LONGEST))
    except (OSError, ValueError, RecursionError):
        return {}
    return flat(found) if isinstance(found, dict) else {}
