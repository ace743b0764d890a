"""What the run table can show of a run: for each column its text, its order and its width."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from traindeck.core.base.format import compact, percent, timespan
from traindeck.core.base.sanitize import plain
from traindeck.core.catalogue.document import RunDoc
from traindeck.core.privacy.bounds import at_most
from traindeck.core.privacy.report import RunPrivacy, epsilon_of
from traindeck.core.privacy.telemetry import is_private
from traindeck.core.run.state import LIVE
from traindeck.tui.widgets.columns import Key, Part, fitting

STATES = {
    "queued": ("◌", "dim"),
    "starting": ("◔", "live"),
    "running": ("●", "live"),
    "stopping": ("◕", "warn"),
    "finished": ("✓", "good"),
    "failed": ("✗", "bad"),
    "stopped": ("■", "warn"),
    "killed": ("✗", "bad"),
    "out_of_memory": ("✗", "bad"),
    "over_budget": ("ε", "bad"),
    "lost": ("?", "bad"),
    "unreachable": ("?", "warn"),
}
"""Symbol and tone of each state, in the order that they are sorted by."""
UNKNOWN = ("?", "bad")

STATE_SHORT = {"out_of_memory": "memory", "over_budget": "budget", "unreachable": "away"}
"""Words for a narrow column, where the state's own name is too long."""

NONE = "—"


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    id     what it is known by, whatever its width
    width  cells it needs to make sense; the text never uses more than it is given
    rank   columns of a higher rank are left out first when the table is narrow
    grow   its share of the cells that are left over
    most   cells it never grows beyond
    """

    id: str
    title: str
    width: int
    rank: int
    parts: Callable[[RunDoc, float, int], Sequence[Part]]
    key: Callable[[RunDoc], Key]
    grow: int = 0
    most: int = 60
    right: bool = False


def duration(seconds: float) -> str:
    """At most six cells: `7s`, `3m20s`, `2h05m`, `3d04h`, `412d`."""
    if not math.isfinite(seconds):
        return NONE
    days = int(seconds) // 86400
    return f"{days}d" if days >= 100 else timespan(max(0.0, seconds))


def age(seconds: float) -> str:
    """How long ago, in one unit: `7s`, `3m`, `2h`, `3d`, `2y`."""
    whole = max(0, int(seconds)) if math.isfinite(seconds) else 0
    for unit, size in (("y", 31_556_952), ("d", 86400), ("h", 3600), ("m", 60)):
        if whole >= size:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def number(value: float | None) -> str:
    """A metric's value in at most nine cells; None stands for one that is not finite."""
    return compact(math.nan if value is None else value)


def fraction(doc: RunDoc) -> float | None:
    """How much of a run is done, from 0 to 1."""
    progress = doc["progress"]
    if progress is None or not progress["total"] > 0:
        return None
    return min(1.0, max(0.0, progress["done"] / progress["total"]))


def headline(doc: RunDoc) -> tuple[str, float | None] | None:
    """The metric that speaks for the run: name and last value, None where that is not finite."""
    name = doc["headline"]
    if name is None or name not in doc["metrics"]:
        return None
    return name, doc["metrics"][name]["last"]


def covered(series: str) -> str:
    """A series' name; with a mark where it was computed from private data."""
    return f"{series} (not in ε)" if is_private(series) else series


def epsilon(doc: RunDoc) -> float | None:
    """What a run has spent; infinite where there is no bound, None without accounting."""
    return epsilon_of(doc["privacy"])


def state_text(state: str, width: int = 80) -> str:
    """A state's symbol and words, in so many cells if that can be done."""
    symbol, _ = STATES.get(state, UNKNOWN)
    words = state.replace("_", " ")
    if len(words) + 2 > width:
        words = STATE_SHORT.get(state, words)
    return f"{symbol} {words}"


def _state(doc: RunDoc, now: float, width: int) -> Sequence[Part]:
    _, tone = STATES.get(doc["state"], UNKNOWN)
    return [(state_text(doc["state"], width), tone)]


def _progress(doc: RunDoc, now: float, width: int) -> Sequence[Part]:
    part = fraction(doc)
    if part is None:
        return [(NONE, "dim")]
    done = f"{percent(part, 1):3}%"
    cells = width - len(done) - 1
    if cells < 3:
        return [(done.strip(), "")]
    full = math.floor(part * cells * 2)
    bar = "━" * (full // 2) + ("╸" if full % 2 else "")
    live = doc["state"] in LIVE
    return [
        (bar, "live" if live else "dim"),
        ("─" * (cells - len(bar)), "faint"),
        (f" {done}", "" if live else "dim"),
    ]


def _eta(doc: RunDoc, now: float, width: int) -> Sequence[Part]:
    progress = doc["progress"]
    left = progress["eta_seconds"] if progress else None
    return [(NONE, "dim")] if left is None else [(duration(left), "")]


def _metric(doc: RunDoc, now: float, width: int) -> Sequence[Part]:
    speaking = headline(doc)
    if speaking is None:
        return [(NONE, "dim")]
    name, value = speaking
    return [(f"{number(value):<6}", ""), (f" {covered(plain(name))}", "dim")]


def _epsilon(doc: RunDoc, now: float, width: int) -> Sequence[Part]:
    privacy = RunPrivacy.from_json(doc["privacy"])
    if privacy is None or epsilon(doc) is None:
        return [(NONE, "dim")]
    return [(at_most(privacy.epsilon, infinite="∞"), "" if privacy.reliable else "bad")]


def _text(value: str) -> Sequence[Part]:
    return [(plain(value), "")] if value else [(NONE, "dim")]


def _eta_key(doc: RunDoc) -> Key:
    progress = doc["progress"]
    return progress["eta_seconds"] if progress else None


def _metric_key(doc: RunDoc) -> Key:
    speaking = headline(doc)
    return speaking[1] if speaking else None


_STATE_ORDER = {state: float(place) for place, state in enumerate(STATES)}

COLUMNS: tuple[Column, ...] = (
    Column(
        "state",
        "State",
        11,
        0,
        _state,
        lambda doc: _STATE_ORDER.get(doc["state"], 99.0),
    ),
    Column(
        "name",
        "Name",
        14,
        0,
        lambda doc, now, width: _text(doc["name"]),
        lambda doc: doc["name"].casefold(),
        grow=3,
        most=40,
    ),
    Column(
        "id",
        "Id",
        8,
        5,
        lambda doc, now, width: [(doc["id"], "dim")],
        lambda doc: doc["id"],
    ),
    Column(
        "recipe",
        "Recipe",
        12,
        6,
        lambda doc, now, width: _text(doc["recipe"] or ""),
        lambda doc: (doc["recipe"] or "").casefold() or None,
        grow=1,
        most=24,
    ),
    Column("progress", "Progress", 8, 2, _progress, fraction, grow=1, most=20),
    Column("eta", "ETA", 6, 3, _eta, _eta_key, right=True),
    Column("metric", "Metric", 20, 1, _metric, _metric_key, grow=1, most=36),
    Column("epsilon", "ε", 5, 4, _epsilon, epsilon, right=True),
    Column(
        "device",
        "Device",
        7,
        3,
        lambda doc, now, width: _text(doc["device"]),
        lambda doc: doc["device"],
        grow=1,
        most=14,
    ),
    Column(
        "took",
        "Took",
        6,
        8,
        lambda doc, now, width: [
            (NONE, "dim") if doc["seconds"] is None else (duration(doc["seconds"]), "")
        ],
        lambda doc: doc["seconds"],
        right=True,
    ),
    Column(
        "age",
        "Age",
        4,
        1,
        lambda doc, now, width: [(age(now - doc["created"]), "dim")],
        lambda doc: -doc["created"],
        right=True,
    ),
)


_PRIVATE_COLUMNS = tuple(
    replace(each, rank=2) if each.id == "epsilon" else each for each in COLUMNS
)


def fit(width: int, *, private: bool = False) -> list[tuple[Column, int]]:
    """The columns that fit into so many cells, with the cells each one gets.

    Where runs are `private`, what they spent is shown before what they run on.
    """
    return fitting(width, _PRIVATE_COLUMNS if private else COLUMNS)
