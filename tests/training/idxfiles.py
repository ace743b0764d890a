"""Small real IDX files to test with."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def packed(array: NDArray[np.uint8]) -> bytes:
    """The bytes of an IDX file that holds the array."""
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.tobytes()


def drawings(count: int, seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images (count, 28, 28) of ten kinds, each a bright square at its own place, and labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, count, dtype=np.uint8)
    images = rng.integers(0, 60, (count, 28, 28), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = 2 + 13 * (label // 5), 1 + 5 * (label % 5)
        image[row : row + 10, column : column + 5] += 180
    return images, labels


def contents(train: int = 40, test: int = 20) -> dict[str, bytes]:
    """What the four files of a small data set hold, by name."""
    train_x, train_y = drawings(train, 1)
    test_x, test_y = drawings(test, 2)
    arrays = (train_x, train_y, test_x, test_y)
    return {name: packed(array) for name, array in zip(NAMES, arrays, strict=True)}


def write(folder: Path, files: dict[str, bytes] | None = None, zipped: bool = False) -> Path:
    """Write a data set's files into a new folder."""
    folder.mkdir(parents=True)
    for name, data in (files or contents()).items():
        target = folder / (f"{name}.gz" if zipped else name)
        target.write_bytes(gzip.compress(data) if zipped else data)
    return folder
