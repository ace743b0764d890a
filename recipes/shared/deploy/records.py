"""The records by which formats are compared: all that a data set keeps for testing, raw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from traindeck.core.base.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

LABELS = "labels"


@dataclass(frozen=True, slots=True)
class Records:
    """Records as clients send them.

    inputs  an array (n, …) for each input of the model
    labels  (n,), what is right; None where nobody says
    source  where they are from, in words
    """

    inputs: Mapping[str, NDArray[Any]]
    labels: NDArray[Any] | None
    source: str

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    def write(self, folder: Path) -> None:
        """An array file for each input, as `trial` reads them. Raises OSError."""
        for name, array in self.inputs.items():
            np.save(folder / f"{name}.npy", np.ascontiguousarray(array))


def of_dataset(name: str, data_dir: str | None) -> tuple[Records, Records] | None:
    """The training and the test records of a built-in data set; None for others.

    Raises DataError where it is not here.
    """
    from traindeck.recipes.shared.training.data import cancer, datasets

    kind = name.removesuffix("-owners")
    if kind == "cancer":
        x, y = cancer.measured()
        x, test = x.astype(np.float32), len(x) // cancer.TEST_SHARE
        given = cancer.SERVED.name
        return (
            Records({given: x[test:]}, y[test:], "cancer, training"),
            Records({given: x[:test]}, y[:test], "cancer, test"),
        )
    if kind not in ("mnist", "digits", "fashion-mnist"):
        return None
    images, _ = datasets.images(kind, data_dir)
    return (
        Records({"image": images.train_x}, images.train_y, f"{kind}, training"),
        Records({"image": images.test_x}, images.test_y, f"{kind}, test"),
    )


def of_file(path: Path) -> Records:
    """Those of an .npz: an array for each input, and `labels` if they are known.

    Raises UsageError for what is none.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, AttributeError) as error:
        raise UsageError(f"{path}: no .npz of records: {error}") from None
    labels = arrays.pop(LABELS, None)
    lengths = {len(array) for array in (*arrays.values(), *([] if labels is None else [labels]))}
    if not arrays or len(lengths) != 1 or 0 in lengths:
        raise UsageError(
            f"{path}: needs an array for each input of the model, all of one length, and may have"
            f" {LABELS!r}; it has {', '.join(arrays) or 'none'}"
        )
    return Records(arrays, labels, path.name)
