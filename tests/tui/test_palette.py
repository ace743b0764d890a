"""The palette finds runs, recipes and data sets by their names."""

from __future__ import annotations

from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from tests.tui.homes import make_run
from tests.tui.pilots import until, until_shown
from tests.tui.recipe_files import write_recipes
from traindeck.core.base.home import Home
from traindeck.core.privacy import budget
from traindeck.tui.app import TraindeckApp
from traindeck.tui.screens.privacy import PrivacyScreen
from traindeck.tui.screens.recipes.screen import RecipesScreen
from traindeck.tui.screens.run.screen import RunScreen


async def ask(pilot: Pilot[Any], text: str, found: str) -> None:
    await pilot.press("ctrl+p")
    await until(pilot, lambda: pilot.app.screen.query(Input))
    pilot.app.screen.query_one(Input).value = text
    await until_shown(pilot, found)
    await pilot.press("enter")


async def test_a_run_by_its_name(app: TraindeckApp, home: Home) -> None:
    for number, name in enumerate(("alpha", "beta")):
        make_run(home, number, name=name)
    async with app.run_test(size=(100, 30)) as pilot:
        await until_shown(pilot, "beta")
        await ask(pilot, "alph", "run alpha")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        await until_shown(pilot, "alpha")


async def test_a_recipe_by_its_name(app: TraindeckApp, home: Home) -> None:
    write_recipes(home.recipes)
    make_run(home, 1)
    name = next(iter(sorted(path.stem for path in home.recipes.glob("*.py"))))
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "mnist-1")
        await ask(pilot, "torch-digits", "recipe torch-digits")
        await until(pilot, lambda: isinstance(app.screen, RecipesScreen))
        await until(
            pilot,
            lambda: (
                isinstance(app.screen, RecipesScreen)
                and app.screen.form is not None
                and app.screen.form.recipe.name == "torch-digits"
            ),
            name,
        )


@pytest.mark.slow
async def test_a_data_set_by_its_name(app: TraindeckApp, home: Home) -> None:
    make_run(home, 1)
    for name in ("digits", "mnist"):
        budget.create(home, name, 3.0, 1e-5, "example", None)
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "mnist-1")
        await ask(pilot, "data mni", "data set mnist")
        await until(pilot, lambda: isinstance(app.screen, PrivacyScreen))
        await until(
            pilot,
            lambda: (
                isinstance(app.screen, PrivacyScreen)
                and app.screen.current is not None
                and app.screen.current.name == "mnist"
            ),
        )


@pytest.mark.slow
async def test_a_budget_is_made_and_changed_on_the_screen(app: TraindeckApp, home: Home) -> None:
    from traindeck.core.privacy.ledger.ledger import Ledger

    make_run(home, 1)
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "mnist-1")
        await pilot.press("p")
        await until(pilot, lambda: isinstance(app.screen, PrivacyScreen))
        await pilot.press("B")
        await until_shown(pilot, "A privacy budget for a data set")
        await pilot.press(*"mnist", "tab", *"x", "ctrl+s")
        await until_shown(pilot, "epsilon: 'x' is not a number")
        await pilot.press("backspace", *"8", "ctrl+s")
        await until(pilot, lambda: Ledger(home.ledger, "mnist").exists)
        await until_shown(pilot, "mnist")
        await until(
            pilot, lambda: isinstance(app.screen, PrivacyScreen) and app.screen.current is not None
        )
        await pilot.press("E")
        await until_shown(pilot, "Another epsilon for mnist, which has 8")
        await pilot.press(*"6", "enter")
        await until(pilot, lambda: Ledger(home.ledger, "mnist").account().epsilon == 6.0)
