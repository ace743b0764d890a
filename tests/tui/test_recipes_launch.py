"""Launching from the form starts the very run that the form says."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual import events
from textual.widgets import Input

from tests.tui.pilots import notices, until, until_shown
from tests.tui.recipe_files import (
    form_of,
    open_form,
    row,
    screen,
    text_of,
    type_text,
    write_recipes,
)
from traindeck.core.base.home import Home
from traindeck.core.catalogue.library import Library
from traindeck.core.run.state import ENDED
from traindeck.tui.app import TraindeckApp
from traindeck.tui.readers.drafts import read_drafts
from traindeck.tui.screens.run.screen import RunScreen


@pytest.fixture(autouse=True)
def folder(home: Home) -> Path:
    return write_recipes(home.recipes)


@pytest.mark.slow
async def test_a_real_run_from_form_to_finish(home: Home) -> None:
    app = TraindeckApp(home)
    async with app.run_test(size=(120, 30)) as pilot:
        form = await open_form(pilot, "tiny")
        await until_shown(pilot, "shared with other runs")
        await pilot.press("ctrl+u", "5")
        form.device.input.value = "cpu*1"
        screen(pilot).query_one("#run-name", Input).focus()
        await type_text(pilot, "my 1")
        await pilot.press("down")
        await type_text(pilot, "b,a")
        command = "traindeck run tiny -p steps=5 --on 'cpu*1' --name 'my 1' --tag b --tag a"
        await until(pilot, lambda: form.command() == command)
        await pilot.press("ctrl+l", "ctrl+l")  # once is enough
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        runs = Library(home).runs()
        assert len(runs) == 1
        run = runs[0]
        assert (run["recipe"], run["name"], run["tags"]) == ("tiny", "my 1", ["a", "b"])
        assert (run["params"], run["on"]) == ({"steps": 5}, "cpu*1")
        await until(pilot, lambda: Library(home).find("@last")["state"] in ENDED)
        assert Library(home).find("@last")["state"] == "finished"
        await pilot.press("escape")
        await until(pilot, lambda: screen(pilot).recipe_list.options.has_focus)
        await until(pilot, lambda: form_of(pilot).name_typed == "")  # a name is for one run
        assert text_of(pilot, "steps") == "5"
        await until(pilot, lambda: "tiny" in read_drafts(home))


async def test_a_refusal_is_shown_in_the_form_and_nothing_typed_is_lost(
    home: Home, folder: Path
) -> None:
    app = TraindeckApp(home)
    async with app.run_test(size=(120, 30)) as pilot:
        await open_form(pilot, "tiny")
        await pilot.press("end", "7")
        (folder / "tiny.py").unlink()
        await pilot.press("ctrl+l")
        await until_shown(pilot, "not launched: ")
        assert not form_of(pilot).busy
        assert text_of(pilot, "steps") == "37"
        assert not list(home.runs.iterdir())
        row(pilot, "steps").control.focus()
        await pilot.press("1")
        await until(pilot, lambda: not form_of(pilot).bar.query_one("#obstacle").display)
        assert notices(pilot) == ""


async def test_a_launch_typed_ahead_starts_the_recipe_under_the_cursor(home: Home) -> None:
    app = TraindeckApp(home)
    async with app.run_test(size=(120, 30)) as pilot:
        await open_form(pilot, "tiny")
        await pilot.press("escape", "escape")
        await until(pilot, lambda: screen(pilot).recipe_list.options.has_focus)
        await pilot.press("home")
        await until(pilot, lambda: screen(pilot).form and form_of(pilot).recipe.name != "tiny")
        at = screen(pilot).recipe_list.options.get_option_index("recipe:tiny")
        screen(pilot).recipe_list.options.highlighted = at
        for key in ("up", "down", "enter", "5", "ctrl+l"):
            app.post_message(events.Key(key, key if len(key) == 1 else None))
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        (run,) = Library(home).runs()
        assert (run["recipe"], run["params"]) == ("tiny", {"steps": 5})
        await until(pilot, lambda: Library(home).find("@last")["state"] in ENDED)


async def test_launching_by_mouse(home: Home) -> None:
    app = TraindeckApp(home)
    async with app.run_test(size=(80, 24)) as pilot:
        await open_form(pilot, "tiny")
        await pilot.click("#launch")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        await until(pilot, lambda: Library(home).find("@last")["state"] in ENDED)
