"""A run written into MLflow's file store: `STORE/EXPERIMENT/RUN/`, see `mlflow`."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from traindeck.core.base.files import write_atomic
from traindeck.core.exchange.mlflow import META
from traindeck.core.exchange.own import TOOL, swap
from traindeck.core.exchange.plain_yaml import dump
from traindeck.core.exchange.runs import OutsideRun

LONGEST_PARAM = 6000
_STATUS = {
    "queued": 2,
    "starting": 1,
    "running": 1,
    "stopping": 1,
    "finished": 3,
    "killed": 5,
    "stopped": 5,
}
_FAILED = 4
_ODD = re.compile(r"[^A-Za-z0-9_.\- :/]")


def write(store: Path, run: OutsideRun) -> Path:
    """Put a run into a store, in place of the same run if that is there. Raises OSError."""
    experiment = _digits(TOOL)
    folder = store / experiment
    if not (folder / META).exists():
        now = int(time.time() * 1000)
        said = {
            "artifact_location": folder.absolute().as_uri(),
            "creation_time": now,
            "experiment_id": experiment,
            "last_update_time": now,
            "lifecycle_stage": "active",
            "name": TOOL,
        }
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / META, dump(said).encode())
    (store / ".trash").mkdir(exist_ok=True)
    run_id = hashlib.blake2s(f"{TOOL} {run.part}".encode(), digest_size=16).hexdigest()
    place = folder / run_id

    def fill(aside: Path) -> None:
        for name in ("artifacts", "metrics", "params", "tags"):
            (aside / name).mkdir()
        (aside / META).write_text(dump(_meta(run, run_id, experiment, place)), encoding="utf-8")
        for name, path in _places(run.points.series):
            lines = (f"{int(w * 1000)} {v!r} {s}\n" for w, s, v in run.points.series[name])
            _put(aside / "metrics" / path, "".join(lines))
        for name, path in _places(run.params):
            _put(aside / "params" / path, _text(run.params[name])[:LONGEST_PARAM])
        tags = {
            "mlflow.runName": run.name,
            "mlflow.note.content": run.notes,
            "traindeck.id": run.part,
        }
        tags |= {f"traindeck.tag.{number}": tag for number, tag in enumerate(run.tags)}
        for name, text in tags.items():
            if text:
                _put(aside / "tags" / name, text)

    return swap(folder, run_id, fill)


def _meta(run: OutsideRun, run_id: str, experiment: str, place: Path) -> dict[str, Any]:
    return {
        "artifact_uri": (place.absolute() / "artifacts").as_uri(),
        "end_time": int(run.ended * 1000) if run.ended else None,
        "entry_point_name": "",
        "experiment_id": experiment,
        "lifecycle_stage": "active",
        "run_id": run_id,
        "run_name": run.name,
        "run_uuid": run_id,
        "source_name": "",
        "source_type": 4,
        "source_version": "",
        "start_time": int((run.started or 0) * 1000),
        "status": _STATUS.get(run.state, _FAILED),
        "tags": [],
        "user_id": "",
    }


def _places(names: Iterable[str]) -> list[tuple[str, str]]:
    """The path of each name below its folder: none is another's folder, or leads out of it."""
    taken: set[str] = set()
    found = []
    for name in sorted(names):
        parts = [part if part.strip(". ") else "_" for part in _ODD.sub("_", name).split("/")]
        path = "/".join(part[:200] for part in parts)
        while path in taken or any(path.startswith(f"{each}/") for each in taken):
            path = path.replace("/", "_") + "_"
        taken.add(path)
        found.append((name, path))
    return found


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", errors="replace")


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict) else str(value)


def _digits(text: str) -> str:
    return str(int.from_bytes(hashlib.blake2s(text.encode(), digest_size=7).digest(), "big"))
