"""The digits that come with scikit-learn: 1,797 images of 8×8 grey pixels, no download needed.

E. Alpaydin, C. Kaynak: Optical recognition of handwritten digits, UCI repository, 1998
(https://doi.org/10.24432/C50P49), its test part.
"""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from traindeck.recipes.shared.training.data.idx import DataError, Images
from traindeck.recipes.shared.training.data.served import images

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]

TEST_SHARE = 5  # one image in five is kept for testing
BRIGHTEST = 16
SERVED = images(8, 8, BRIGHTEST)


def load() -> Images:
    """Read the digits; pixels run from 0 to 16. Raises DataError when scikit-learn is missing.

    The test images are always the same ones, whatever the run's seed.
    """
    import numpy as np

    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise DataError(
            "scikit-learn, which brings the digits, is not installed: pip install scikit-learn"
        )
    # Read past sklearn.datasets.load_digits, whose import alone takes longer than the training.
    path = Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz"
    try:
        with gzip.open(path, "rt") as file:
            table = np.loadtxt(file, delimiter=",", dtype=np.uint8)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path}: the digits of scikit-learn cannot be read: {error}") from None
    order = np.random.default_rng(0).permutation(len(table))
    x, y = table[order, :-1].reshape(-1, 8, 8), table[order, -1]
    test = len(x) // TEST_SHARE
    return Images(x[test:], y[test:], x[:test], y[:test])


def rows(x: Bytes, y: Bytes, low: int, high: int) -> tuple[NDArray[np.float32], Bytes]:
    """Of images and labels those of two digits: rows (n, 64) from 0 to 1, and 1 where it is `high`.

    x (n, 8, 8) and y (n,) as `load` has them.
    """
    import numpy as np

    chosen = np.isin(y, (low, high))
    scaled = x[chosen].reshape(-1, 64).astype(np.float32)
    scaled /= BRIGHTEST
    return scaled, np.asarray(y[chosen] == high, np.uint8)
