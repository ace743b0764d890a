"""What is installed, by the names of the folders that installers leave.

importlib.metadata knows more but takes longer to import than a run takes to be prepared.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable


def installed(paths: Iterable[str]) -> dict[str, str]:
    """Version by normalized name of the distributions in these folders of a `sys.path`.

    Names are normalized as packaging.python.org/en/latest/specifications/name-normalization says.
    """
    found: dict[str, str] = {}
    for folder in paths:
        with contextlib.suppress(OSError):
            for entry in os.listdir(folder or os.curdir):
                stem, _, kind = entry.rpartition(".")
                name, dash, version = stem.partition("-")
                if kind == "dist-info" and dash:
                    found.setdefault(normal(name), version)
    return found


def normal(name: str) -> str:
    """A distribution's name in the one form that is compared."""
    return re.sub(r"[-_.]+", "-", name).lower()
