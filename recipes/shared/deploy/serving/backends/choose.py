"""Which of a version's files is served, and whether it may be."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np

from traindeck.core.base.errors import TraindeckError
from traindeck.core.base.home import Home
from traindeck.core.models.bundle import BUNDLE, Bundle, read_bundle
from traindeck.recipes.shared.deploy.serving.backends import own
from traindeck.recipes.shared.deploy.serving.backends.base import Backend
from traindeck.recipes.shared.deploy.serving.errors import Refused, brief
from traindeck.recipes.shared.deploy.serving.kinds import DEFAULT
from traindeck.recipes.shared.deploy.serving.meters import memory

FORMATS = {
    "onnx": ("model.onnx", "onnx", "Onnx"),
    "saved_model": ("saved_model.pb", "saved_model", "SavedModel"),
    "litert": ("model.tflite", "litert", "LiteRT"),
    "pt2": ("model.pt2", "pt2", "Pt2"),
    "litert-dynamic": ("lite/dynamic.tflite", "litert", "LiteRT"),
    "litert-int8": ("lite/int8.tflite", "litert", "LiteRT"),
}
"""By name, in the order of preference: the file, and the module and class that run it."""


def load(folder: Path, prefer: str = "", home: Home | None = None, threads: int = 1) -> Backend:
    """Load a version: the format that is preferred, else the first that is there.

    home     whose runs' .pt2 are trusted
    threads  of one request within the model

    Raises Refused, with what is wrong with the folder.
    """
    names = [prefer] if prefer else list(FORMATS)[:4]
    there = [name for name in names if (folder / FORMATS[name][0]).exists()]
    if not there:
        raise Refused(
            "NOT_FOUND", f"{folder} has no {' and no '.join(FORMATS[n][0] for n in names)}"
        )
    name = there[0]
    path = folder / FORMATS[name][0]
    bundle = _checked(folder, name, path)
    if name == "pt2" and not own.made(path, bundle, home):
        raise Refused(
            "FAILED_PRECONDITION",
            f"{path} is no .pt2 that a run of this home has recorded, and loading one runs code"
            " that it holds: export it to ONNX where it was trained, and serve that",
        )
    try:
        module = import_module(
            f"traindeck.recipes.shared.deploy.serving.backends.{FORMATS[name][1]}"
        )
        backend: Backend = getattr(module, FORMATS[name][2])(path, threads)
    except ImportError as error:
        raise Refused(
            "INTERNAL", f"{path} cannot be served: {error.name} is not installed"
        ) from None
    except Exception as error:  # each library has its own, for a file that is torn or foreign
        raise Refused("INTERNAL", f"{path} cannot be loaded: {brief(error)}") from None
    _warm(backend)
    backend.memory = max(0, memory() - backend.memory)
    return backend


def _checked(folder: Path, name: str, path: Path) -> Bundle | None:
    """A bundle's description; its files must be those that were exported."""
    if not (folder / BUNDLE).exists():
        return None
    try:
        bundle = read_bundle(folder)
    except TraindeckError as error:
        raise Refused("INTERNAL", str(error)) from None
    served = path.relative_to(folder).as_posix()
    for file, digest in bundle["files"].items():
        if file != served and not (
            name == "saved_model" and file.startswith(("variables/", "assets/"))
        ):
            continue
        try:
            found = own.sha256(folder / file)
        except OSError as error:
            raise Refused("INTERNAL", f"{folder / file} cannot be read: {error.strerror}") from None
        if found != digest:
            raise Refused(
                "INTERNAL",
                f"{folder / file} is not what was exported (its SHA-256 is another):"
                " copied in part, or changed",
            )
    return bundle


def _warm(backend: Backend) -> None:
    """Run one record of zeros: what a library does on its first call is done before the first."""
    signature = backend.signatures.get(DEFAULT)
    if signature is None or any(
        port.kind.is_text or port.shape is None or not port.shape
        for port in signature.inputs.values()
    ):
        return
    zeros = {
        name: np.zeros([1 if size < 0 else size for size in port.shape or ()], port.kind.dtype)
        for name, port in signature.inputs.items()
    }
    try:
        backend.run(DEFAULT, zeros)
    except Refused:
        return
