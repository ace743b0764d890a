"""Banded noise: each step's takes back part of the last ones', and adds up to less in the weights.

    randomness = banded.randomness(run.plan, noise_seed, training.step, momentum=0.9)

What training sums up is a matrix A times the gradients: prefix sums, and with momentum those of a
decaying average. With any strategy matrix C the noise C⁻¹z on the gradients releases no more than z
on C times the gradients (C. Choquette-Choo et al.: (Amplified) banded matrix factorization: a
unified approach to private training, NeurIPS 2023, arXiv 2306.08153; S. Denisov et al.: Improved
differential privacy for SGD via optimal private linear operators on adaptive streams, NeurIPS
2022). C here is the square root of A cut off after `bands` diagonals, its columns scaled to norm 1
(N. Kalinin, C. Lampert: Banded square root matrix factorization for differentially private model
training, NeurIPS 2024). A record is drawn in every `bands`-th step at most, so that no two rows of
C times the gradients hold it twice: `core.privacy.mechanism.Mechanism` says what that costs.

The last noises undo the privacy of the steps that they were in. They are in memory only: no
checkpoint has them, and a resumed run draws new ones and divides the records anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from traindeck.recipes.shared.training.dp.randomness import Randomness

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from traindeck.core.privacy.plan import Plan


def randomness(plan: Plan, noise_seed: int, step: int, momentum: float = 0.0) -> Randomness:
    """What the batches and the noise of a plan's steps from this one on are drawn from.

    noise_seed  as of `Randomness`
    momentum    the optimiser's, which banded noise is fitted to; epsilon holds whatever it is
    """
    mechanism = plan.mechanism
    if mechanism.bands == 1:
        return Randomness(noise_seed, stream=step)
    return Banded(mechanism.bands, mechanism.steps - step, momentum, noise_seed, step)


def coefficients(bands: int, momentum: float = 0.0) -> NDArray[np.float64]:
    """The first column of C, (bands,), of norm 1: of the square root 1, 1/2, 3/8, 5/16 … of prefix
    sums, times that of the momentum's geometric series (Kalinin & Lampert 2024).
    """
    import numpy as np

    k = np.arange(1, bands)
    root = np.cumprod(np.concatenate(([1.0], (2 * k - 1) / (2 * k))))
    column = np.convolve(root, root * momentum ** np.arange(bands))[:bands]
    column /= np.linalg.norm(column)
    return column


class Banded(Randomness):
    """Cyclic Poisson batches and noise in so many bands: one block of `steps` steps.

    With b bands each record is in one of b parts, by a coin of its own; the batch of step i is
    drawn from part i mod b, with probability b·rate. Between two steps `advance` must be called;
    each must draw as many values as the last.
    """

    def __init__(
        self, bands: int, steps: int, momentum: float = 0.0, noise_seed: int = -1, stream: int = 0
    ) -> None:
        super().__init__(noise_seed, stream)
        self._coefficients = coefficients(bands, momentum)
        self._steps = steps
        self.restart()

    @property
    def name(self) -> str:
        return f"{super().name}, in {len(self._coefficients)} bands"

    @property
    def first(self) -> float:
        return self._norm(0) / float(self._coefficients[0])

    def restart(self) -> None:
        """Begin a block: the records are divided anew, and no noise is taken back."""
        self._step = 0
        self._parts: NDArray[np.intp] | None = None
        self._before: list[NDArray[np.float32]] = []  # the newest first
        self._now: list[NDArray[np.float32]] = []
        self._begun = False

    def advance(self) -> None:
        import numpy as np

        if self._begun:
            self._step += 1
            values = np.concatenate(self._now) if self._now else np.zeros(0, np.float32)
            self._before = [values, *self._before][: len(self._coefficients) - 1]
            self._now = []
        self._begun = True

    def normal(self, shape: int | tuple[int, ...], scale: float) -> NDArray[np.float32]:
        """The next values of this step's noise: `scale` is the standard deviation of z."""
        import numpy as np

        size = int(np.prod(shape))
        at = sum(len(part) for part in self._now)
        noise = super().normal(size, 1.0)
        for weight, before in zip(self._coefficients[1:], self._before, strict=False):
            if len(before) < at + size:
                raise ValueError(
                    f"a step draws {at + size} values of banded noise, one before it drew"
                    f" {len(before)}: each must draw as many"
                )
            noise -= np.float32(weight) * before[at : at + size]
        noise /= np.float32(self._coefficients[0])
        self._now.append(noise)
        return (noise * np.float32(scale * self._norm(self._step))).reshape(shape)

    def poisson_batch(self, records: int, rate: float) -> NDArray[np.intp]:
        """Which of so many records are in this step's batch: those of the part whose turn it is,
        each by itself with probability bands·rate. Of all records it is one in 1/rate on average.
        """
        import numpy as np

        bands = len(self._coefficients)
        if self._parts is None:
            self._parts = self.below(bands, records)
        if len(self._parts) != records:
            raise ValueError(f"{records} records: {len(self._parts)} were divided into parts")
        part = np.flatnonzero(self._parts == self._step % bands)
        within = min(1.0, bands * rate)
        return part[super().poisson_batch(len(part), within)] if len(part) else part

    def whitened(self, rows: Sequence[NDArray[np.floating[Any]]]) -> NDArray[np.floating[Any]]:
        import numpy as np

        u = np.asarray([row / self._norm(step) for step, row in enumerate(rows)])
        z = np.zeros_like(u)
        for back, weight in enumerate(self._coefficients[: len(u)]):
            z[back:] += weight * u[: len(u) - back]
        return z

    def _norm(self, step: int) -> float:
        """Of this step's column of C before it is scaled: the block's last ones are cut off."""
        import numpy as np

        left = max(1, self._steps - step)
        return float(np.linalg.norm(self._coefficients[:left]))
