"""What a name stands for in a run: a field of it, a parameter, or a metric.

A name is looked for as a metric's whole name, then as a parameter, then as what follows a metric's
last slash: the run's headline if that fits, else the first that does (of private/… none).
`params.lr` is the parameter whatever else goes by that name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from traindeck.core.base.errors import UsageError
from traindeck.core.base.nearest import did_you_mean
from traindeck.core.privacy.telemetry import is_private

Doc = Mapping[str, Any]

PARAMS = "params."
HOWS = ("last", "best", "min", "max")
"""What of a metric may be asked for, after a colon: `loss:best`."""

_FALLING = (
    r"(?<![a-z])(?:(?:log)?loss(?:es)?|err(?:or)?|perplexity|ppl|r?mse|mae|mape|nll|ce|bp[cd]|[wc]er"
    r"|eer|fid|kl|seconds|time|latency|distance)(?![a-z])"
)


def falls(series: str) -> bool:
    """Whether less of a metric is better, as far as its name tells: losses, errors, times."""
    return re.search(_FALLING, series.rsplit("/", 1)[-1].casefold()) is not None


def names_of(docs: Iterable[Doc]) -> list[str]:
    """Every parameter and metric that the runs have, in the order they are first met."""
    params: dict[str, None] = {}
    series: dict[str, None] = {}
    for doc in docs:
        params.update(dict.fromkeys(doc["params"]))
        series.update(dict.fromkeys(doc["metrics"]))
    return [*params, *(name for name in series if name not in params)]


def unknown(name: str, known: Iterable[str]) -> str:
    """A sentence about a name that no run has, with those that may be meant."""
    mend = did_you_mean(name, known)
    return f"no run has a parameter or metric {name!r}" + (f": {mend}" if mend else "")


def is_known(name: str, known: Iterable[str]) -> bool:
    """Whether some run has what is meant by a name."""
    name = name.removeprefix(PARAMS)
    ending = f"/{name}"
    return any(each == name or (each.endswith(ending) and not is_private(each)) for each in known)


def series_of(doc: Doc, name: str) -> str | None:
    """The metric of a run that a name means; None when it has none or means a parameter."""
    metrics = doc.get("metrics") or {}
    if name in metrics:
        return name
    if name in (doc.get("params") or {}):
        return None
    ending = f"/{name}"
    headline = doc.get("headline") or ""
    if headline.endswith(ending) and headline in metrics and not is_private(headline):
        return headline
    for series in metrics:
        if series.endswith(ending) and not is_private(series):
            return str(series)
    return None


def values_of(name: str) -> Callable[[Doc], list[Any]]:
    """What to compare when a run is asked for a name: nothing, one value, or a few metrics'."""
    if name.startswith(PARAMS):
        param = name.removeprefix(PARAMS)
        return lambda doc: [doc["params"][param]] if param in (doc.get("params") or {}) else []
    if name in _SINGLE:
        field = _SINGLE[name]
        return lambda doc: _known(field(doc))
    ending = f"/{name}"

    def values(doc: Doc) -> list[Any]:
        metrics: Mapping[str, Any] = doc.get("metrics") or {}
        if name in metrics:
            return [_last(metrics[name])]
        params = doc.get("params") or {}
        if name in params:
            return [params[name]]
        headline = doc.get("headline") or ""
        if headline.endswith(ending) and headline in metrics and not is_private(headline):
            return [_last(metrics[headline])]
        return [
            _last(metrics[series])
            for series in metrics
            if series.endswith(ending) and not is_private(series)  # these only by their whole name
        ]

    return values


def epsilon(doc: Doc) -> Any:
    """Infinite where a run says that there is no bound; None for one without accounting."""
    privacy = doc.get("privacy")
    if privacy is None:
        return None
    from traindeck.core.privacy.report import epsilon_of  # slow to load, and seldom asked for

    return epsilon_of(privacy)


def progress(doc: Doc) -> float | None:
    """From 0 to 1."""
    progress = doc.get("progress")
    return progress["done"] / progress["total"] if progress and progress["total"] else None


_SINGLE: dict[str, Callable[[Doc], Any]] = {
    "exit_code": lambda doc: doc.get("exit_code"),
    "epsilon": epsilon,
    "progress": progress,
}


def _known(value: Any) -> list[Any]:
    return [] if value is None else [value]


def _last(summary: Mapping[str, Any]) -> Any:
    last = summary.get("last")
    return math.nan if last is None else last  # JSON has no NaN


# What columns show

TEXT, NUMBER, SPAN, AGE, WHEN = "text", "number", "span", "age", "when"
"""How a field is shown: seconds as 3m20s, a time as how long ago it was, or as a date."""

FIELDS: dict[str, tuple[str, Callable[[Doc], Any]]] = {
    "id": (TEXT, lambda doc: doc["id"]),
    "name": (TEXT, lambda doc: doc["name"]),
    "state": (TEXT, lambda doc: doc["state"]),
    "reason": (TEXT, lambda doc: doc["reason"]),
    "recipe": (TEXT, lambda doc: doc["recipe"]),
    "framework": (TEXT, lambda doc: doc["framework"]),
    "device": (TEXT, lambda doc: doc["device"]),
    "on": (TEXT, lambda doc: doc["on"]),
    "tags": (TEXT, lambda doc: " ".join(doc["tags"])),
    "notes": (TEXT, lambda doc: doc["notes"]),
    "progress": (NUMBER, progress),
    "eta": (SPAN, lambda doc: doc["progress"]["eta_seconds"] if doc["progress"] else None),
    "epsilon": (NUMBER, epsilon),
    "exit_code": (NUMBER, lambda doc: doc["exit_code"]),
    "took": (SPAN, lambda doc: doc["seconds"]),
    "age": (AGE, lambda doc: doc["created"]),
    "created": (WHEN, lambda doc: doc["created"]),
    "ended": (WHEN, lambda doc: doc["ended"]),
}
"""The fields that can be columns: how they are shown, and what they are of a run."""


@dataclass(frozen=True, slots=True)
class Pick:
    """One thing to show of every run.

    text   as it was asked for, which is what it is known by
    kind   how it is shown: TEXT, NUMBER, SPAN, AGE or WHEN
    value  what it is of a run: text, a number, a time in unix seconds, or None; what a parameter is
    step   of a metric's best, min or max, the step where it first stood; None where not known
    """

    text: str
    kind: str
    value: Callable[[Doc], Any]
    step: Callable[[Doc], int | None]


def pick(text: str, known: Iterable[str] | None = None) -> Pick:
    """Understand `state`, `lr`, `params.lr`, `test/accuracy` or `loss:best`.

    Raises UsageError for a name that is no field and not `known`, with those most like it; without
    any known name all are taken.
    """
    asked = text.strip()
    field = "tags" if asked == "tag" else asked
    if field in FIELDS:
        kind, value = FIELDS[field]
        return Pick(field, kind, value, lambda doc: None)
    name, colon, how = asked.rpartition(":")
    if not colon or how not in HOWS:
        name, how = asked, "last"
    if not name:
        raise UsageError("a column without a name; write names between commas")
    if known and not is_known(name, known := list(known)):
        raise UsageError(f"{unknown(name, (*FIELDS, *known))}; fields are {', '.join(FIELDS)}")
    if name.startswith(PARAMS):
        param = name.removeprefix(PARAMS)
        return Pick(asked, NUMBER, lambda doc: doc["params"].get(param), lambda doc: None)
    return _metric(asked, name, how)


def picks(text: str, known: Iterable[str] | None = None) -> list[Pick]:
    """Names between commas. Raises UsageError."""
    known = None if known is None else list(known)
    wanted = [pick(each, known) for each in text.split(",") if each.strip()]
    if not wanted:
        raise UsageError("no column is named; write names between commas, such as state,lr,loss")
    return list({each.text: each for each in wanted}.values())


def _metric(asked: str, name: str, how: str) -> Pick:
    def end(series: str) -> str:
        if how == "best":
            return "min" if falls(series) else "max"
        return how

    def value(doc: Doc) -> Any:
        metrics = doc["metrics"]
        series = name if name in metrics else series_of(doc, name)
        if series is None:
            return doc["params"].get(name)
        summary = metrics[series]
        found = summary[end(series)]
        return math.nan if found is None and summary["count"] else found

    def step(doc: Doc) -> int | None:
        series = series_of(doc, name)
        if series is None or how == "last":
            return None
        found = doc["metrics"][series].get(f"{end(series)}_step")
        return int(found) if found is not None else None

    return Pick(asked, NUMBER, value, step)


def order(value: Any) -> float | tuple[int, float, str] | None:
    """What a value is sorted by: numbers before words, and what is nothing nowhere."""
    if value is None or value != value:
        return None
    if isinstance(value, (int, float)):
        return (0, float(value), "")
    text = value if isinstance(value, str) else str(value)
    return (1, 0.0, text.casefold()) if text else None
