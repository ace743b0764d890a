"""A metric against a parameter: one mark a run.

Importing this module imports numpy.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from traindeck.core.base.format import counted
from traindeck.core.base.sanitize import plain
from traindeck.core.catalogue.document import RunDoc
from traindeck.core.catalogue.groups import SEEDS, grouped, spread
from traindeck.core.catalogue.values import PARAMS, names_of, pick
from traindeck.core.privacy.telemetry import is_private
from traindeck.tui.keys import SCREEN_KEYS, command
from traindeck.tui.plot.marks import Mark, points
from traindeck.tui.plot.raster import LABEL, LINE
from traindeck.tui.plot.scale import Axes
from traindeck.tui.widgets.key_bar import KeyBar
from traindeck.tui.widgets.run_columns import number
from traindeck.tui.widgets.sketch import Sketch

LEAST_POINTS = 2
MOST_MARKS = 400
_MEANS = 1
"""The color of means."""


@dataclass(frozen=True, slots=True)
class Cloud:
    """What is drawn: the place of each run, and for each place across the mean of those there.

    log    whether places across are powers of ten
    left_out  how many runs have no number in one of the two
    """

    places: tuple[tuple[float, float], ...]
    means: tuple[tuple[float, float], ...]
    log: bool
    left_out: int


def cloud(docs: Sequence[RunDoc], param: str, metric: str) -> Cloud:
    """Where each run lies; positive values that differ twentyfold are drawn as their logs."""
    across, up = pick(f"{PARAMS}{param}"), pick(metric)
    found = []
    for doc in docs:
        x, y = across.value(doc), up.value(doc)
        if _is_number(x) and _is_number(y):
            found.append((float(x), float(y)))
    log = bool(found) and min(x for x, _ in found) > 0
    log = log and max(x for x, _ in found) >= 20 * min(x for x, _ in found)
    places = sorted((math.log10(x) if log else x, y) for x, y in found)
    means = []
    for x in dict.fromkeys(x for x, _ in places):
        known = spread(y for at, y in places if at == x)
        if known is not None:
            means.append((x, known.mean))
    return Cloud(tuple(places), tuple(means), log, len(docs) - len(found))


def numeric_params(docs: Sequence[RunDoc]) -> list[str]:
    """Parameters that take several numbers in these runs; the seed comes last."""
    values: dict[str, set[float]] = {}
    for doc in docs:
        for name, value in doc["params"].items():
            if _is_number(value):
                values.setdefault(name, set()).add(float(value))
    varied = [name for name, each in values.items() if len(each) > 1]
    return sorted(varied, key=lambda name: name in SEEDS)


def metrics(docs: Sequence[RunDoc], chosen: Sequence[str]) -> list[str]:
    """What can be drawn: the chosen columns', headlines, then all others; the best and the last."""
    names = set(names_of(docs))
    series = Counter(name for doc in docs for name in doc["metrics"])
    heads = Counter(doc["headline"] for doc in docs if doc["headline"])
    first = [each for each in chosen if each.partition(":")[0] in series or each in series]
    public = [name for name, _ in series.most_common() if name in names and not is_private(name)]
    ordered = [*(name for name, _ in heads.most_common() if name in public), *public]
    return list(
        dict.fromkeys([*first, *(each for name in ordered for each in (f"{name}:best", name))])
    )


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


class PlotScreen(Screen[None], inherit_bindings=False):
    """Draws these runs; left and right take another parameter, up and down another metric."""

    BINDING_GROUP_TITLE = "Plot"
    BINDINGS: ClassVar[list[BindingType]] = [
        *SCREEN_KEYS,
        command("plot.param", "right", "param(1)", "Parameter", "The next parameter"),
        command("plot.param-back", "left", "param(-1)", "", "The parameter before", show=False),
        command("plot.metric", "down", "metric(1)", "Metric", "The next metric"),
        command("plot.metric-back", "up", "metric(-1)", "", "The metric before", show=False),
    ]
    DEFAULT_CSS = """
    PlotScreen { layout: vertical; background: $background; }
    PlotScreen Sketch { height: 1fr; min-height: 8; }
    PlotScreen Static { height: auto; padding: 0 1; color: $text-muted; }
    PlotScreen:ansi { background: ansi_default; }
    PlotScreen:ansi Static { color: ansi_default; text-style: dim; }
    """

    def __init__(self, docs: Sequence[RunDoc], chosen: Sequence[str] = ()) -> None:
        super().__init__()
        self._docs = docs
        self._params = numeric_params(docs)
        self._metrics = metrics(docs, chosen)
        self._param = self._metric = 0

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Sketch("metric against parameter")
            yield Static("")
        yield KeyBar()

    def on_mount(self) -> None:
        self._draw()

    def action_param(self, step: int) -> None:
        if self._params:
            self._param = (self._param + step) % len(self._params)
            self._draw()

    def action_metric(self, step: int) -> None:
        if self._metrics:
            self._metric = (self._metric + step) % len(self._metrics)
            self._draw()

    def _draw(self) -> None:
        sketch, note = self.query_one(Sketch), self.query_one(Static)
        if not self._params or not self._metrics:
            sketch.show([], None)
            missing = "metric" if self._params else "parameter that takes several numbers"
            runs = "This run has" if len(self._docs) == 1 else f"These {len(self._docs)} runs have"
            note.update(Content(f"{runs} no {missing}."))
            return
        param, metric = self._params[self._param], self._metrics[self._metric]
        found = cloud(self._docs, param, metric)
        note.update(Content(_words(found, self._docs, param, metric)))
        if len(found.places) < LEAST_POINTS:
            sketch.show([], None)
            return
        xs, ys = [x for x, _ in found.places], [y for _, y in found.places]
        wide = (max(xs) - min(xs)) * 0.06 or 0.5
        high = (max(ys) - min(ys)) * 0.12 or abs(max(ys)) * 0.1 or 0.5
        axes = Axes(
            min(xs) - wide,
            max(xs) + wide,
            min(ys) - high,
            max(ys) + high,
            x="powers" if found.log else "numbers",
        )
        marks: list[Mark] = []
        if 1 < len(found.means) < len(found.places):
            marks = [Mark(x, y, "◆", number(y), LINE + _MEANS) for x, y in found.means]
        marks += [Mark(x, y, "•", "", LINE) for x, y in found.places[:MOST_MARKS]]
        across = f"{plain(param)}, log" if found.log else plain(param)
        sketch.show(
            [points(xs[:1], ys[:1], _MEANS)],  # marks alone: unlike runs are no curve
            axes,
            marks,
            [(f" {plain(metric)} · x: {across} ", LABEL)],
        )


def _words(found: Cloud, docs: Sequence[RunDoc], param: str, metric: str) -> str:
    shown = f"{len(found.places)} of {counted(len(docs), 'run')}"
    words = [f"{plain(metric)} against {plain(param)}, {shown}"]
    if len(found.places) < LEAST_POINTS:
        words.append("too few to draw")
    elif len(found.means) < len(found.places):
        groups = grouped(docs, [pick(f"{PARAMS}{param}")])
        words.append(f"◆ the mean at each of {len(groups)} values")
    if found.left_out:
        words.append(f"{found.left_out} without a number in one of them")
    return "; ".join(words)
