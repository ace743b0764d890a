"""The breast cancer patients that come with scikit-learn: 569, each with 30 measures of a biopsy.

427 of them train a model and 142 test it. That 569 are all there are is public, and so it is what
batches are drawn by: of a batch size of 128 each patient's chance in a step is 128 in 569.

W. N. Street, W. H. Wolberg, O. L. Mangasarian: Nuclear feature extraction for breast tumor
diagnosis, SPIE 1905, 1993 (https://doi.org/10.24432/C5DW2B).
"""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from traindeck.core.models.bundle import Tensor
from traindeck.recipes.shared.training.data.idx import DataError
from traindeck.recipes.shared.training.data.served import Served

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TEST_SHARE = 4  # one patient in four is kept for testing
RANGES = (  # of each measure's mean, its standard error and its worst over the nuclei of a biopsy
    ("radius", (6, 30), (0, 3), (7, 40)),
    ("texture", (8, 40), (0, 5), (10, 50)),
    ("perimeter", (40, 200), (0, 22), (50, 260)),
    ("area", (100, 2500), (0, 500), (150, 4500)),
    ("smoothness", (0.05, 0.17), (0, 0.03), (0.07, 0.23)),
    ("compactness", (0, 0.35), (0, 0.14), (0, 1.1)),
    ("concavity", (0, 0.45), (0, 0.4), (0, 1.3)),
    ("concave points", (0, 0.2), (0, 0.055), (0, 0.3)),
    ("symmetry", (0.1, 0.3), (0, 0.08), (0.15, 0.67)),
    ("fractal dimension", (0.05, 0.1), (0, 0.03), (0.05, 0.21)),
)
SERVED = Served(
    "measures",
    Tensor(
        dtype="float32",
        shape=[30],
        what="measures of the nuclei of a biopsy",
        unit="as in the data set: radius in pixels, area in square pixels, and so on",
        labels=[
            how.format(measure)
            for how in ("mean {}", "{} error", "worst {}")
            for measure, *_ in RANGES
        ],
    ),
    ("benign", "malignant"),
)


@dataclass(frozen=True, slots=True)
class Patients:
    """x is (n, 30) float32 from -1 to 1, y is (n,) uint8: 1 where the tumour is malignant."""

    train_x: NDArray[np.float32]
    train_y: NDArray[np.uint8]
    test_x: NDArray[np.float32]
    test_y: NDArray[np.uint8]


def load() -> Patients:
    """Read the patients, scaled by RANGES; values outside are taken to the nearest end.

    The ranges are those published with the data, rounded: they stand for what is known of such
    measures from elsewhere. Means and variances of the patients themselves would be a release of
    private data that no epsilon covers. The test patients are always the same ones, whatever the
    run's seed. Raises DataError when scikit-learn is missing.
    """
    import numpy as np

    values, y = measured()
    low, high = ends()
    scaled = np.clip(2 * (values - low) / (high - low) - 1, -1, 1)
    x = scaled.astype(np.float32)
    test = len(x) // TEST_SHARE
    return Patients(x[test:], y[test:], x[:test], y[:test])


def ends() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The lowest and highest value of each measure (30,), from RANGES."""
    import numpy as np

    low, high = np.array([row[1:] for row in RANGES], np.float64).transpose(2, 1, 0).reshape(2, 30)
    return low, high


def measured() -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """All patients, those that test first: measures (569, 30) as they are, and labels (569,).

    Raises DataError when scikit-learn is missing.
    """
    import numpy as np

    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise DataError(
            "scikit-learn, which brings the patients, is not installed: pip install scikit-learn"
        )
    # Read past sklearn.datasets.load_breast_cancer, whose import takes longer than the training.
    path = Path(spec.origin).parent / "datasets" / "data" / "breast_cancer.csv"
    try:
        table = np.loadtxt(path, delimiter=",", skiprows=1)
        values, y = table[:, :30], 1 - table[:, 30].astype(np.uint8)
    except (OSError, ValueError, IndexError) as error:
        raise DataError(f"{path}: the patients of scikit-learn cannot be read: {error}") from None
    order = np.random.default_rng(0).permutation(len(table))
    return values[order], y[order]


def interval(right: int, total: int) -> tuple[float, float]:
    """Where a share of `right` out of `total` truly lies, with 95 % confidence.

    Wilson's interval (E. B. Wilson, JASA 22, 1927). It is about which patients happened to be
    tested; how far the noise of another run would lead is beside it.
    """
    z = 1.959964
    share, scale = right / total, 1 + z * z / total
    middle = share + z * z / (2 * total)
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    return (middle - half) / scale, (middle + half) / scale
