"""What the models of a data set take and give once they are served: raw measures, probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from traindeck.core.models.bundle import Tensor

OUTPUT = "probabilities"


@dataclass(frozen=True, slots=True)
class Served:
    """The one input of a classifier, and its classes.

    name      of the input: `image`, `measures`
    tensor    what it is like
    classes   in the order of the model's outputs
    """

    name: str
    tensor: Tensor
    classes: Sequence[str]

    @property
    def inputs(self) -> dict[str, Tensor]:
        return {self.name: self.tensor}

    @property
    def outputs(self) -> dict[str, Tensor]:
        what, labels = "how likely each class is", list(self.classes)
        return {
            OUTPUT: Tensor(
                dtype="float32", shape=[len(labels)], what=what, unit="0 to 1", labels=labels
            )
        }


def images(
    rows: int, columns: int, brightest: int, classes: Sequence[str] = tuple("0123456789")
) -> Served:
    """Grey pictures, by default of the ten digits, bytes (n, rows, columns)."""
    tensor = Tensor(
        dtype="uint8", shape=[rows, columns], what="grey levels", unit=f"0 to {brightest}"
    )
    return Served("image", tensor, classes)
