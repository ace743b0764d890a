"""What is known of the privacy a run spends, said as it is: also when nothing is known."""

from __future__ import annotations

import math
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.widgets import Static

from traindeck.core.privacy.plan import Plan
from traindeck.core.privacy.report import RunPrivacy
from traindeck.tui.keys import SCROLL_KEYS
from traindeck.tui.panels.privacy_lines import LARGE_WIDTH, at_most, foot, head
from traindeck.tui.plot.marks import Mark, points
from traindeck.tui.plot.palette import TEXT
from traindeck.tui.plot.raster import ALERT, LABEL, LINE
from traindeck.tui.plot.scale import Axes
from traindeck.tui.plot.strips import Words
from traindeck.tui.widgets.sketch import Sketch

NOTHING = (
    "No privacy accounting: this run has reported no mechanism events; nothing is known about what "
    "the model reveals about its training data."
)
_SPENT, _PLANNED, _BUDGET = 2, 7, 5
"""Numbers of the curves' colors: greenish, grey, red."""


class PrivacyPanel(VerticalScroll, inherit_bindings=False):
    """The epsilon spent, what it depends on, and what it means."""

    BORDER_TITLE = "privacy"
    DEFAULT_CSS = """
    PrivacyPanel { height: auto; }
    PrivacyPanel > Static { height: auto; }
    PrivacyPanel > Sketch { display: none; height: 10; max-width: 110; margin: 1 0; }
    PrivacyPanel.-small > Sketch { height: 7; margin: 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = SCROLL_KEYS

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._known: tuple[object, ...] | None = None
        self._privacy: RunPrivacy | None = None
        self._plan: Plan | None = None
        self._budget: float | None = None
        self._live = False
        self._exposed = ""

    def compose(self) -> ComposeResult:
        yield Static(id="privacy-head")
        yield Sketch("ε against step", id="privacy-curve")
        yield Static(id="privacy-assumptions")

    def show(
        self,
        privacy: RunPrivacy | None,
        *,
        plan: Plan | None = None,
        budget: float | None = None,
        live: bool = False,
        exposed: str = "",
    ) -> None:
        """Take a run's privacy, or None when it accounts for none.

        plan    what it set out to do, when that has been read: gives the curve
        budget  of its data set, as an epsilon, when there is one
        live    more may still be spent
        exposed of a run that accounts for none: that it exposed a budget
        """
        given = (privacy, plan, budget, live, exposed)
        if given == self._known:
            return
        self._known = given
        self._privacy, self._plan, self._budget, self._live, self._exposed = given
        self._draw()
        self._draw_curve()

    def on_resize(self, _: Resize) -> None:
        self.set_class(self._small, "-small")
        self._draw()
        self._draw_curve()

    @property
    def _small(self) -> bool:
        return self.scrollable_content_region.width < LARGE_WIDTH

    def _draw(self) -> None:
        if self._known is None:
            return
        above = self.query_one("#privacy-head", Static)
        below = self.query_one("#privacy-assumptions", Static)
        below.display = self._privacy is not None
        if self._privacy is None:
            text = Content.styled(NOTHING, "dim")
            if self._exposed:
                text = Content.styled(f"✗ {self._exposed}\n", "bold $text-error") + text
            above.update(text)
            return
        width = self.scrollable_content_region.width
        above.update(head(self._privacy, self._live, width))
        below.update(foot(self._privacy, width))

    def _draw_curve(self) -> None:
        sketch, plan, privacy = self.query_one(Sketch), self._plan, self._privacy
        drawable = plan is not None and privacy is not None and math.isfinite(plan.epsilon)
        sketch.display = drawable and len(plan.curve) > 0 if plan else False
        if plan is None or privacy is None or not sketch.display:
            return
        done, now = privacy.steps, privacy.epsilon
        steps = [0, *(step for step, _ in plan.curve)]
        values = [0.0, *(value for _, value in plan.curve)]
        curves = [points(steps, values, _PLANNED)]
        marks: list[Mark] = []
        unit = "" if self._small else "ε "
        legend: Words = [(f" plan {unit}{at_most(plan.epsilon)}", LABEL)]
        if done and math.isfinite(now):
            past = [n for n in steps if n < done]
            curves.insert(0, points([*past, done], [*values[: len(past)], now], _SPENT))
            marks.append(Mark(done, now, "●", at_most(now), LINE + _SPENT))
            legend = [(" ━ spent", LINE + _SPENT), *legend]
        top = plan.epsilon
        budget = self._budget
        if budget is not None:
            top = max(top, budget)
            curves.append(points([0, steps[-1]], [budget, budget], _BUDGET))
            over = plan.epsilon > budget
            whole = "" if self._small else " in all"
            legend.append((f" ━ budget {budget:g}{whole}", ALERT if over else LINE + _BUDGET))
        axes = Axes(0, max(steps[-1], done, 1), 0.0, 1.06 * top)
        sketch.show(curves, axes, marks, [*legend, (" ", TEXT)])
