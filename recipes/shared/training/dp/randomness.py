"""The two random choices of a private step: which records are in its batch, and its noise.

Their secrecy is what differential privacy rests on, so by default both come from the operating
system's entropy, and the seed that makes the first weights repeatable has no part in them.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FROM_THE_SYSTEM = -1  # the noise_seed that means the operating system's entropy


class Randomness:
    """Poisson-sampled batches and Gaussian noise.

    The noise is a floating-point Gaussian: Box and Muller's transform in float64 (which ends at 8.6
    standard deviations), rounded to float32. What it can return has holes that depend on the scale,
    so the low-order bits of a published sum can tell neighbouring data apart (I. Mironov: On
    significance of the least significant bits for differential privacy, CCS 2012). The epsilon of
    an accountant is that of the real-valued Gaussian, not of this one. Whoever publishes sums of
    gradients themselves, rather than the weights of a trained model, needs a discrete Gaussian.

    With a seed, sampling and noise are numpy's PCG64: repeatable, and not private at all.
    """

    def __init__(self, noise_seed: int = FROM_THE_SYSTEM, stream: int = 0) -> None:
        """`stream` keeps a resumed run's seeded numbers apart from those that it already used:
        the step at which it goes on. It means nothing without a seed.
        """
        import numpy as np

        self.private = noise_seed == FROM_THE_SYSTEM
        if not self.private and noise_seed < 0:
            raise ValueError(f"noise_seed {noise_seed} is neither -1 nor a seed of 0 or more")
        self._seeded = None if self.private else np.random.default_rng((noise_seed, stream))

    @property
    def name(self) -> str:
        """What to call it beside an epsilon."""
        if self.private:
            return "floating-point Gaussian from the operating system's entropy"
        return "seeded noise: not private"

    def restart(self) -> None:
        """Forget the steps that were taken, as the self-test's."""

    def advance(self) -> None:
        """Another step's batch and noise come next."""

    @property
    def first(self) -> float:
        """The standard deviation of the first step's noise over the scale that it was asked for."""
        return 1.0

    def whitened(self, rows: Sequence[NDArray[np.floating[Any]]]) -> NDArray[np.floating[Any]]:
        """What the noises of the first steps, (steps, values), were made of: independent ones."""
        import numpy as np

        return np.asarray(rows)

    def normal(self, shape: int | tuple[int, ...], scale: float) -> NDArray[np.float32]:
        """Independent Gaussians of mean 0 and standard deviation `scale`."""
        import numpy as np

        if self._seeded is not None:
            drawn = self._seeded.standard_normal(shape, np.float32)
            return np.multiply(drawn, np.float32(scale), dtype=np.float32)
        size = int(np.prod(shape))
        pairs = (size + 1) // 2
        # 53 bits each: in (0, 1] for the radius, whose logarithm must exist, and a whole turn.
        uniform = (_words(2 * pairs) >> np.uint64(11)).astype(np.float64) * 2.0**-53
        radius = np.sqrt(-2.0 * np.log(1.0 - uniform[:pairs]))
        radius *= scale
        angle = uniform[pairs:]
        angle *= 2 * np.pi
        noise = np.empty(2 * pairs, np.float32)
        np.multiply(radius, np.cos(angle), out=noise[:pairs])
        np.multiply(radius, np.sin(angle), out=noise[pairs:])
        return noise[:size].reshape(shape)

    def poisson_batch(self, records: int, rate: float) -> NDArray[np.intp]:
        """Which of so many records are in a batch: each by itself with probability `rate`.

        Indices in rising order; their number varies from batch to batch and may be 0.
        """
        import numpy as np

        if not 0 < rate <= 1:
            raise ValueError(f"a sampling rate is above 0 and at most 1, not {rate}")
        if rate == 1:
            return np.arange(records)
        if self._seeded is not None:
            return np.flatnonzero(self._seeded.random(records) < rate)
        return np.flatnonzero(_words(records) < np.uint64(int(rate * 2.0**64)))

    def truncated_batch(self, records: int, rate: float, most: int) -> NDArray[np.intp]:
        """As `poisson_batch`, but of a batch of more than `most` so many at random are kept."""
        import numpy as np

        batch = self.poisson_batch(records, rate)
        if len(batch) <= most:
            return batch
        keys = _words(len(batch)) if self._seeded is None else self._seeded.random(len(batch))
        return np.sort(batch[np.argsort(keys)[:most]])

    def below(self, bound: int, count: int) -> NDArray[np.intp]:
        """So many independent whole numbers from 0 on, each below `bound` and as likely."""
        import numpy as np

        if self._seeded is not None:
            return self._seeded.integers(bound, size=count)
        return (_words(count) % np.uint64(bound)).astype(np.intp)


def _words(count: int) -> NDArray[np.uint64]:
    import numpy as np

    return np.frombuffer(os.urandom(8 * count), np.uint64)
