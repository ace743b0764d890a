"""Which panels of a run's screen show, by the cells there are and what was last asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.binding import Binding

TABS: tuple[str, ...] = (
    *("curves", "log", "privacy", "devices", "parameters", "events"),
    "federation",  # the last: most runs have none
)
WORDS = {tab: tab.capitalize() for tab in (*TABS, "runs")}
SIDE = frozenset({"privacy", "devices", "parameters"})
MEDIUM_WIDTH, WIDE_WIDTH, TALL_HEIGHT = 110, 160, 40


@dataclass(frozen=True, slots=True)
class ScreenArrangement:
    """What is on the screen: its name, the tabs, and which panels show."""

    name: str
    tabs: tuple[str, ...]
    visible: frozenset[str]


def tab_bindings() -> list[Binding]:
    """The key of each tab: 4 to 9, and o for the owners, as 0 is a key of the curves."""
    return [
        Binding(
            key,
            f"tab('{tab}')",
            WORDS[tab],
            show=False,
            id=f"run.tab_{tab}",
            tooltip=f"Show the {'log, or the table of several runs' if tab == 'log' else tab}",
        )
        for key, tab in zip("456789o", TABS, strict=True)
    ]


def arrange(
    width: int,
    height: int,
    recent: Sequence[str],
    *,
    several: bool,
    tradeoff: bool = False,
    federated: bool = False,
) -> ScreenArrangement:
    """Fit the panels to a screen of so many cells.

    `recent` are the panels asked for, the newest first: where only some fit, those stay. Of several
    runs the privacy panel is their `tradeoff`, when there is one to show. Only a `federated` run
    has the federation's panel, which needs the whole width.
    """

    def newest(*panels: str) -> str:
        return next((panel for panel in recent if panel in panels), panels[0])

    if several:
        drawn = ("curves", "privacy") if tradeoff else ("curves",)
        if height >= 30:
            tabs = drawn if tradeoff else ()
            return ScreenArrangement("several", tabs, frozenset({newest(*drawn), "runs"}))
        tabs = ("curves", "runs", *drawn[1:])
        return ScreenArrangement("narrow", tabs, frozenset({newest(*tabs)}))
    panels = TABS if federated else TABS[:-1]
    chosen = newest(*panels)
    # A side panel asked for by its tab has the whole width: else its key would change nothing.
    if width < MEDIUM_WIDTH or chosen in SIDE or chosen == "federation":
        return ScreenArrangement("narrow", panels, frozenset({chosen}))
    if width < WIDE_WIDTH or height < TALL_HEIGHT:
        return ScreenArrangement("medium", panels, SIDE | {newest("curves", "log", "events")})
    return ScreenArrangement("wide", panels, SIDE | {"curves", newest("log", "events")})
