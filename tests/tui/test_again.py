"""A run is launched once more as it was, or with changes: its form opens filled from it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Switch

from tests.tui.pilots import notices, shown, until, until_shown
from tests.tui.recipe_files import form_of, row, screen, text_of, write_recipes
from traindeck.core.again import again
from traindeck.core.base.home import Home
from traindeck.core.catalogue.document import RunDoc
from traindeck.core.catalogue.library import Library
from traindeck.core.launch import LaunchRequest, launch
from traindeck.core.recipe.find import find_recipe
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.names import next_name
from traindeck.core.run.state import ENDED
from traindeck.tui.app import TraindeckApp
from traindeck.tui.screens.dialogs import PromptDialog
from traindeck.tui.screens.recipes.screen import RecipesScreen


@pytest.fixture(autouse=True)
def folder(home: Home) -> Path:
    return write_recipes(home.recipes)


def tiny(home: Home) -> RunDoc:
    recipe = find_recipe(home, "tiny")
    request = LaunchRequest(recipe=recipe, params={"steps": 2}, name="mine", tags=["x"])
    return launch(home, request)


def on_show(pilot: Pilot[Any]) -> str:
    """The recipe whose form is there, if one is."""
    form = screen(pilot).form
    return form.recipe.name if form is not None else ""


def names(home: Home) -> list[str]:
    return [doc["name"] for doc in Library(home).runs()]


def test_the_next_name_is_the_first_that_is_free() -> None:
    assert next_name("mine", ["other"]) == "mine"
    assert next_name("mine", ["mine"]) == "mine-2"
    assert next_name("mine", ["mine", "mine-2", "mine-4"]) == "mine-3"
    assert next_name("mine-2", ["mine", "mine-2"]) == "mine-3"
    assert next_name("seed-2", ["seed-2"]) == "seed-2-2"


@pytest.mark.slow
async def test_the_form_opens_as_the_run_was_and_marks_what_is_changed(home: Home) -> None:
    first = tiny(home)
    app = TraindeckApp(home)
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "finished")
        await pilot.press("L")
        await until(pilot, lambda: isinstance(app.screen, RecipesScreen))
        await until(pilot, lambda: getattr(app.screen, "form", None) is not None)
        await until(pilot, lambda: text_of(pilot, "steps") == "2")
        form = form_of(pilot)
        assert (form.name_typed, form.tags) == ("mine-2", ["x"])
        assert "≠" not in shown(pilot)
        row(pilot, "steps").set_text("3")
        await until_shown(pilot, "≠ 2 of mine")
        await pilot.press("ctrl+l")
        await until(pilot, lambda: len(Library(home).runs()) == 2)
        again = Library(home).find("mine-2")
        assert (again["params"]["steps"], again["tags"]) == (3, ["x"])
        spec = RunFolder(home.runs / again["id"]).spec()
        assert spec is not None and spec["again_of"] == first["id"]
        await until(pilot, lambda: Library(home).find("mine-2")["state"] in ENDED)


@pytest.mark.slow
async def test_what_was_typed_for_the_recipe_outlives_a_form_that_repeats_a_run(
    home: Home,
) -> None:
    tiny(home)
    app = TraindeckApp(home)
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "finished")
        await pilot.press("L")
        await until(pilot, lambda: getattr(app.screen, "form", None) is not None)
        await until(pilot, lambda: text_of(pilot, "steps") == "2")
        row(pilot, "steps").set_text("7")
        await pilot.press("escape")
        await until(pilot, lambda: on_show(pilot) and not form_of(pilot).repeats, "its own form")
        form = form_of(pilot)
        default = str(form.recipe.params["steps"].default)
        assert (text_of(pilot, "steps"), form.name_typed, form.tags) == (default, "", [])


@pytest.mark.slow
async def test_a_trial_of_a_sweep_launched_again_is_no_part_of_it(home: Home) -> None:
    sweep = {"id": "s1", "trial": 0, "part": 0, "values": {}, "place": ""}
    recipe = find_recipe(home, "tiny")
    doc = launch(home, LaunchRequest(recipe=recipe, tags=("sweep-s1", "mine"), sweep=sweep))
    repeated = again(home, doc["id"], {})
    assert (repeated.tags, repeated.sweep) == (["mine"], None)


@pytest.mark.slow
async def test_a_form_offers_an_environment_of_the_scripts_own(home: Home) -> None:
    script = home.recipes / "asking.py"
    header = '# /// script\n# dependencies = ["numpy>=2"]\n#\n'
    text = (home.recipes / "tiny.py").read_text().replace("# /// script\n", header, 1)
    script.write_text(text.replace('"tiny"', '"asking"'))
    app = TraindeckApp(home)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, RecipesScreen))  # there are no runs
        await until(pilot, lambda: screen(pilot).recipe_list.named("asking") is not None)
        await app.show_recipe("asking")
        await until(pilot, lambda: on_show(pilot) == "asking")
        form_of(pilot).query_one("#run-isolated", Switch).value = True
        await until_shown(pilot, "run asking --isolated")
        assert form_of(pilot).draft().isolated
        await app.action_place("recipes")
        await app.show_recipe("tiny")
        await until(pilot, lambda: on_show(pilot) == "tiny")
        assert not form_of(pilot).query("#run-isolated")


@pytest.mark.slow
async def test_again_as_it_was_has_a_name_of_its_own(home: Home) -> None:
    tiny(home)
    app = TraindeckApp(home)
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "finished")
        await pilot.press("a")
        await until(pilot, lambda: "launched again as" in notices(pilot))
        assert sorted(names(home)) == ["mine", "mine-2"]
        await until(pilot, lambda: all(doc["state"] in ENDED for doc in Library(home).runs()))


@pytest.mark.slow
async def test_of_a_command_its_line_is_asked_for(home: Home) -> None:
    launch(home, LaunchRequest(command=[sys.executable, "-c", "print(1)"], name="line"))
    app = TraindeckApp(home)
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "finished")
        await pilot.press("L")
        await until(pilot, lambda: isinstance(app.screen, PromptDialog))
        line = app.screen.query_one(Input)
        line.value = f"{sys.executable} -c 'print(2"
        await until_shown(pilot, "this is no command line")
        line.value = f"{sys.executable} -c 'print(2)'"
        await pilot.press("enter")
        await until(pilot, lambda: "line-2" in names(home))
        assert Library(home).find("line-2")["command"][-1] == "print(2)"
        await until(pilot, lambda: all(doc["state"] in ENDED for doc in Library(home).runs()))


@pytest.mark.slow
async def test_of_a_plain_script_its_line_is_asked_for(home: Home, tmp_path: Path) -> None:
    script = tmp_path / "tiny.py"  # called as a recipe is
    script.write_text("import sys\nprint(sys.argv)")
    recipe = find_recipe(home, str(script))
    launch(home, LaunchRequest(recipe=recipe, arguments=["--lr", "0.5"], name="line"))
    app = TraindeckApp(home)
    async with app.run_test(size=(120, 30)) as pilot:
        await until_shown(pilot, "finished")
        await pilot.press("L")
        await until(pilot, lambda: isinstance(app.screen, PromptDialog))
        line = app.screen.query_one(Input)
        assert line.value == f"{script} --lr 0.5"
        line.value = "other.py --lr 0.25"
        await until_shown(pilot, "the line begins with")
        line.value = f"{script} --lr 0.25"
        await pilot.press("enter")
        await until(pilot, lambda: "line-2" in names(home))
        assert Library(home).find("line-2")["params"] == {"lr": 0.25}
        await until(pilot, lambda: all(doc["state"] in ENDED for doc in Library(home).runs()))


@pytest.mark.slow
async def test_a_recipe_by_its_path_opens_a_form_of_its_own(home: Home, tmp_path: Path) -> None:
    script = tmp_path / "tiny.py"  # called as one in the list is
    script.write_text((home.recipes / "tiny.py").read_text().replace("params.steps", "params.laps"))
    launch(home, LaunchRequest(recipe=find_recipe(home, str(script)), name="own"))
    app = TraindeckApp(home)
    async with app.run_test(size=(120, 30)) as pilot:
        await until(pilot, lambda: all(doc["state"] in ENDED for doc in Library(home).runs()))
        await until_shown(pilot, "own")
        await pilot.press("L")
        await until(pilot, lambda: isinstance(app.screen, RecipesScreen))
        await until(pilot, lambda: getattr(app.screen, "form", None) is not None)
        await until_shown(pilot, "laps")
        assert form_of(pilot).name_typed == "own-2"
