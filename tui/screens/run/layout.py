"""Which panels of a run's screen show, by the cells there are and what was last asked for."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

from textual.binding import Binding

TABS: tuple[str, ...] = (
    *("curves", "log", "privacy", "devices", "parameters", "events"),
    "media",
    "federation",
)
RARE = frozenset({"media", "federation"})
"""Panels that most runs have nothing for; each needs the whole width."""
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
    """The key of each tab: 4 to 9, as 0 is a key of the curves; then letters."""
    return [
        Binding(
            key,
            f"tab('{tab}')",
            WORDS[tab],
            show=False,
            id=f"run.tab_{tab}",
            tooltip=f"Show the {'log, or the table of several runs' if tab == 'log' else tab}",
        )
        for key, tab in zip("456789MF", TABS, strict=True)
    ]


def why_absent(tab: str, *, several: bool) -> str:
    """Why there is none of a `RARE` panel."""
    if several:
        return f"{WORDS[tab]} is shown of one run at a time."
    return {
        "media": "No media: the run has kept no picture, text, table or histogram.",
        "federation": "Not federated: the run has no owners and no rounds.",
    }[tab]


def arrange(
    width: int,
    height: int,
    recent: Sequence[str],
    *,
    several: bool,
    tradeoff: bool = False,
    rare: Set[str] = frozenset(),
) -> ScreenArrangement:
    """Fit the panels to a screen of so many cells.

    `recent` are the panels asked for, the newest first: where only some fit, those stay. Of several
    runs the privacy panel is their `tradeoff`, when there is one to show, and that of parameters
    tells in what they differ. Of the `RARE` panels the run has `rare`.
    """

    def newest(*panels: str) -> str:
        return next((panel for panel in recent if panel in panels), panels[0])

    if several:
        drawn = ("curves", *(["privacy"] if tradeoff else []), "parameters")
        if height >= 30:
            return ScreenArrangement("several", drawn, frozenset({newest(*drawn), "runs"}))
        tabs = ("curves", "runs", *drawn[1:])
        return ScreenArrangement("narrow", tabs, frozenset({newest(*tabs)}))
    panels = tuple(tab for tab in TABS if tab not in RARE or tab in rare)
    chosen = newest(*panels)
    # A side panel asked for by its tab has the whole width: else its key would change nothing.
    if width < MEDIUM_WIDTH or chosen in SIDE | RARE:
        return ScreenArrangement("narrow", panels, frozenset({chosen}))
    if width < WIDE_WIDTH or height < TALL_HEIGHT:
        return ScreenArrangement("medium", panels, SIDE | {newest("curves", "log", "events")})
    return ScreenArrangement("wide", panels, SIDE | {"curves", newest("log", "events")})
