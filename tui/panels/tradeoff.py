"""Accuracy against epsilon: what privacy costs, run by run."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from traindeck.core.base.sanitize import plain
from traindeck.tui.keys import SCROLL_KEYS
from traindeck.tui.plot.marks import Mark, points
from traindeck.tui.plot.raster import LABEL, LINE, MARKERS, MAX_COLORS
from traindeck.tui.plot.scale import Axes
from traindeck.tui.readers.picture import RunState
from traindeck.tui.widgets.sketch import Sketch

LEAST_POINTS = 2
_GREY = 7
_LABEL_WIDEST = 24


@dataclass(frozen=True, slots=True)
class Reference:
    """A published result: its epsilon recomputed by PLD from the paper's parameters."""

    dataset: str
    paper: str
    epsilon: float
    accuracy: float
    delta: float = 1e-5


REFERENCES = (
    Reference("mnist", "Tramèr & Boneh 2021", 2.93, 0.987),
    Reference("mnist", "Papernot et al. 2021", 2.93, 0.981),
)


@dataclass(frozen=True, slots=True)
class Point:
    """A run in the picture; `place` is its place among the runs compared."""

    place: int
    label: str
    epsilon: float
    value: float


def epsilon_shown(run: RunState) -> float | None:
    """A run's epsilon, if it has one that may be relied upon."""
    privacy = run.privacy
    if privacy is None or not privacy.reliable or not privacy.steps:
        return None
    return privacy.epsilon if math.isfinite(privacy.epsilon) else None


def enough(runs: Sequence[RunState]) -> bool:
    """Whether there is something to compare."""
    return sum(epsilon_shown(run) is not None for run in runs) >= LEAST_POINTS


def metric_of(runs: Sequence[RunState]) -> str:
    """The series that most of these runs speak of themselves by."""
    counts = Counter(run.doc["headline"] for run in runs if run.doc and run.doc["headline"])
    return counts.most_common(1)[0][0] if counts else ""


def find(runs: Sequence[RunState], labels: Sequence[str], metric: str) -> list[Point]:
    """The runs that have both, by rising epsilon."""
    known = []
    for place, (run, label) in enumerate(zip(runs, labels, strict=True)):
        epsilon, value = epsilon_shown(run), run.last.get(metric, math.nan)
        if epsilon is not None and math.isfinite(value):
            known.append(Point(place, label, epsilon, value))
    return sorted(known, key=lambda point: (point.epsilon, point.value))


class TradeoffPanel(VerticalScroll, inherit_bindings=False):
    """One mark a run, in the colors of the curves; published results as a reference."""

    BORDER_TITLE = "accuracy against ε"
    BINDING_GROUP_TITLE = "Accuracy against ε"
    BINDINGS: ClassVar[list[BindingType]] = SCROLL_KEYS
    DEFAULT_CSS = """
    TradeoffPanel { height: 1fr; }
    TradeoffPanel > Sketch { height: 1fr; min-height: 8; }
    TradeoffPanel > Static { height: auto; color: $text-muted; }
    TradeoffPanel:ansi > Static { color: ansi_default; text-style: dim; }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._shown: object = None

    def compose(self) -> ComposeResult:
        yield Sketch("accuracy against ε")
        yield Static()

    def show(self, runs: Sequence[RunState], labels: Sequence[str]) -> None:
        """Take the runs as they are now."""
        metric = metric_of(runs)
        ours = find(runs, labels, metric)
        relied = [run.privacy for run in runs if run.privacy and epsilon_shown(run) is not None]
        datasets = {privacy.dataset for privacy in relied}
        deltas = {privacy.delta for privacy in relied}
        units = {privacy.unit for privacy in relied}
        known = [each for each in REFERENCES if _fits(each, metric, datasets)]
        shown = (metric, ours, known, len(runs), deltas, units)
        if shown == self._shown:
            return
        self._shown = shown
        self._draw(ours, known, metric)
        self.query_one(Static).update(_notes(len(runs) - len(ours), known, deltas, units))

    def _draw(self, ours: Sequence[Point], known: Sequence[Reference], metric: str) -> None:
        sketch = self.query_one(Sketch)
        if not ours:
            sketch.show([], None)
            return
        values = [point.value for point in ours] + [each.accuracy for each in known]
        most = max([point.epsilon for point in ours] + [each.epsilon for each in known])
        room = (max(values) - min(values)) * 0.12 or 0.05
        right = max(1.0, 1.25 * most)
        axes = Axes(0.0, right, min(values) - room, max(values) + room, x="numbers")
        marks = [
            Mark(
                point.epsilon,
                point.value,
                MARKERS[point.place % len(MARKERS)],
                point.label[:_LABEL_WIDEST],
                LINE + point.place % MAX_COLORS,
            )
            for point in ours
        ]
        marks += [Mark(each.epsilon, each.accuracy, "✦", each.paper, LABEL) for each in known]
        sketch.show(
            [points([point.epsilon], [point.value], _GREY) for point in ours],
            axes,
            marks,
            [(f" {plain(metric)} · x: ε ", LABEL)],
        )


def _fits(each: Reference, metric: str, datasets: set[str]) -> bool:
    return datasets == {each.dataset} and metric.endswith("accuracy")


def _notes(
    left_out: int, known: Sequence[Reference], deltas: set[float], units: set[str]
) -> Content:
    notes = []
    if len(units) > 1:
        notes.append(f"these are epsilons of different units: {plain(', '.join(sorted(units)))}")
    if len(deltas) > 1:
        names = ", ".join(f"{delta:g}" for delta in sorted(deltas))
        notes.append(f"these are epsilons at different deltas: {names}")
    if left_out:
        runs = "1 run is" if left_out == 1 else f"{left_out} runs are"
        notes.append(f"{runs} left out: no finite epsilon to rely upon, or no such series yet")
    if known:
        results = [f"{each.paper}: {each.accuracy:.1%} at ε {each.epsilon}" for each in known]
        notes.append(
            f"✦ published, not run here, ε at δ {known[0].delta:g} recomputed by PLD from the"
            f" paper's parameters, the choice of which was not charged: {'; '.join(results)}"
        )
    return Content("\n".join(notes))
