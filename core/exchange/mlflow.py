"""MLflow's file store: `mlruns/EXPERIMENT/RUN/`, read and written without MLflow.

    meta.yaml            run_name, status, start_time and end_time in ms
    metrics/NAME         a line a point: time in ms, value, step
    params/NAME          the text of a parameter
    tags/NAME            mlflow.runName, mlflow.note.content, mlflow.user, mlflow.source.…

Names with a slash are folders. Source: mlflow/store/tracking/file_store.py.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from traindeck.core.base.files import reading
from traindeck.core.base.sanitize import printable
from traindeck.core.exchange.params import read_yaml
from traindeck.core.exchange.runs import (
    LONGEST_NAME,
    LONGEST_TEXT,
    MOST_PARAMS,
    MOST_SERIES,
    OutsideRun,
    Points,
    instant,
    texts,
)

META = "meta.yaml"
LONGEST_LINE = 1 << 16
STATES = {
    "1": ("lost", "MLflow has it as running: its end was never recorded"),
    "2": ("lost", "MLflow has it as scheduled: its start was never recorded"),
    "3": ("finished", "as MLflow has it"),
    "4": ("failed", "as MLflow has it"),
    "5": ("killed", "as MLflow has it"),
}
_WORDS = {"RUNNING": "1", "SCHEDULED": "2", "FINISHED": "3", "FAILED": "4", "KILLED": "5"}
_NUMBER = re.compile(r"[-+]?[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?")


def is_run(folder: Path) -> bool:
    """Whether a folder is that of one run."""
    meta = _meta(folder)
    return bool(meta) and ("run_id" in meta or "run_uuid" in meta)


def is_deleted(folder: Path) -> bool:
    """Whether MLflow has a run as deleted."""
    return _meta(folder).get("lifecycle_stage") == "deleted"


def experiment(folder: Path) -> str:
    """The name of the experiment whose folder this is; empty for any other."""
    meta = _meta(folder)
    return str(meta.get("name") or "") if "experiment_id" in meta and not is_run(folder) else ""


def read(folder: Path) -> OutsideRun:
    """The run of one run folder. Raises Unreadable, OSError."""
    meta = _meta(folder)
    tags = dict(_texts(folder / "tags"))
    name = str(meta.get("run_name") or tags.pop("mlflow.runName", "") or folder.name)
    run = OutsideRun("MLflow", folder, name, Points(folder))
    run.part = str(meta.get("run_id") or meta.get("run_uuid") or "")
    run.state, run.reason = state_of(meta.get("status"))
    run.started, run.ended = instant(meta.get("start_time")), instant(meta.get("end_time"))
    run.params = {key: typed(text) for key, text in _texts(folder / "params")}
    tell(run, tags, experiment(folder.parent))
    for place, path in enumerate(_files(folder / "metrics")):
        if place >= MOST_SERIES:
            break
        _read_metric(run, path.relative_to(folder / "metrics").as_posix(), path)
    run.points.sort()
    return run


def state_of(status: object) -> tuple[str, str]:
    """How a run ended by MLflow's status, a number or a word, and the reason."""
    word = str(status)
    return STATES.get(_WORDS.get(word, word), ("lost", "MLflow does not say how it ended"))


def tell(run: OutsideRun, tags: dict[str, str], of: str) -> None:
    """Put what MLflow's tags and the experiment's name say into a run."""
    run.notes = tags.pop("mlflow.note.content", "")
    own = [f"{key}={text}" for key, text in tags.items() if not key.startswith("mlflow.")]
    run.tags = texts([*([of] if of != "Default" else []), *own])
    run.source = _source(tags)


def typed(text: str) -> Any:
    """A parameter as what it was before MLflow made a text of it."""
    known = {"True": True, "False": False, "None": None}
    if text in known:
        return known[text]
    if len(text) < 40 and _NUMBER.fullmatch(text):
        value = float(text)
        whole = text.lstrip("+-").isdigit() and abs(value) < 1 << 53
        return int(text) if whole else value
    return text


def _source(tags: dict[str, str]) -> dict[str, Any]:
    source: dict[str, Any] = {}
    if script := tags.get("mlflow.source.name"):
        source["argv"] = [script]
    if commit := tags.get("mlflow.source.git.commit"):
        source["git"] = {"commit": commit, "branch": tags.get("mlflow.source.git.branch", "")}
    return source


def _read_metric(run: OutsideRun, name: str, path: Path) -> None:
    name, torn = printable(name)[:LONGEST_NAME], 0
    with reading(path) as file:
        while line := file.readline(LONGEST_LINE):
            words = line.split()
            try:
                when, value = float(words[0]), float(words[1])
                step = int(words[2]) if len(words) > 2 else 0
            except (ValueError, IndexError):
                torn += bool(words)
                continue
            run.points.add(name, instant(when) or 0.0, step, value)
    if torn:
        run.remarks.append(f"{path}: {torn:,} lines left out: no time, value and step")


def _texts(folder: Path) -> Iterator[tuple[str, str]]:
    for place, path in enumerate(_files(folder)):
        if place >= MOST_PARAMS:
            return
        name = printable(path.relative_to(folder).as_posix())[:LONGEST_NAME]
        with reading(path) as file:
            text = file.read(4 * LONGEST_TEXT).decode("utf-8", "replace")
        yield name, text[:LONGEST_TEXT]


def _files(folder: Path) -> Iterator[Path]:
    """The regular files at any depth below a folder, in order; no link is followed."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(place, name)
            if path.is_file() and not path.is_symlink():
                yield path


def _meta(folder: Path) -> dict[str, Any]:
    return read_yaml(folder / META)
