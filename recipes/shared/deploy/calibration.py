"""Calibration is data: an int8 model's scales are extremes of single records, and so tell of them.

Four of 200 images each change the file when they are left out: what a private run was trained on is
never taken. Test records and files of public ones are, and the bundle says which. A model fits the
records that its scales are of: those are left out where its parity is measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traindeck.core.base.errors import UsageError
from traindeck.recipes.shared.deploy.records import Records
from traindeck.recipes.shared.training.data.datasets import fingerprint

MOST = 200


@dataclass(frozen=True, slots=True)
class Calibration:
    """Records whose extremes become scales, and where they are from.

    others  of the test records, whether each is none of them
    """

    inputs: Mapping[str, Any]
    source: str
    others: NDArray[np.bool_]

    @property
    def count(self) -> int:
        return len(next(iter(self.inputs.values())))

    def to_json(self) -> dict[str, Any]:
        return {
            "data": self.source,
            "records": self.count,
            "test_records_left_out": int((~self.others).sum()),
            "sha256": fingerprint(*self.inputs.values()),
            "why": "scales are extremes of single records: never of a private run's training data",
        }


def choose(given: Records, training: Records | None, private: bool, test: Records) -> Calibration:
    """At most 200 of the records that were given, evenly over them; half of the test records.

    Raises UsageError where they are among the training data of a private run, or where no test
    record is left to measure parity over.
    """
    if private and training is not None:
        trained = set(_keys(training, training))
        among = sum(key in trained for key in _keys(given, training))
        if among:
            raise UsageError(
                f"--calibrate: {among} of {len(given)} records of {given.source} are the training"
                " data of a private run. Scales are extremes of single records, and no epsilon"
                " covers that: calibrate with test data (the default) or a file of public records"
            )
    most = min(MOST, len(given) // 2 if given is test else len(given))
    rows = np.unique(np.linspace(0, len(given) - 1, most).astype(int))
    keys = _keys(given, test)
    taken = {keys[row] for row in rows}
    others = np.array([key not in taken for key in _keys(test, test)])
    if not len(rows) or not others.any():
        raise UsageError(
            f"--calibrate: no test record is left to measure int8 over, beside the {len(rows)} of"
            f" {given.source} that its scales would be of"
        )
    inputs = {name: array[rows] for name, array in given.inputs.items()}
    return Calibration(inputs, given.source, others)


def _keys(records: Records, like: Records) -> list[bytes]:
    """What tells records apart, of whatever name and type their arrays are."""
    arrays = [
        np.ascontiguousarray(records.inputs.get(name, array), of.dtype)
        for (name, of), array in zip(like.inputs.items(), records.inputs.values(), strict=False)
    ]
    return [b"".join(array[k].tobytes() for array in arrays) for k in range(len(records))]
