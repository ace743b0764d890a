"""A run's document: all that lists, screens and `--json` show of it, from its folder.

A new field is a line of `RunDoc`. What run.json says by the same name is copied, a damaged folder's
document is blank in it, and the catalogue checks it; anything else is worked out in `document`.
"""

from __future__ import annotations

import math
import time
from types import NoneType
from typing import Any, TypedDict, cast, get_type_hints

from traindeck.core.base.process import boot_id
from traindeck.core.base.schema import json_types
from traindeck.core.engines.base import known
from traindeck.core.engines.choose import engine
from traindeck.core.run import points, progress
from traindeck.core.run.folder import DAMAGED, RunFolder
from traindeck.core.run.spec import End, Queue, Spec
from traindeck.core.run.state import LAUNCH_SECONDS, LIVE, boottime

ETA_SHARE = 0.01


class Progress(TypedDict):
    done: float
    total: float
    eta_seconds: float | None


class RunDoc(TypedDict):
    """A run as lists, screens and `--json` show it. Times are unix seconds."""

    id: str
    name: str
    recipe: str | None
    framework: str
    state: str
    reason: str
    exit_code: int | None
    on: str
    device: str
    params: dict[str, Any]
    command: list[str]
    created: float
    started: float | None
    ended: float | None
    seconds: float | None
    progress: Progress | None
    metrics: dict[str, points.Summary]
    headline: str | None
    privacy: dict[str, Any] | None
    queue: Queue | None
    tags: list[str]
    notes: str
    path: str


TYPES = {key: json_types(hint) for key, hint in get_type_hints(RunDoc).items()}
"""What each field may be, as JSON has it."""

_COPIED = Spec.__annotations__.keys() & RunDoc.__annotations__.keys()


def document(run: RunFolder, *, metrics: bool = True) -> RunDoc | None:
    """All that is known of a run; None when its folder holds none (yet).

    With `metrics`, every point is read: about 0.4 s a million.
    """
    spec = run.spec()
    if spec is None:
        return _damaged(run)
    end = run.exit() or {}
    verdict = known(engine(spec["on"]), run, spec, end)
    live = verdict.state in LIVE
    doc = _blank(run)
    doc.update(cast("RunDoc", {key: value for key, value in spec.items() if key in _COPIED}))
    doc.update(cast("RunDoc", run.user()))
    doc["id"] = run.id
    doc["name"] = doc["name"] or spec["name"]
    doc["state"] = verdict.state
    doc["reason"] = verdict.reason
    doc["exit_code"] = verdict.exit_code
    doc["device"] = spec.get("device") or spec["on"]
    doc["ended"] = None if live else end.get("ended", spec.get("ended"))
    doc["seconds"] = _seconds(spec, end) if live or "seconds" in end else None
    doc["progress"] = _progress(run, live)
    doc["privacy"] = _privacy(run, spec)
    doc["queue"] = spec.get("queue") if verdict.state == "queued" else None
    sound = cast("RunDoc", _sound(doc))
    return with_metrics(sound, points.summarize(run.path)) if metrics else sound


def without_recipe(doc: RunDoc) -> str:
    """What a run is that no recipe stands behind."""
    return "imported" if doc["command"][:2] == ["traindeck", "import"] else "a command"


def with_metrics(doc: RunDoc, metrics: dict[str, points.Summary]) -> RunDoc:
    """Put metrics into a document that was made without.

    While the recipe's headline is not among them, or the run has none, another speaks for it: an
    accuracy, else a loss, else what was logged first; of a single point only where all are.
    """
    doc["metrics"] = metrics
    if metrics and doc["headline"] not in metrics:
        known = [n for n, summary in metrics.items() if summary["count"] > 1] or [*metrics]
        named = [[n for n in known if n.endswith(word)] for word in ("accuracy", "loss", "")]
        doc["headline"] = next(names[0] for names in named if names)
    return doc


def _damaged(run: RunFolder) -> RunDoc | None:
    """A folder that holds no usable run.json; None while it may just be being made."""
    try:
        made = run.path.stat().st_mtime
    except OSError:
        return None
    if abs(time.time() - made) < LAUNCH_SECONDS:
        return None
    doc = _blank(run)
    doc["name"] = run.id
    doc["framework"] = "other"
    doc["state"] = "lost"
    doc["reason"] = DAMAGED
    doc["created"] = doc["ended"] = made
    return doc


def _blank(run: RunFolder) -> RunDoc:
    """A document that says nothing but where its run is."""
    blank = {key: None if NoneType in types else types[0]() for key, types in TYPES.items()}
    return cast("RunDoc", {**blank, "id": run.id, "path": str(run.path)})


def _progress(run: RunFolder, live: bool) -> Progress | None:
    last = progress.last_progress(run.path)
    if last is None:
        return None
    when, done, total = last
    whole = int(total) if math.isfinite(total) and total.is_integer() else None
    eta = _eta(run, when, done, total) if live else None
    if whole is None:
        return Progress(done=float(done), total=total, eta_seconds=eta)
    return Progress(done=done, total=whole, eta_seconds=eta)


def _eta(run: RunFolder, when: float, done: int, total: float) -> float | None:
    """Seconds that are left, at the pace since the first report: loading is no measure of it.

    None before a hundredth is done.
    """
    first = progress.first_progress(run.path)
    if first is None or not ETA_SHARE * total <= done <= total:
        return None
    since, begun = first
    if done <= begun or when <= since:
        return None
    return (when - since) * (total - done) / (done - begun)


def _privacy(run: RunFolder, spec: Spec) -> dict[str, Any] | None:
    if spec.get("privacy", "none") == "none":
        return None
    from traindeck.core.privacy.report import report

    privacy = report(run.path, spec.get("ledger"))
    return privacy.to_json() if privacy else None


def _seconds(spec: Spec, end: End) -> float | None:
    if "seconds" in end:
        return end["seconds"]
    started = spec.get("started_boottime")
    if started is None or spec["boot_id"] != boot_id():
        return None
    return end.get("ended_boottime", boottime()) - started


def _sound(value: Any) -> Any:
    """The same with every text valid UTF-8 and every number one that JSON readers take."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_sound(str(key)): _sound(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_sound(item) for item in value]
    if isinstance(value, int) and abs(value) >= 2**63:
        return str(value)
    return value
