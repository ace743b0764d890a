"""Read and check a folder of IDX files, the format MNIST is published in.

The format (http://yann.lecun.com/exdb/mnist): two zero bytes, a type byte (8: unsigned bytes, 12:
big-endian signed integers of 4 bytes), the number of dimensions, each dimension as a big-endian u4,
then the values, last dimension fastest.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]

IMAGES, LABELS = 3, 1  # what an IDX file holds shows in its number of dimensions
FILES = {
    "train-images-idx3-ubyte": IMAGES,
    "train-labels-idx1-ubyte": LABELS,
    "t10k-images-idx3-ubyte": IMAGES,
    "t10k-labels-idx1-ubyte": LABELS,
}
_HOLDS = {IMAGES: "images (3 dimensions)", LABELS: "labels (1 dimension)"}
_TYPES = {"unsigned bytes": (0x08, "u1"), "integers of 4 bytes": (0x0C, ">i4")}
_CHUNK = 1 << 20


class DataError(Exception):
    """Data that is missing or cannot be trusted; the message says where, why and what to do."""


@dataclass(frozen=True, slots=True)
class Images:
    """Labelled grey images: x is (n, rows, columns), y is (n,), both uint8."""

    train_x: Bytes
    train_y: Bytes
    test_x: Bytes
    test_y: Bytes


def find(folder: Path) -> dict[str, Path]:
    """Which of the four files a folder holds: gzipped or not, with `-idx` or `.idx` in the name."""
    present = {}
    for name in FILES:
        dotted = name.replace("-idx", ".idx")
        for spelling in (name, dotted, f"{name}.gz", f"{dotted}.gz"):
            if (folder / spelling).is_file():
                present[name] = folder / spelling
                break
    return present


def load(folder: Path, classes: int, size: tuple[int, int] | None = None) -> Images:
    """Read the training and test set of a folder.

    Raises DataError when a file is missing or unreadable, a label is not below `classes`, images
    and labels do not pair up, or the images are not of `size` (rows, columns) if it is given.
    """
    files = find(folder)
    missing = [name for name in FILES if name not in files]
    if missing:
        raise DataError(f"{folder}: no {' and no '.join(missing)}, nor any of it as .gz")
    arrays = {name: read(files[name], dimensions) for name, dimensions in FILES.items()}
    train_x, train_y, test_x, test_y = arrays.values()
    expected = size or (train_x.shape[1], train_x.shape[2])
    for name, x in (("train-images-idx3-ubyte", train_x), ("t10k-images-idx3-ubyte", test_x)):
        if x.shape[1:] != expected:
            wanted, got = (f"{rows}×{columns}" for rows, columns in (expected, x.shape[1:]))
            raise DataError(f"{files[name]}: images of {got} pixels where {wanted} is needed")
    for name, x, y in (
        ("train-labels-idx1-ubyte", train_x, train_y),
        ("t10k-labels-idx1-ubyte", test_x, test_y),
    ):
        if len(x) != len(y):
            raise DataError(f"{files[name]}: {len(y)} labels for {len(x)} images")
        if y.max() >= classes:
            at = int((y >= classes).argmax())
            raise DataError(f"{files[name]}: label {at} is {y[at]}, outside 0 to {classes - 1}")
    return Images(train_x, train_y, test_x, test_y)


def read(path: Path, dimensions: int, of: str = "unsigned bytes") -> Any:
    """Read one IDX file of unsigned bytes, or `integers of 4 bytes`, with so many dimensions.

    Whether it is gzipped is seen from its content. Raises DataError on anything but a whole and
    well-formed file: wrong type or dimensions, too short, too long, failed gzip checksum.
    """
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            # GzipFile reads like a binary file but does not derive from one.
            file = cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if packed else raw
            return _parse(path, file, dimensions, of)
    except EOFError:
        raise DataError(f"{path}: the gzip data ends early; the file is truncated") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: the gzip data is damaged: {error}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None


def _parse(path: Path, file: IO[bytes], dimensions: int, of: str) -> NDArray[Any]:
    import numpy as np

    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise DataError(f"{path}: not an IDX file: it begins with {magic.hex(' ') or 'nothing'}")
    code, kind = _TYPES[of]
    if magic[2] != code:
        raise DataError(f"{path}: holds values of type 0x{magic[2]:02x}, not {of} (0x{code:02x})")
    if magic[3] != dimensions:
        holds, needed = (_HOLDS.get(n, f"{n} dimensions") for n in (magic[3], dimensions))
        raise DataError(f"{path}: holds {holds} where {needed} are needed")
    header = file.read(4 * dimensions)
    if len(header) < 4 * dimensions:
        raise DataError(f"{path}: ends within its header; the file is truncated")
    shape: tuple[int, ...] = struct.unpack(f">{dimensions}I", header)
    size = math.prod(shape) * np.dtype(kind).itemsize
    measures = "×".join(map(str, shape))
    if size == 0:
        raise DataError(f"{path}: is empty: its header says {measures}")
    values = _read_up_to(file, size + 1)  # the byte beyond shows a longer file, or checks the gzip
    if len(values) != size:
        fault = "is longer" if len(values) > size else f"holds {len(values)}; it is truncated"
        raise DataError(f"{path}: its header says {measures} = {size} bytes, but the file {fault}")
    array: NDArray[Any] = np.frombuffer(values, kind)
    return array.reshape(shape)


def _read_up_to(file: IO[bytes], limit: int) -> bytearray:
    """By chunks, so that a damaged header asking for terabytes costs only what is really there."""
    values = bytearray()
    while len(values) < limit:
        chunk = file.read(min(_CHUNK, limit - len(values)))
        if not chunk:
            break
        values += chunk
    return values
