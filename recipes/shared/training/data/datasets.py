"""The data sets that recipes train on, by the names that budgets know them by.

    python -m traindeck.recipes.shared.training.data.datasets mnist

prints the fingerprint of a data set's training part: that is the data whose privacy is spent.
"""

from __future__ import annotations

import hashlib
import sys
from typing import TYPE_CHECKING

from traindeck.recipes.shared.training.data.idx import DataError, Images

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NAMES = ("cancer", "digits", "digits-owners", "fashion-mnist", "films", "mnist", "mnist-owners")
"""Those ending in -owners are of the same images, divided among owners whose privacy is meant."""


def fingerprint(*arrays: NDArray[np.generic]) -> str:
    """sha256, in hexadecimal, of what the arrays hold: their bytes in the order of their axes."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(array.tobytes())
    return digest.hexdigest()


def images(name: str, data_dir: str | None = None) -> tuple[Images, int]:
    """MNIST or Fashion-MNIST, which may be in `data_dir`, or the digits; how bright pixels can be.

    Raises DataError when it is not here.
    """
    from traindeck.recipes.shared.training.data import digits, fashion, mnist

    if name == fashion.NAME:
        return fashion.load(data_dir), mnist.BRIGHTEST
    if name == "mnist":
        return mnist.load(data_dir), mnist.BRIGHTEST
    return digits.load(), digits.BRIGHTEST


def of(name: str) -> str:
    """The fingerprint of a data set by its name. Raises DataError when it is not here."""
    kind = name.removesuffix("-owners")
    if name in NAMES and kind in ("mnist", "digits", "fashion-mnist"):
        loaded, _ = images(kind)
        return fingerprint(loaded.train_x, loaded.train_y)
    if name == "cancer":
        from traindeck.recipes.shared.training.data.cancer import load as cancer

        patients = cancer()
        return fingerprint(patients.train_x, patients.train_y)
    if name == "films":
        from traindeck.recipes.shared.training.data import films

        return films.fingerprint(films.load())
    raise DataError(f"no data set {name!r}; there are {', '.join(NAMES)}")


if __name__ == "__main__":
    if sys.argv[1] not in NAMES:
        sys.exit(1)
    try:
        print(of(sys.argv[1]))
    except DataError as error:
        sys.exit(str(error))
