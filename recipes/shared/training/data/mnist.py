"""MNIST: 60,000 training and 10,000 test images of handwritten digits, 28×28 grey pixels.

Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-based learning applied to document
recognition, Proceedings of the IEEE 86(11), 1998.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from traindeck.core.base.home import Home
from traindeck.recipes.shared.training.data import idx
from traindeck.recipes.shared.training.data.fetch import TIMEOUT_SECONDS, fetch
from traindeck.recipes.shared.training.data.idx import DataError, Images

DATA = "TRAINDECK_DATA"
CLASSES = 10
BRIGHTEST = 255
SIZE = (28, 28)
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist",
    "https://storage.googleapis.com/cvdf-datasets/mnist",
)
SHA256 = {  # of the files' content, unpacked
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


def load(
    data_dir: str | None = None,
    mirrors: Sequence[str] = MIRRORS,
    timeout: float = TIMEOUT_SECONDS,
) -> Images:
    """Find MNIST and read it; any set of ten classes and 28×28 pixels in its files will do.

    Looked for in `data_dir` alone if given, else in `$TRAINDECK_DATA/mnist`, else in the user's
    cache, where what is missing is downloaded to. Raises DataError saying what to do.
    """
    if data_dir is not None:
        folder = Path(data_dir).expanduser()
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; --data-dir names a folder of IDX files")
        return idx.load(folder, CLASSES, SIZE)
    root = os.environ.get(DATA)
    if root and idx.find(folder := Path(root).expanduser() / "mnist"):
        return idx.load(folder, CLASSES, SIZE)
    cache = Home.default().cache / "mnist"
    present = idx.find(cache)
    try:
        for name, sha256 in SHA256.items():
            if name not in present:
                fetch(f"{name}.gz", sha256, mirrors, cache, timeout)
    except DataError as error:
        tried = f"{Path(root).expanduser() / 'mnist'} (${DATA})" if root else f"${DATA} (not set)"
        raise DataError(
            f"MNIST was not found: looked in --data-dir (not given), {tried}, {cache} and could"
            f" not download it ({error}). Put its four IDX files into {cache}, or pass the folder"
            " that has them with --data-dir"
        ) from None
    try:
        return idx.load(cache, CLASSES, SIZE)
    except DataError as error:
        raise DataError(f"{error}. Delete it to have it downloaded again") from None
