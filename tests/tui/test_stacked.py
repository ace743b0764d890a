"""Screens that stand upon others."""

from __future__ import annotations

import pytest

from tests.tui.homes import make_run
from tests.tui.pilots import shown, until, until_shown
from traindeck.core.base.home import Home
from traindeck.tui.app import TraindeckApp
from traindeck.tui.screens.recipes.screen import RecipesScreen
from traindeck.tui.screens.run.screen import RunScreen
from traindeck.tui.screens.runs import RunsScreen


@pytest.mark.parametrize("key", ["S", "ampersand", "i"])
async def test_what_was_opened_on_one_screen_can_be_opened_on_another(
    app: TraindeckApp, key: str
) -> None:
    names = {"S": "sweeps", "ampersand": "versus", "i": "inbox"}
    async with app.run_test(size=(120, 30)) as pilot:
        for place in ("2", "p", "3", "1"):
            await pilot.press(place)
            await until(pilot, lambda: len(app.screen_stack) == 1)
            await pilot.press(key)
            await until(pilot, lambda: app.screen.name == names[key])
            await pilot.press(key)  # it is there: nothing is opened on it
            assert len(app.screen_stack) == 2


@pytest.mark.slow
async def test_a_place_is_gone_to_whatever_was_opened_on_top_of_it(
    app: TraindeckApp, home: Home
) -> None:
    run_id = make_run(home, 1, metric=0.9, epochs=10)
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "mnist-1")
        await pilot.press("2")
        await until(pilot, lambda: isinstance(app.screen, RecipesScreen))
        app.open_runs([run_id])
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        await until_shown(pilot, "esc Back")
        await pilot.press("1")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        assert "esc Back" not in shown(pilot).splitlines()[-1]
        await pilot.press("2")
        await until(pilot, lambda: isinstance(app.screen, RecipesScreen))
        assert len(app.screen_stack) == 1
