"""Where recipes are found: in the package, in `./recipes` and in the home's `recipes`."""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path

from traindeck.core.base.errors import NotFoundError
from traindeck.core.base.home import Home
from traindeck.core.base.installed import installed, normal, package_folder
from traindeck.core.recipe.read import discover, read_recipe
from traindeck.core.recipe.recipe import BrokenRecipe, Recipe

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")


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
    known = ", ".join(recipe.name for recipe in recipes)
    raise NotFoundError(f"no recipe {name!r}; there are {known}. For a command: traindeck run -- …")


def _claims(script: Path, name: str) -> bool:
    """Whether a broken script would go by this name."""
    if script.stem == name:
        return True
    try:
        return f'name = "{name}"' in script.read_text("utf-8", "replace")
    except OSError:
        return False


def missing_dependencies(recipe: Recipe) -> list[str]:
    """The recipe's requirements that are not installed beside traindeck, as its header has them."""
    there = installed(sys.path) if recipe.dependencies else {}
    names = ((requirement, _REQUIREMENT.match(requirement)) for requirement in recipe.dependencies)
    return [requirement for requirement, name in names if name and normal(name[1]) not in there]
