"""Environments that converters live in which cannot live beside the frameworks.

litert      PyTorch's models to LiteRT: litert-torch brings jax and another PyTorch
executorch  PyTorch's models to ExecuTorch: its attrs clashes with ours
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from traindeck.core.base.errors import MissingError
from traindeck.core.base.home import Home

PACKAGES = {
    "litert": ("litert-torch==0.10.*", "ai-edge-quantizer"),
    "executorch": ("executorch==1.5.*", "torch", "numpy"),
}
RUN_THERE = ("executorch",)
"""Those that hold the runtime of what they make as well."""
NEEDED_FOR = {
    "litert": "LiteRT of PyTorch's models (`traindeck export --to litert`)",
    "executorch": "ExecuTorch (`traindeck export --to executorch`)",
}


def place(home: Home, name: str) -> Path:
    """Where an environment is: `$TRAINDECK_LITERT` and so on, or `envs/` of the home."""
    named = os.environ.get(f"TRAINDECK_{name.upper()}")
    return Path(named).expanduser().absolute() if named else home.root / "envs" / name


def making(home: Home, name: str) -> str:
    """The command that makes it."""
    folder = shlex.quote(str(place(home, name)))
    packages = " ".join(map(shlex.quote, PACKAGES[name]))
    return f"python3 -m venv {folder} && {folder}/bin/pip install {packages}"


def python(home: Home, name: str) -> str:
    """Its interpreter. Raises MissingError with what makes it."""
    path = place(home, name) / "bin" / "python"
    if not path.exists():
        raise MissingError(
            f"{NEEDED_FOR[name]} is made in an environment of its own, and there is no"
            f" {path.parent.parent}. Make it with: {making(home, name)}"
        )
    return str(path)
