"""Files as the inputs of a model: pictures, CSV, JSON, .npy and .npz."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traindeck.core.base.errors import MissingError, NotFoundError, UsageError
from traindeck.core.base.files import read_bounded
from traindeck.core.base.strict import loads
from traindeck.core.models.client import DTYPES, Input

if TYPE_CHECKING:
    import numpy as np

MAX_BYTES = 1 << 30
WHITE = 255
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*")


def read(path: str, stdin: Any) -> bytes:
    """The bytes of a file, or of standard input for `-`. Raises NotFoundError, UsageError."""
    if path == "-":
        data: bytes = stdin.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise UsageError(f"standard input is longer than {MAX_BYTES:,} bytes")
        return data
    try:
        return read_bounded(Path(path).expanduser(), MAX_BYTES, follow=True)
    except OSError as error:
        raise NotFoundError(f"{path}: {error.strerror or error}") from None


def arrays(
    data: bytes,
    where: str,
    inputs: Sequence[Input],
    labels: Mapping[str, Sequence[str]],
    units: Mapping[str, str] | None = None,
) -> tuple[dict[str, np.ndarray[Any, Any]], list[str]]:
    """The inputs that the data holds, by name, and what was changed on the way, in words.

    where   what the data is called in errors
    labels  of the places of an input's last axis, such as the columns of a table
    units   of inputs: pictures, which are 0 to 255, are made 0 to 16 where that is the model's

    Raises UsageError for what is no such input; MissingError where Pillow is not installed.
    """
    import numpy as np

    said: list[str] = []
    found: dict[str, Any]
    if data.startswith(b"\x93NUMPY"):
        found = {_only(inputs, where): _numpy(data, where)}
    elif data.startswith(b"PK\x03\x04"):
        with _numpy(data, where) as stored:
            found = {name: stored[name] for name in stored.files}
    elif data.startswith(_PICTURES):
        name = _only(inputs, where)
        found = {name: _picture(data, where, inputs[0].shape, said)}
        top = _top((units or {}).get(name, ""))
        if top not in (0, WHITE):
            scaled = found[name] * (top / WHITE)
            found = {name: np.rint(scaled) if "INT" in inputs[0].datatype else scaled}
            said.append(f"{where} was 0 to {WHITE}, made 0 to {top}: the model's unit")
    elif data.lstrip()[:1] in (b"{", b"["):
        found = _json(data, where, inputs)
    else:
        found = {_only(inputs, where): _table(data, where, labels.get(inputs[0].name, ()))}
    known = {one.name: one for one in inputs}
    if found.keys() != known.keys():
        raise UsageError(f"{where} has {', '.join(found)}; the model takes {', '.join(known)}")
    try:
        made = {
            name: _fitting(np.asarray(found[name]), one, where, said) for name, one in known.items()
        }
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from None
    return made, said


def _times(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape))


def _top(unit: str) -> int:
    """The highest value of a unit such as `0 to 16`; 0 where it says none."""
    match = re.fullmatch(r"0 to (\d{1,5})", unit)
    return int(match[1]) if match else 0


def _only(inputs: Sequence[Input], where: str) -> str:
    if len(inputs) != 1:
        names = ", ".join(one.name for one in inputs)
        raise UsageError(f"{where} is one array; the model takes {names}: give JSON or .npz")
    return inputs[0].name


def _numpy(data: bytes, where: str) -> Any:
    import numpy as np

    try:
        return np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # numpy's and zipfile's many
        raise UsageError(f"{where} cannot be read as numpy wrote it: {error}") from None


def _json(data: bytes, where: str, inputs: Sequence[Input]) -> dict[str, Any]:
    """A list; or an object of inputs, or of TensorFlow Serving's `instances` or `inputs`."""
    try:
        value = loads(data)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where} is no JSON: {error}") from None
    if isinstance(value, dict) and len(value) == 1 and ("instances" in value or "inputs" in value):
        [value] = value.values()
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        names = value[0].keys()
        if any(row.keys() != names for row in value):
            raise UsageError(f"{where}: its rows do not have the same names")
        return {name: [row[name] for row in value] for name in names}
    return value if isinstance(value, dict) else {_only(inputs, where): value}


def _table(data: bytes, where: str, columns: Sequence[str]) -> list[list[float]]:
    """Rows of numbers; a head line orders them by the names that the model's columns have."""
    try:
        rows = [row for row in csv.reader(io.StringIO(data.decode("utf-8-sig"))) if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{where} is no picture, JSON, .npy, and no CSV: {error}") from None
    if not rows:
        raise UsageError(f"{where} is empty")
    order: list[int] | None = None
    if not all(map(_is_number, rows[0])):
        head = [name.strip() for name in rows.pop(0)]
        if columns:
            lacking = [name for name in columns if name not in head]
            if lacking:
                raise UsageError(f"{where} has no column {', '.join(lacking[:5])}")
            order = [head.index(name) for name in columns]
    made = []
    for number, row in enumerate(rows, 1):
        try:
            made.append([float(row[at]) for at in order] if order else [float(x) for x in row])
        except (ValueError, IndexError):
            raise UsageError(f"{where}: row {number} is not numbers, or too short") from None
    return made


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _picture(data: bytes, where: str, shape: tuple[int, ...], said: list[str]) -> Any:
    """Pixels as the model takes them: grey or RGB, of its size."""
    import numpy as np

    try:
        from PIL import Image, UnidentifiedImageError
    except ModuleNotFoundError:
        raise MissingError("pictures are read with Pillow: pip install pillow") from None
    channels = shape[-1] if len(shape) == 4 and shape[-1] in (1, 3) else 0
    first = len(shape) == 4 and shape[1] in (1, 3) and not channels
    if len(shape) not in (3, 4) or (len(shape) == 4 and not channels and not first):
        raise UsageError(f"{where} is a picture, and the model takes {list(shape)}")
    colours = shape[1] if first else channels
    try:
        picture = Image.open(io.BytesIO(data)).convert("RGB" if colours == 3 else "L")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError) as error:
        raise UsageError(f"{where} is no picture that can be read: {error}") from None
    height, width = shape[2:4] if first else shape[1:3]
    if height > 0 and width > 0 and picture.size != (width, height):
        said.append(f"{where} was {picture.width}×{picture.height}, made {width}×{height}")
        picture = picture.resize((width, height))
    pixels = np.asarray(picture)
    if first:
        return pixels.transpose(2, 0, 1) if colours == 3 else pixels[None]
    return pixels[..., None] if channels == 1 else pixels


def _fitting(
    array: np.ndarray[Any, Any], one: Input, where: str, said: list[str]
) -> np.ndarray[Any, Any]:
    """The array with its batch, of the type and shape that the model takes. Raises UsageError."""
    import numpy as np

    if one.datatype not in DTYPES:
        raise UsageError(f"{where}: input {one.name} is {one.datatype}, which needs another client")
    dtype = np.dtype(DTYPES[one.datatype])
    own = one.shape[1:]
    flat = len(own) > 1 and min(own) > 0 and array.ndim in (1, 2) and array.shape != own
    if flat and array.shape[-1] == math.prod(own):
        said.append(f"{where}: rows of {array.shape[-1]} numbers were made {_times(own)}")
        array = array.reshape(-1, *own)
    if array.ndim == len(one.shape) - 1:
        array = array[None]
    fits = array.ndim == len(one.shape) and all(
        want in (-1, size) for want, size in zip(one.shape, array.shape, strict=True)
    )
    if not fits:
        raise UsageError(
            f"{where}: {one.name} has shape {list(array.shape)},"
            f" the model takes {list(one.shape)} (-1: any)"
            + (f", or rows of {math.prod(own)} numbers" if len(own) > 1 and min(own) > 0 else "")
        )
    if array.dtype.kind not in "biuf":
        raise UsageError(f"{where}: {one.name} is not numbers")
    with np.errstate(over="ignore", invalid="ignore"):
        made = array.astype(dtype)
    if dtype.kind in "iu" and not np.array_equal(made, array):
        limits = np.iinfo(dtype)
        raise UsageError(
            f"{where}: {one.name} takes whole numbers from {limits.min} to {limits.max}"
        )
    return made
