"""What is installed: this package, and others by the names of the folders that installers leave.

importlib.metadata knows more but takes longer to import than a run takes to be prepared.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

import traindeck


def package_folder() -> Path:
    """The folder by the name of `traindeck` that it is imported from.

    What lies in it may be links, as in a work tree: resolve a path to name the file itself.
    """
    return Path(traindeck.__file__).parent


def installed(paths: Iterable[str]) -> dict[str, str]:
    """Version by normalized name of the distributions in these folders of a `sys.path`.

    Names are normalized as packaging.python.org/en/latest/specifications/name-normalization says.
    """
    versions: dict[str, str] = {}
    for folder in paths:
        with contextlib.suppress(OSError):
            for entry in os.listdir(folder or os.curdir):
                stem, _, kind = entry.rpartition(".")
                name, dash, version = stem.partition("-")
                if kind in ("dist-info", "egg-info") and dash:  # …-py3.11 is an egg's Python
                    versions.setdefault(normal(name), version.partition("-")[0])
    return versions


def normal(name: str) -> str:
    """A distribution's name in the one form that is compared."""
    return re.sub(r"[-_.]+", "-", name).lower()
