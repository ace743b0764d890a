"""What a recipe needs of the machine; without it the recipe ends with one line and exit code 4."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from traindeck.core import track
from traindeck.recipes.shared.training.data.idx import DataError

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

_CHATTER = "^(I[0-9]{4} |WARNING: All log messages before absl)"


@contextmanager
def framework(name: str) -> Iterator[None]:
    """Stand around the import of a framework, which takes seconds and may fail."""
    print(f"loading {name} ...", flush=True)
    try:
        with quietly(name):
            yield
    except ModuleNotFoundError as error:
        if error.name != name:
            track.abort(f"{name} cannot be imported: {error}")
        track.abort(f"{name} is not installed: {sys.executable} -m pip install {name}")
    except (ImportError, OSError) as error:  # OSError: a shared library that does not load
        track.abort(f"{name} cannot be imported: {' '.join(str(error).split())}")


def quietly(name: str) -> AbstractContextManager[None]:
    """Stand around the import of a framework, and leave out what it says on every start."""
    return _without_chatter() if name == "tensorflow" else nullcontext()


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Leave out what TensorFlow says on every start, before its own log level counts.

    A process of its own reads stderr meanwhile: what a crash says last is not lost with us.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        reader = subprocess.Popen(
            ["grep", "--line-buffered", "-vE", _CHATTER], stdin=subprocess.PIPE, stdout=kept
        )
    except OSError:  # no grep: then with the chatter
        os.close(kept)
        yield
        return
    assert reader.stdin is not None
    os.dup2(reader.stdin.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        reader.stdin.close()
        # Whoever was started meanwhile may still write to it.
        with suppress(subprocess.TimeoutExpired):
            reader.wait(1)


@contextmanager
def syft() -> Iterator[None]:
    """Stand around the import of what builds on PySyft, of which one version alone will do."""
    try:
        yield
    except ModuleNotFoundError as error:
        track.abort(
            f"PySyft is not whole ({error.name} is missing):"
            f" {sys.executable} -m pip install 'traindeck[syft]'"
        )


def data(load: Callable[..., T], *args: object) -> T:
    """What a loader returns."""
    print("reading the data ...", flush=True)
    try:
        return load(*args)
    except DataError as error:
        track.abort(str(error))


def torch_device(device: str) -> torch.device:
    """What PyTorch calls the run's device, cpu or gpu."""
    import torch

    if device == "gpu" and not torch.cuda.is_available():
        track.abort("torch finds no GPU that it can use: check its driver, or use --device cpu")
    return torch.device("cuda" if device == "gpu" else "cpu")


def tensorflow_device(device: str) -> None:
    """Have TensorFlow use the run's device, cpu or gpu, and no other."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if device == "cpu":
        tf.config.set_visible_devices([], "GPU")
    elif not gpus:
        track.abort("TensorFlow finds no GPU that it can use: check its driver and CUDA libraries")
    else:
        tf.config.experimental.set_memory_growth(gpus[0], True)  # else it takes all the memory


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
