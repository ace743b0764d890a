"""Where the package's own files are."""

from __future__ import annotations

from traindeck.core.base.home import Home
from traindeck.core.base.installed import package_folder
from traindeck.core.recipe.find import shelf


def test_the_package_is_where_its_parts_are() -> None:
    assert all((package_folder() / part / "__init__.py").is_file() for part in ("core", "tui"))


def test_a_built_in_recipe_goes_by_the_path_of_the_script_itself(home: Home) -> None:
    recipes, _ = shelf(home)
    built_in = [recipe for recipe in recipes if recipe.origin == "built-in"]
    assert built_in
    assert all(recipe.path == recipe.path.resolve() for recipe in built_in)
