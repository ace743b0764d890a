"""Where recipes are found: in the package, in `./recipes` and in the home's `recipes`."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from pathlib import Path

import traindeck
from traindeck.core.errors import NotFoundError
from traindeck.core.home import Home
from traindeck.core.recipe import BrokenRecipe, Recipe, discover, read_recipe

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")


def shelf(home: Home) -> tuple[list[Recipe], list[BrokenRecipe]]:
    """All recipes by name, and the scripts whose headers cannot be used."""
    return discover(
        [
            (Path(traindeck.__file__).parent / "recipes", "built-in", False),
            (Path.cwd() / "recipes", "./recipes", True),
            (home.recipes, str(home.recipes), True),
        ]
    )


def find_recipe(home: Home, name: str) -> Recipe:
    """A recipe by its name or by the path of its script.

    Raises NotFoundError, or HeaderError when the recipe is there but broken.
    """
    if name.endswith(".py") and Path(name).is_file():
        found = read_recipe(Path(name).absolute(), name, bare=True)
        assert found is not None
        return found
    recipes, broken = shelf(home)
    for recipe in recipes:
        if recipe.name == name:
            return recipe
    wrong = [f"{b.path}:{b.line}: {b.reason}" for b in broken if b.path.stem == name]
    if wrong:
        raise NotFoundError(f"recipe {name!r} is broken: {wrong[0]}")
    known = ", ".join(recipe.name for recipe in recipes)
    raise NotFoundError(f"no recipe {name!r}; there are {known}. For a command: traindeck run -- …")


def missing_dependencies(recipe: Recipe) -> list[str]:
    """The recipe's requirements that are not installed beside traindeck, as its header has them."""
    wanted = {name[1]: text for text in recipe.dependencies if (name := _REQUIREMENT.match(text))}
    installed = _installed() if wanted else set()
    return [
        text
        for name, text in wanted.items()
        if _normal(name) not in installed and not _is_distribution(name)
    ]


def _installed() -> set[str]:
    """Distributions that a look at the folders of `sys.path` shows, by their normal names.

    importlib.metadata knows all of them, but takes longer to import than a run to be prepared.
    """
    found = set()
    for folder in sys.path:
        with contextlib.suppress(OSError):
            for entry in os.listdir(folder or os.curdir):
                stem, _, kind = entry.rpartition(".")
                if kind in ("dist-info", "egg-info"):
                    found.add(_normal(stem.partition("-")[0]))
    return found


def _normal(name: str) -> str:
    """https://packaging.python.org/en/latest/specifications/name-normalization/"""
    return re.sub(r"[-_.]+", "-", name).lower()


def _is_distribution(name: str) -> bool:
    import importlib.metadata

    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
