"""What the self-test holds measured numbers against: gradients, noise and sizes of batches.

Each check measures one thing that the accountant takes for granted. Frameworks come in as functions
that return numpy arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from traindeck.recipes.shared.training.dp.randomness import Randomness

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

DRAWS = 200  # batches drawn to see how their sizes vary
TOLERANCE = 1e-5  # relative, of gradients in float32
SIGMAS = 5.0  # a right run fails any one of the statistical checks once in 100,000 starts or less


class SelfTestError(Exception):
    """A check failed; the message says which, what was measured and what it should have been."""


def gradients(
    indices: Sequence[int],
    clipping_norm: float,
    clipped_sum: Callable[[Sequence[int]], Floats],
    plain: dict[int, Floats],
) -> None:
    """Clipped sums are those of a plain loop, and no record adds more than the clipping norm.

    plain  the gradient of each of these records, unclipped
    """
    import numpy as np

    norms = [norm(plain[index]) for index in indices]
    expected = sum(clipped(plain[index], clipping_norm) for index in indices)
    got = np.asarray(clipped_sum(list(indices)), np.float64)
    if not np.isfinite(got).all():
        raise SelfTestError("the sum of clipped gradients is not finite")
    off = norm(got - expected)
    allowed = TOLERANCE * sum(min(length, clipping_norm) for length in norms)
    if off > allowed + 1e-12:
        raise SelfTestError(
            f"per-example gradients: the clipped sum of {len(norms)} records is {off:.2e} from"
            f" that of a plain loop, more than {allowed:.2e}"
        )
    for index in indices:
        length = norm(np.asarray(clipped_sum([index]), np.float64))
        if not length <= clipping_norm * (1 + TOLERANCE):
            raise SelfTestError(
                f"clipping: a single record adds {length:.6g}, more than {clipping_norm:.6g}"
            )


def gaussian(values: Floats, scale: float) -> None:
    """Noise has mean 0 and this standard deviation, whose estimate varies by 1/sqrt(2n) of it."""
    measured = rms(values)
    if abs(measured - scale) > SIGMAS * scale / math.sqrt(2 * values.size):
        raise SelfTestError(
            f"noise: its standard deviation in a sum of gradients is {measured:.6g},"
            f" not {scale:.6g}"
        )
    mean = float(values.mean())
    if abs(mean) > SIGMAS * scale / math.sqrt(values.size):
        raise SelfTestError(f"noise: its mean is {mean:.3g}, not 0")


def same_spread(name: str, own: Sequence[float], promised: Sequence[float], size: int) -> None:
    """Mean squares of what noise did to an array of so many values: the run's own, and the plan's.

    Their ratio's logarithm varies by 2/sqrt(n) with n independent values, or by what the draws
    themselves show where an array's values hang together.
    """
    import numpy as np

    means, shown = [], []
    for each in (own, promised):
        means.append(float(np.mean(each)) or 1e-300)
        shown.append(float(np.std(each)) / math.sqrt(len(each)) / means[-1])
    spread = max(2 / math.sqrt(len(own) * size), math.hypot(*shown))
    if abs(math.log(means[0] / means[1])) > SIGMAS * spread:
        measured, expected = map(math.sqrt, means)
        raise SelfTestError(
            f"noise: its standard deviation in {name} is {measured:.4g}, where the plan's gives"
            f" {expected:.4g}"
        )


def sampler(randomness: Randomness, records: int, sampling_rate: float) -> None:
    """Sizes of batches vary as those of Poisson sampling: mean Nq, variance Nq(1-q).

    Batches of one size, as a shuffled data set gives, would not have the epsilon that is shown.
    """
    import numpy as np

    batches = [randomness.poisson_batch(records, sampling_rate) for _ in range(DRAWS)]
    sizes = np.array([len(batch) for batch in batches], np.float64)
    mean = records * sampling_rate
    variance = mean * (1 - sampling_rate)
    if abs(sizes.mean() - mean) > SIGMAS * math.sqrt(variance / DRAWS):
        raise SelfTestError(f"sampling: batches hold {sizes.mean():.6g} records, not {mean:.6g}")
    kurtosis = 3 + (1 - 6 * sampling_rate * (1 - sampling_rate)) / variance if variance else 3
    spread = variance * math.sqrt((kurtosis - 1) / DRAWS)
    if abs(sizes.var(ddof=1) - variance) > SIGMAS * spread:
        raise SelfTestError(
            f"sampling: the size of batches has a variance of {sizes.var(ddof=1):.6g}, where"
            f" Poisson sampling gives {variance:.6g}"
        )


def clipped(gradient: Floats, clipping_norm: float) -> Floats:
    """Shortened to this norm where it is longer."""
    shortened: Floats = gradient * min(1.0, clipping_norm / max(norm(gradient), 1e-30))
    return shortened


def norm(values: Floats) -> float:
    """Euclidean."""
    import numpy as np

    return float(np.linalg.norm(np.ravel(values)))


def rms(values: Floats) -> float:
    """Root of the mean square; 0 of nothing."""
    import numpy as np

    return float(np.sqrt(np.mean(np.square(values)))) if values.size else 0.0
