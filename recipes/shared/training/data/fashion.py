"""Fashion-MNIST: 60,000 training and 10,000 test images of clothes, 28×28 grey pixels.

H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST: a novel image dataset for benchmarking machine
learning algorithms, arXiv 1708.07747, 2017. MIT licence.
"""

from __future__ import annotations

import os
from pathlib import Path

from traindeck.core.base.home import Home
from traindeck.recipes.shared.training.data import idx
from traindeck.recipes.shared.training.data.idx import DataError, Images
from traindeck.recipes.shared.training.data.mnist import BRIGHTEST, CLASSES, DATA, SIZE
from traindeck.recipes.shared.training.data.served import images

NAME = "fashion-mnist"
DEBIAN = Path("/usr/share/datasets") / NAME  # of its package dataset-fashion-mnist
SERVED = images(
    *SIZE,
    BRIGHTEST,
    (
        *("T-shirt or top", "trouser", "pullover", "dress", "coat"),
        *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
    ),
)


def load(data_dir: str | None = None) -> Images:
    """Find it and read it.

    Looked for in `data_dir` alone if given, else in `$TRAINDECK_DATA/fashion-mnist`, in the user's
    cache and where Debian's package puts it. Raises DataError saying what to do.
    """
    if data_dir is not None:
        folder = Path(data_dir).expanduser()
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; --data-dir names a folder of IDX files")
        return idx.load(folder, CLASSES, SIZE)
    root = os.environ.get(DATA)
    places = [Path(root).expanduser() / NAME] if root else []
    places += [Home.default().cache / NAME, DEBIAN]
    for folder in places:
        if idx.find(folder):
            return idx.load(folder, CLASSES, SIZE)
    raise DataError(
        f"Fashion-MNIST was not found: looked in {', '.join(map(str, places))}. Install Debian's"
        f" dataset-fashion-mnist, put its four IDX files into {places[0]}, pass the folder that has"
        " them with --data-dir, or take --dataset mnist"
    )
