"""Where recipes are found: in the package, in `./recipes` and in the home's `recipes`."""

from __future__ import annotations

import contextlib
import os
import shlex
from pathlib import Path

from traindeck.core.base.errors import NotFoundError
from traindeck.core.base.home import Home
from traindeck.core.base.installed import package_folder
from traindeck.core.base.nearest import did_you_mean
from traindeck.core.recipe.read import discover, read_recipe
from traindeck.core.recipe.recipe import BrokenRecipe, Recipe


def shelf(home: Home) -> tuple[list[Recipe], list[BrokenRecipe]]:
    """All recipes by name, and the scripts whose headers cannot be used."""
    places = [((package_folder() / "recipes").resolve(), "built-in", False)]
    with contextlib.suppress(OSError):  # the working folder may be gone
        places.append((Path.cwd() / "recipes", "./recipes", True))
    return discover([*places, (home.recipes, str(home.recipes), True)])


def find_recipe(home: Home, name: str) -> Recipe:
    """A recipe by its name or by the path of its script.

    Raises NotFoundError, or HeaderError when the recipe is there but broken.
    """
    if name.endswith(".py") and Path(name).is_file():
        recipe = read_recipe(Path(name).absolute(), name, bare=True)
        assert recipe is not None
        return recipe
    recipes, broken = shelf(home)
    for recipe in recipes:
        if recipe.name == name:
            return recipe
    wrong = [f"{b.path}:{b.line}: {b.reason}" for b in broken if _claims(b.path, name)]
    if wrong:
        raise NotFoundError(f"recipe {name!r} is broken: {wrong[0]}")
    raise NotFoundError(_neither(name, [recipe.name for recipe in recipes]))


def _neither(name: str, recipes: list[str]) -> str:
    """Why a name is neither a recipe nor a script, with what may be meant."""
    path = Path(name)
    try:
        if path.is_file():
            return f"{name!r} is no recipe and no Python script; {_as_command(name)}"
        beside = os.listdir(path.parent) if path.suffix or "/" in name else None
    except (OSError, ValueError):  # no such folder, or no path at all
        beside = []
    if beside is not None:
        files = [str(path.parent / file) for file in beside if not file.startswith(".")]
        mend = did_you_mean(path.name, files) or did_you_mean(name, recipes)
        return f"there is no file {name!r}" + (f"; {mend}" if mend else ", and no such recipe")
    mend = did_you_mean(name, recipes) or "for a command: traindeck run -- COMMAND …;"
    return f"no recipe {name!r}; {mend} `traindeck recipes` lists them"


def _as_command(file: str) -> str:
    """How a file that is no Python script is run."""
    words = [file if "/" in file else f"./{file}"]
    if not os.access(file, os.X_OK):
        words = ["sh" if file.endswith(".sh") else "PROGRAM", *words]
    return f"to run any command: traindeck run -- {shlex.join(words)}"


def _claims(script: Path, name: str) -> bool:
    """Whether a broken script would go by this name."""
    if script.stem == name:
        return True
    try:
        return f'name = "{name}"' in script.read_text("utf-8", "replace")
    except OSError:
        return False
