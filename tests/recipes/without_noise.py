"""Runs a private recipe on its data without the first records, with a stub in place of its noise.

    python -m tests.recipes.without_noise RECIPE LEFT_OUT [FLAG…]

The stub draws a record's place in a batch by how far it is from the end, so that a record that is
left out moves no other; it returns zeros for noise and prints at the end how many were asked for.
"""

from __future__ import annotations

import runpy
import sys
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from traindeck.recipes.shared.training.data import cancer, mnist
from traindeck.recipes.shared.training.dp import randomness

MOST = 10_000


class Stub(randomness.Randomness):
    """Says that it is private, as the system's is."""

    asked = 0

    def __init__(self, noise_seed: int = -1, stream: int = 0) -> None:
        super().__init__(noise_seed, stream)
        self._drawn = np.random.default_rng(stream)

    def normal(self, shape: int | tuple[int, ...], scale: float) -> NDArray[np.float32]:
        assert scale > 0
        zeros = np.zeros(shape, np.float32)
        Stub.asked += zeros.size
        return zeros

    def poisson_batch(self, records: int, rate: float) -> NDArray[np.intp]:
        return np.flatnonzero(self._drawn.random(MOST)[MOST - records :] < rate)


def main(recipe: str, left_out: int, *flags: str) -> None:
    for module in (cancer, mnist):
        load = module.load

        def without(*where: object, load=load):
            data = load(*where)
            return replace(data, train_x=data.train_x[left_out:], train_y=data.train_y[left_out:])

        module.load = without
    randomness.Randomness = Stub
    sys.argv = [recipe, *flags]
    runpy.run_path(recipe, run_name="__main__")
    print(f"asked for {Stub.asked} values of noise", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
