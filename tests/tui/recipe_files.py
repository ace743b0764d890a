"""Recipe scripts for tests of screens: real headers in real files."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from tests.tui.pilots import until
from traindeck.tui.screens.recipes.screen import RecipesScreen
from traindeck.tui.widgets.param_form import ParamRow
from traindeck.tui.widgets.recipe_form import RecipeForm

MNIST = """\
# /// script
# requires-python = ">=3.11"
# dependencies = ["textual>=8", "no-such-package-7f3a>=1.6"]
# [tool.traindeck]
# name = "torch-mnist"
# title = "MNIST CNN"
# description = "A small convolutional network on MNIST: 98.5 % in three minutes on two cores."
# framework = "torch"
# task = "image classification"
# dataset = "mnist"
# devices = ["cpu", "gpu"]
# tags = ["cnn", "baseline"]
# [tool.traindeck.params.epochs]
# type = "int"
# default = 3
# min = 1
# max = 1000
# help = "passes over the training data"
# [tool.traindeck.params.lr]
# type = "float"
# default = 0.05
# min = 0.0
# max = 10.0
# help = "learning rate at the peak of the schedule"
# [tool.traindeck.params.mode]
# type = "choice"
# default = "eager"
# choices = ["eager", "graph"]
# help = "graph: torch.compile, where there is a compiler"
# [tool.traindeck.params.augment]
# type = "bool"
# default = false
# help = "shift the images a little"
# [tool.traindeck.params.note]
# type = "str"
# default = "none"
# [tool.traindeck.params.data_dir]
# type = "path"
# help = "folder of IDX files"
# ///
"""

TINY = """\
# /// script
# [tool.traindeck]
# name = "tiny"
# title = "Counts to a number"
# headline = "loss"
# [tool.traindeck.params.steps]
# type = "int"
# default = 3
# min = 1
# ///
from traindeck.core import track

with track.start() as run:
    for step in range(run.params.steps):
        run.log(step, {"loss": 1 / (step + 1)})
        run.progress(step + 1, run.params.steps)
"""


def simple(name: str, framework: str, **more: str) -> str:
    """A recipe with one parameter; `more` are further texts of its table."""
    table = {"name": name, "framework": framework, "title": f"Digits by {framework}"} | more
    lines = [f'# {key} = "{value}"' for key, value in table.items()]
    head = textwrap.dedent(
        """\
        # [tool.traindeck.params.lr]
        # type = "float"
        # default = 0.1
        # ///
        """
    )
    return "\n".join(["# /// script", "# [tool.traindeck]", *lines]) + "\n" + head


BROKEN = simple("bad", "torch").replace("default = 0.1", "default = 0.1\n# max = 0.01")


def write_recipes(folder: Path) -> Path:
    """The set that most tests look at: three frameworks, two broken files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mnist.py").write_text(MNIST)
    (folder / "digits.py").write_text(simple("torch-digits", "torch"))
    (folder / "tf.py").write_text(simple("tf-digits", "tensorflow", dataset="digits"))
    (folder / "tiny.py").write_text(TINY)
    (folder / "bad.py").write_text(BROKEN)
    (folder / "open.py").write_text("# /// script\n# [tool.traindeck]\nimport os\n")
    return folder


def screen(pilot: Pilot[Any]) -> RecipesScreen:
    shown_screen = pilot.app.screen
    assert isinstance(shown_screen, RecipesScreen)
    return shown_screen


async def open_form(pilot: Pilot[Any], name: str) -> RecipeForm:
    """Filters for a recipe and enters its form."""
    await until(pilot, lambda: screen(pilot).recipe_list.recipes, "any recipe")
    screen(pilot).recipe_list.filter.value = name
    screen(pilot).recipe_list.options.focus()
    await pilot.pause()
    await pilot.press("enter")
    await until(pilot, lambda: on_form(pilot, name), f"the form of {name}")
    return form_of(pilot)


def recipe_shown(pilot: Pilot[Any]) -> str:
    """The name of the recipe whose form is on show; nothing while one is being built."""
    form = screen(pilot).form
    return form.recipe.name if form is not None else ""


def text_of(pilot: Pilot[Any], param: str) -> str | None:
    """What a field of the form holds; nothing while the form is being built."""
    form = screen(pilot).form
    if form is None or form.params is None:
        return None
    return next((row.text for row in form.params.rows if row.param.name == param), None)


def on_form(pilot: Pilot[Any], name: str) -> bool:
    form = screen(pilot).form
    return form is not None and form.recipe.name == name and form.has_focus_within


def form_of(pilot: Pilot[Any]) -> RecipeForm:
    form = screen(pilot).form
    assert form is not None
    return form


def row(pilot: Pilot[Any], param: str) -> ParamRow:
    return form_of(pilot).query_one(f"#param-{param}", ParamRow)


def key_for(letter: str) -> str:
    """The key that types a letter, as the pilot names it."""
    named = {" ": "space", ".": "full_stop", "-": "minus", "*": "asterisk", ":": "colon"}
    named |= {"/": "slash", "_": "underscore", ",": "comma"}
    return named.get(letter, letter)


async def type_text(pilot: Pilot[Any], text: str) -> None:
    await pilot.press(*(key_for(letter) for letter in text))
