"""What the files of a servable and of a bundle say.

A servable is a model with its preprocessing inside: raw measures in, named outputs out. A bundle is
a numbered folder `models/NAME/<n>/` with a servable in one or more formats:

    signature.json   inputs and outputs by name (`Signature`)
    bundle.json      where it comes from, and how each format fared (`Bundle`)

The first axis of every tensor is the batch and stands in no shape.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict, cast

from traindeck.core.base.errors import UsageError
from traindeck.core.base.files import read_bounded, write_json
from traindeck.core.base.schema import Schema, moment
from traindeck.core.base.strict import loads

SIGNATURE = "signature.json"
BUNDLE = "bundle.json"
FLOAT = "float"
"""The second signature of a SavedModel whose first takes whole numbers: the same of floats."""
MAX_BYTES = 8 * 1024 * 1024
FLOATS = ("saved_model", "litert", "onnx", "pt2", "executorch")
"""The formats that `--to` may ask for."""
QUANTIZED = ("dynamic", "int8", "f16")
"""What `--quantize` makes of LiteRT besides."""


class Tensor(TypedDict):
    """One input or output: of `dtype` (numpy's word), of `shape` without the batch."""

    dtype: str
    shape: list[int | None]
    what: NotRequired[str]
    """What it holds, in words: `grey levels`."""
    unit: NotRequired[str]
    """In which unit or range: `0 to 255`."""
    labels: NotRequired[list[str]]
    """The name of each place of the last axis: classes, or measures."""


class Signature(TypedDict):
    format: int
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]


class Format(TypedDict):
    """One format of a bundle: its file or folder, and what was measured of it."""

    path: str
    parity: NotRequired[dict[str, Any]]
    """largest_error, agreement, accuracy, records; `forced` where it failed and was kept."""
    latency: NotRequired[dict[str, Any]]
    """Milliseconds by batch, one thread: {"1": {"p50": …}, "32": {"p50": …}}; peak_mb."""
    bytes: NotRequired[int]
    calibration: NotRequired[dict[str, Any]]
    """data, records, sha256 of what the scales were taken from; test_records_left_out: how many
    test records are among them, which parity is not measured over."""
    micro: NotRequired[dict[str, Any]]
    """What a microcontroller needs: arena_bytes, operators."""


class Bundle(TypedDict):
    format: int
    name: str
    version: int
    created: Annotated[float, moment]
    """Unix seconds."""
    exported_by: NotRequired[str]
    """The run that made it, which recorded the SHA-256 of its files."""
    formats: dict[str, Format]
    """By name: saved_model, pt2, onnx, litert, litert-dynamic, litert-f16, litert-int8,
    litert-micro, executorch."""
    files: dict[str, str]
    """SHA-256, in hexadecimal, of each file by its path in the bundle."""
    run: NotRequired[dict[str, Any]]
    """id, recipe, framework, git, data (keyed), accuracy of the run that trained it."""
    privacy: NotRequired[dict[str, Any]]
    """Whether it is covered, in words, and epsilon, delta, unit, relation, accountant if it is."""
    signature: NotRequired[Signature]
    records: NotRequired[str]
    """What parity was measured over, in words."""
    refused: NotRequired[dict[str, str]]
    """Formats that were asked for and are not here, and why."""


_TENSOR = Schema(Tensor)
_SIGNATURE = Schema(Signature)
_FORMAT = Schema(Format)
_BUNDLE = Schema(Bundle)


def read_signature(folder: Path) -> Signature:
    """The signature of a servable or bundle. Raises UsageError when there is no sound one."""
    value = _read(folder / SIGNATURE)
    if not _SIGNATURE.fits(value) or not all(
        value[side] and all(map(_TENSOR.fits, value[side].values()))
        for side in ("inputs", "outputs")
    ):
        raise UsageError(f"{folder / SIGNATURE}: not a signature of a model")
    return cast(Signature, value)


def read_bundle(folder: Path) -> Bundle:
    """What a bundle says of itself. Raises UsageError when it says nothing sound."""
    value = _read(folder / BUNDLE)
    if not _BUNDLE.fits(value) or not all(map(_FORMAT.fits, value["formats"].values())):
        raise UsageError(f"{folder / BUNDLE}: not the description of a bundle")
    return cast(Bundle, value)


def write_signature(folder: Path, inputs: dict[str, Tensor], outputs: dict[str, Tensor]) -> None:
    """Write a signature beside a servable. Raises OSError."""
    write_json(folder / SIGNATURE, Signature(format=1, inputs=inputs, outputs=outputs))


def _read(path: Path) -> Any:
    try:
        return loads(read_bounded(path, MAX_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path}: {error}") from None
