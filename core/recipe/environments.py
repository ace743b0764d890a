"""The Python environments that headers name: `environment` runs the script, `parts` its parts.

Each is `envs/<name>` in the home, or what the variable TRAINDECK_<NAME> names: a folder, or the
interpreter in its bin.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path

from traindeck.core.base.errors import MissingError
from traindeck.core.base.home import Home
from traindeck.core.recipe.recipe import Recipe


def place(home: Home, name: str) -> Path:
    """The folder of the environment by this name."""
    variable = f"TRAINDECK_{re.sub('[.-]', '_', name).upper()}"
    named = os.environ.get(variable)
    if not named:
        return home.root / "envs" / name
    path = Path(named).expanduser().absolute()
    return path.parent.parent if path.parent.name == "bin" else path


def python(home: Home, recipe: Recipe) -> str | None:
    """The interpreter that a recipe's header decides on; None when that is ours.

    Raises MissingError when its environment is not there.
    """
    if not recipe.environment:
        return None
    folder = place(home, recipe.environment)
    found = folder / "bin" / "python"
    if shutil.which(found) is None:
        raise MissingError(
            f"{recipe.name} runs in an environment of its own, and there is none in {folder}:"
            f" {making(recipe, folder)}"
        )
    return str(found)


def making(recipe: Recipe, folder: Path) -> str:
    """What makes an environment of a recipe, to be pasted into a shell."""
    packages = recipe.packages or recipe.dependencies
    made = f"python3 -m venv {shlex.quote(str(folder))}"
    if not packages:
        return made
    return f"{made} && {shlex.quote(f'{folder}/bin/pip')} install {shlex.join(packages)}"
