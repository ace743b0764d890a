"""A run's document: all that lists, screens and `--json` show of it, from its folder.

A new field is a line of `RunDoc` and its value in `document`.
"""

from __future__ import annotations

import math
import time
from typing import Any, TypedDict, cast

from traindeck.core.base.process import boot_id
from traindeck.core.run import points
from traindeck.core.run.folder import DAMAGED, RunFolder
from traindeck.core.run.state import LAUNCH_SECONDS, LIVE, boottime, true_state

ETA_SHARE = 0.01


class Progress(TypedDict):
    done: float
    total: float
    eta_seconds: float | None


class Queue(TypedDict):
    place: int
    reason: str


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


def document(run: RunFolder, *, metrics: bool = True) -> RunDoc | None:
    """All that is known of a run; None when its folder holds none (yet).

    With `metrics`, every point is read: about 0.4 s a million.
    """
    spec = run.spec()
    if spec is None:
        return _damaged(run)
    end = run.exit() or {}
    verdict = true_state(spec, end)
    user = run.user()
    live = verdict.state in LIVE
    doc = RunDoc(
        id=run.id,
        name=user.get("name") or spec["name"],
        recipe=spec.get("recipe"),
        framework=spec["framework"],
        state=verdict.state,
        reason=verdict.reason,
        exit_code=verdict.exit_code,
        on=spec["on"],
        device=spec.get("device") or spec["on"],
        params=spec["params"],
        command=spec["command"],
        created=spec["created"],
        started=spec.get("started"),
        ended=None if live else end.get("ended", spec.get("ended")),
        seconds=_seconds(spec, end) if live or "seconds" in end else None,
        progress=_progress(run, live),
        metrics={},
        headline=spec.get("headline"),
        privacy=_privacy(run, spec),
        queue=spec.get("queue") if verdict.state == "queued" else None,
        tags=user.get("tags", []),
        notes=user.get("notes", ""),
        path=str(run.path),
    )
    sound = cast("RunDoc", _sound(doc))
    return with_metrics(sound, points.summarize(run.path)) if metrics else sound


def with_metrics(doc: RunDoc, metrics: dict[str, points.Summary]) -> RunDoc:
    """Put metrics into a document that was made without.

    While the recipe's headline is not among them, or the run has none, another speaks for it: an
    accuracy, else a loss, else what was logged first.
    """
    doc["metrics"] = metrics
    if metrics and doc["headline"] not in metrics:
        named = [[n for n in metrics if n.endswith(word)] for word in ("accuracy", "loss", "")]
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
    return RunDoc(
        id=run.id,
        name=run.id,
        recipe=None,
        framework="other",
        state="lost",
        reason=DAMAGED,
        exit_code=None,
        on="",
        device="",
        params={},
        command=[],
        created=made,
        started=None,
        ended=made,
        seconds=None,
        progress=None,
        metrics={},
        headline=None,
        privacy=None,
        queue=None,
        tags=[],
        notes="",
        path=str(run.path),
    )


def _progress(run: RunFolder, live: bool) -> Progress | None:
    last = points.last_progress(run.path)
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
    first = points.first_progress(run.path)
    if first is None or not ETA_SHARE * total <= done <= total:
        return None
    since, begun = first
    if done <= begun or when <= since:
        return None
    return (when - since) * (total - done) / (done - begun)


def _privacy(run: RunFolder, spec: dict[str, Any]) -> dict[str, Any] | None:
    if spec.get("privacy", "none") == "none":
        return None
    from traindeck.core.privacy.report import report

    privacy = report(run.path, spec.get("ledger"))
    return privacy.to_json() if privacy else None


def _seconds(spec: dict[str, Any], end: dict[str, Any]) -> float | None:
    if "seconds" in end:
        return cast("float | None", end["seconds"])
    started = spec.get("started_boottime")
    if started is None or spec["boot_id"] != boot_id():
        return None
    return float(end.get("ended_boottime", boottime())) - float(started)


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
