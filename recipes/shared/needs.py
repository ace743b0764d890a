"""What a recipe needs of the machine; without it the recipe ends with one line and exit code 4."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from traindeck.core import track
from traindeck.recipes.shared.idx import DataError

T = TypeVar("T")


@contextmanager
def framework(name: str) -> Iterator[None]:
    """Stand around the import of a framework, which takes seconds and may fail."""
    print(f"loading {name} ...", flush=True)
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != name:
            track.abort(f"{name} cannot be imported: {error}")
        track.abort(f"{name} is not installed: {sys.executable} -m pip install {name}")
    except (ImportError, OSError) as error:  # OSError: a shared library that does not load
        track.abort(f"{name} cannot be imported: {' '.join(str(error).split())}")


def data(load: Callable[..., T], *args: object) -> T:
    """What a loader returns."""
    print("reading the data ...", flush=True)
    try:
        return load(*args)
    except DataError as error:
        track.abort(str(error))


def compiler() -> None:
    """A C++ compiler and Python's headers: torch.compile builds its kernels with them."""
    named = os.environ.get("CXX", "").strip() or ("clang++" if sys.platform == "darwin" else "g++")
    command = shlex.split(named)[0]
    if shutil.which(command) is None:
        track.abort(
            f"mode graph compiles with torch.compile, which needs a C++ compiler, and {command} was"
            " not found: install one (apt install g++), name it in CXX, or use --mode eager"
        )
    headers = Path(sysconfig.get_path("include"))
    tried = subprocess.run(
        [*shlex.split(named), "-x", "c++", "-shared", "-fPIC", "-", "-o", os.devnull],
        input=b"#include <vector>\n",
        capture_output=True,
    )
    if tried.returncode:
        said = tried.stderr.decode("utf-8", "replace").strip().splitlines()
        track.abort(
            f"mode graph compiles with torch.compile, and {command} cannot compile even an empty"
            f" file ({said[-1] if said else f'exit code {tried.returncode}'}):"
            " mend or reinstall it, or use --mode eager"
        )
    if not (headers / "Python.h").is_file():
        track.abort(
            "mode graph compiles with torch.compile, which needs Python's headers, and there is no"
            f" {headers / 'Python.h'}: install them (apt install python3-dev), or use --mode eager"
        )
