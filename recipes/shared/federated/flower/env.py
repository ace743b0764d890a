"""The Python environment that Flower runs in: not ours, whose typer and click are newer."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from traindeck.core import track
from traindeck.core.base.home import Home

VARIABLE = "TRAINDECK_FLOWER"
VERSION = "1.41"  # the app works with what this version has
NEEDED = ("flwr", "torch", "numpy")
INSTALL = f"'flwr=={VERSION}.*' torch==2.13.0 numpy"

_INSTALLED = re.compile(r"([A-Za-z0-9_.]+)-([0-9][^-]*)\.dist-info")


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment that has Flower; `root` holds its bin folder."""

    root: Path

    def command(self, name: str) -> str:
        return str(self.root / "bin" / name)

    @property
    def python(self) -> str:
        return self.command("python")


def place(given: str | None) -> Path:
    """Where Flower should be: a folder or its interpreter, given or by variable; or in the home."""
    named = given or os.environ.get(VARIABLE)
    if named:
        path = Path(named).expanduser().absolute()
        return path.parent.parent if path.parent.name == "bin" else path
    return Home.default().root / "envs" / "flower"


def missing(root: Path) -> str:
    """What an environment lacks, in words; "" if Flower can run there."""
    if not (root / "bin" / "python").exists():
        return f"there is no environment {root}"
    versions: dict[str, str] = {}
    for path in root.glob("lib/python3*/site-packages/*.dist-info"):
        if named := _INSTALLED.fullmatch(path.name):
            versions[named[1].lower()] = named[2]
    lacking = [name for name in NEEDED if name not in versions]
    if lacking:
        return f"{root} lacks {', '.join(lacking)}"
    version = versions["flwr"]
    if not version.startswith(VERSION + "."):
        return f"{root} has flwr {version}, not {VERSION}"
    return ""


def find(given: str | None = None) -> Environment:
    """The environment that has Flower; without one the recipe ends with what makes it (4)."""
    root = place(given)
    if lack := missing(root):
        track.abort(
            f"Flower runs in an environment of its own, and {lack}. Make it with:"
            f" python3 -m venv {root} && {root}/bin/pip install {INSTALL}"
        )
    return Environment(root)
