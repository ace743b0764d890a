"""A run's servable: `servable/` among its artifacts, a model with its preprocessing inside.

    signature.json   its inputs and outputs by name, where they were given
    and one of       saved_model.pb with variables/; model.pt2, .onnx, .tflite or .keras;
                     model.safetensors with model.py, that builds the module, and builder.txt, its
                     function or class there

Standard library only: recipes import this.
"""

from __future__ import annotations

import ast
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from traindeck.core.base.errors import NotFoundError, TraindeckError, UsageError
from traindeck.core.models.bundle import (
    SIGNATURE,
    Signature,
    Tensor,
    read_signature,
    write_signature,
)
from traindeck.core.run.artifacts import artifacts, sums

FOLDER = "servable"
MODELS = {
    "saved_model.pb": "saved_model",
    "model.pt2": "pt2",
    "model.onnx": "onnx",
    "model.tflite": "litert",
    "model.keras": "keras",
    "model.safetensors": "safetensors",
}
"""Formats by the file that is one."""
SERVED = tuple(name for name in MODELS if name not in ("model.keras", "model.safetensors"))
"""Those that a server can load as they are."""
WEIGHTS = ".safetensors"
CODE, BUILDER = "model.py", "builder.txt"
SUFFIXES = tuple(suffix for name in MODELS if (suffix := Path(name).suffix) not in (".pb", WEIGHTS))
"""Of files that are whole models."""


@dataclass(frozen=True, slots=True)
class Servable:
    """What there is to export.

    model      the file, or the folder of a SavedModel
    kind       its format, of MODELS
    signature  None where only the file itself says it
    sha256     of each of its files, as the run recorded them; None where it recorded nothing
    data       the key of what it was trained on; empty where the run did not say
    """

    model: Path
    kind: str
    signature: Signature | None
    sha256: Mapping[str, str] | None = None
    data: str = ""


def leave(
    folder: Path,
    model: str | Path | Callable[[Path], object],
    inputs: Mapping[str, Tensor] | None,
    outputs: Mapping[str, Tensor] | None,
    code: str = "",
) -> Path:
    """Put a servable into `servable/` of a folder, whole or not at all.

    model  what is copied, or what writes it into a folder. Raises UsageError when that is no model
           of a known kind, OSError, and whatever writing it does.
    code   of weights alone: `net.py:Net`, a file and what builds the module in it
    """
    place, part = folder / FOLDER, folder / f".{FOLDER}.{os.getpid()}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        if code:
            _copy_code(model, code, part)
        elif callable(model):
            model(part)
        else:
            _copy(Path(model).expanduser(), part)
        _kind(part)
        if inputs and outputs:
            write_signature(part, dict(inputs), dict(outputs))
        shutil.rmtree(place, ignore_errors=True)
        part.rename(place)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return place


def find(run: Path, named: str = "") -> Servable:
    """The servable of a run, by the folder of the run.

    named  a file of a model, or a SavedModel's folder, that the run wrote: taken instead

    Raises NotFoundError when there is none, and TraindeckError when it has changed since the run.
    """
    if named:
        return _named(run, Path(named).expanduser())
    said = artifacts(run, FOLDER)
    if not said:
        raise NotFoundError(
            f"run {run.name} has left no servable: it was ended early, an older traindeck made it,"
            " or its recipe does not call run.servable(…); --file names a model that it wrote"
        )
    event = said[-1]
    place = Path(event["path"])
    recorded = event.get("sha256")
    if recorded != sums(place):
        raise TraindeckError(
            f"{place} is not what run {run.name} recorded: some of its files were changed since;"
            " nothing of it is loaded. Train anew, or name a model by --file"
        )
    signature = read_signature(place) if (place / SIGNATURE).exists() else None
    kind = _kind(place)
    model = place if kind == "saved_model" else place / _file(kind)
    return Servable(model, kind, signature, recorded, str(event.get("data", "")))


def _named(run: Path, path: Path) -> Servable:
    """A model that is named by its path, which may be below the run's artifacts."""
    if path.suffix == WEIGHTS:
        raise UsageError(
            f"--file {path}: weights are no model without code, and code is run only as a run"
            " recorded it: the script says run.servable(weights, code='net.py:Net')"
        )
    for place in (path, run / "artifacts" / path):
        if (place / "saved_model.pb").is_file():
            return Servable(place, "saved_model", None)
        if place.is_file() and place.suffix in SUFFIXES:
            return Servable(place, MODELS[f"model{place.suffix}"], None)
    raise NotFoundError(
        f"--file {path}: no SavedModel and no file {', '.join(SUFFIXES)}, here or among the"
        f" artifacts of run {run.name}"
    )


def _copy(model: Path, part: Path) -> None:
    if (model / "saved_model.pb").is_file():
        shutil.copytree(model, part, dirs_exist_ok=True)
    elif model.is_file() and model.suffix in SUFFIXES:
        shutil.copyfile(model, part / f"model{model.suffix}")
    elif model.suffix == WEIGHTS:
        raise UsageError(f"{model} is weights alone: code='net.py:Net' says what builds the module")
    else:
        raise UsageError(f"{model} is no SavedModel and no file {', '.join(SUFFIXES)}")


def _copy_code(weights: object, code: str, part: Path) -> None:
    file, _, builder = code.rpartition(":")
    if not isinstance(weights, str | Path) or Path(weights).suffix != WEIGHTS:
        raise UsageError(f"code= is for a file {WEIGHTS}, not for {weights}")
    if not file or not builder.isidentifier():
        raise UsageError(f"code={code!r}: a file and what builds the module, as 'net.py:Net'")
    source = Path(file).expanduser().read_bytes()
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"{file} is no Python: {error}") from None
    kinds = (ast.FunctionDef, ast.ClassDef)
    if builder not in [one.name for one in body if isinstance(one, kinds)]:
        raise UsageError(f"{file} has no function and no class {builder}")
    shutil.copyfile(Path(weights).expanduser(), part / f"model{WEIGHTS}")
    (part / CODE).write_bytes(source)
    (part / BUILDER).write_text(builder, encoding="utf-8")


def _file(kind: str) -> str:
    return next(name for name, each in MODELS.items() if each == kind)


def _kind(place: Path) -> str:
    """The format of what lies in a folder. Raises UsageError where there is not just one."""
    kinds = [kind for name, kind in MODELS.items() if (place / name).is_file()]
    if len(kinds) != 1:
        raise UsageError(f"{place} holds {len(kinds)} of {', '.join(MODELS)}, not one")
    return kinds[0]
