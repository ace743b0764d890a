"""Files of Keras read as tensors alone: `.h5`, `.weights.h5`, and the one within a `.keras`.

Nothing is built and no code is run: a configuration, which may hold code, is not looked at.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Tensors = dict[str, NDArray[np.generic]]

_WITHIN, _MOST = "model.weights.h5", 2**30
_NORM = ("gamma", "beta", "moving_mean", "moving_variance")
_OTHERS = ("kernel", "bias")


def read(path: Path) -> Tensors:
    """Tensors by `layer/variable`. Raises ValueError for what is no file of plain numbers."""
    import h5py

    file: Any = path
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo(_WITHIN).file_size > _MOST:
                raise ValueError(f"its {_WITHIN} is larger than {_MOST} bytes")
            file = io.BytesIO(archive.read(_WITHIN))
    tensors: Tensors = {}

    def note(place: str, found: Any) -> None:
        words = place.split("/")
        if not isinstance(found, h5py.Dataset) or words[0].startswith("optimizer"):
            return
        if found.is_virtual or found.external or found.dtype.kind not in "fiu":
            raise ValueError(f"{place} is not an array of numbers of its own")
        tensors[_named(words, found)] = found[()]

    with h5py.File(file, "r") as whole:
        whole.visititems(note)  # which follows no link to another file
    return tensors


def _named(words: list[str], found: Any) -> str:
    """Keras 3 numbers a layer's variables, and names it beside; those before name both."""
    if len(words) > 1 and words[-2] == "vars":
        variables = _NORM if len(found.parent) == len(_NORM) else _OTHERS
        number = int(words[-1])
        variable = variables[number] if number < len(variables) else words[-1]
        return f"{found.parent.attrs.get('name', words[-3])}/{variable}"
    return "/".join(words[-2:]).removesuffix(":0")
