"""MNIST: 60,000 training and 10,000 test images of handwritten digits, 28×28 grey pixels.

Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-based learning applied to document
recognition, Proceedings of the IEEE 86(11), 1998.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from traindeck.core.base.home import Home
from traindeck.recipes.shared.training.data import idx
from traindeck.recipes.shared.training.data.fetch import TIMEOUT_SECONDS, fetch
from traindeck.recipes.shared.training.data.idx import DataError, Images
from traindeck.recipes.shared.training.data.served import images

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DATA = "TRAINDECK_DATA"
CLASSES = 10
BRIGHTEST = 255
SIZE = (28, 28)
SERVED = images(*SIZE, BRIGHTEST)
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


WRITERS = "qmnist-train-labels-idx2-int"
"""QMNIST's file of who wrote which training image (C. Yadav, L. Bottou: Cold case: the lost MNIST
digits, NeurIPS 2019): 8 integers an image, the third of them the writer."""
STAND_INS = 3000


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
    cache = _cache()
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


def _cache() -> Path:
    return Home.default().cache / "mnist"


def writers(
    images: int, data_dir: str | None = None, *, made_up: bool = False
) -> NDArray[np.int32]:
    """Who wrote each of so many training images, (images,), by QMNIST's file beside MNIST's.

    made_up  where that file is not there, for MNIST itself does not say: deal the images to
             STAND_INS users in turn, who are nobody; that is printed

    Raises DataError where nobody says, and for a file that is none or is another's.
    """
    import numpy as np

    root = os.environ.get(DATA)
    places = [data_dir] if data_dir else [*([f"{root}/mnist"] if root else ()), _cache()]
    for place in map(Path, places):
        for path in (place.expanduser() / WRITERS, place.expanduser() / f"{WRITERS}.gz"):
            if path.is_file():
                columns = idx.read(path, 2, "integers of 4 bytes")
                if len(columns) != images or columns.shape[1] < 3 or columns[:, 2].min() < 0:
                    raise DataError(f"{path}: does not say who wrote each of the {images} images")
                return np.asarray(columns[:, 2], np.int32)
    if not made_up:
        raise DataError(
            f"nobody says who wrote the images: QMNIST's {WRITERS}.gz, beside them, would. To see"
            f" how it works, --made-up-users deals them to {STAND_INS:,} users who are nobody"
        )
    print(f"the images are dealt to {STAND_INS:,} made-up users: nobody is protected", flush=True)
    return np.arange(images, dtype=np.int32) % STAND_INS
