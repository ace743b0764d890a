"""The screens there are, each imported when first asked for: that is most of a quick start."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from textual.screen import Screen

from traindeck.core.base.home import Home

if TYPE_CHECKING:
    from traindeck.tui.screens.run.screen import RunScreen


def first_place(home: Home) -> str:
    """Where there is something to see: the runs, or before there are any, the recipes."""
    try:
        with os.scandir(home.runs) as entries:
            return "runs" if any(True for _ in entries) else "recipes"
    except OSError:
        return "recipes"


def screen_type(place: str) -> type[Screen[None]]:
    """The base screen of a place. Raises ImportError when something it needs is missing."""
    if place == "recipes":
        from traindeck.tui.screens.recipes.screen import RecipesScreen

        return RecipesScreen
    if place == "devices":
        from traindeck.tui.screens.devices import DevicesScreen

        return DevicesScreen
    if place == "privacy":
        from traindeck.tui.screens.privacy import PrivacyScreen

        return PrivacyScreen
    if place == "models":
        from traindeck.tui.screens.models.screen import ModelsScreen

        return ModelsScreen
    from traindeck.tui.screens.runs import RunsScreen

    return RunsScreen


def new_screen(place: str) -> Screen[None]:
    return screen_type(place)()


def sweeps_screen_type() -> type[Screen[None]]:
    """The screen of all sweeps, with all that draws."""
    from traindeck.tui.screens.sweeps import SweepsScreen

    return SweepsScreen


def versus_screen_type() -> type[Screen[None]]:
    """The screen of the comparison, with all that draws."""
    from traindeck.tui.screens.versus import VersusScreen

    return VersusScreen


def run_screen_type() -> type[RunScreen]:
    """The screen of one run. With it comes all that draws, which takes a moment."""
    from traindeck.tui.screens.run.screen import RunScreen

    return RunScreen
