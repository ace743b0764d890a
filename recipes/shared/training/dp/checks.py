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
CYCLES = 3  # of banded noise, to see when records come
TOLERANCE = 1e-5  # relative, of gradients in float32
KINKS = 5e-3  # the same of a deep network with kinks, where a last bit turns a value on or off
SIGMAS = 5.0  # a right run fails any one of the statistical checks once in 100,000 starts or less


class SelfTestError(Exception):
    """A check failed; the message says which, what was measured and what it should have been."""


def gradients(
    indices: Sequence[int],
    clipping_norm: float,
    clipped_sum: Callable[[Sequence[int]], Floats],
    plain: dict[int, Floats],
    tolerance: float = TOLERANCE,
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
    allowed = tolerance * sum(min(length, clipping_norm) for length in norms)
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


def sampler(randomness: Randomness, records: int, sampling_rate: float, most: int = 0) -> None:
    """Sizes of first batches vary as those of Poisson sampling: mean Nq, variance Nq(1-q).

    Batches of one size, as a shuffled data set gives, would not have the epsilon that is shown.
    Truncated ones differ from these once in more than 10^30.
    """
    import numpy as np

    batches = []
    for _ in range(DRAWS):
        randomness.restart()
        batches.append(
            randomness.truncated_batch(records, sampling_rate, most)
            if most
            else randomness.poisson_batch(records, sampling_rate)
        )
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


def cycles(randomness: Randomness, records: int, sampling_rate: float, bands: int) -> None:
    """Each record comes in the turn of one part alone, there by a coin of probability bands·q."""
    import numpy as np

    part = np.full(records, -1)
    last: dict[int, NDArray[np.intp]] = {}
    drawn = again = 0
    randomness.restart()
    for step in range(CYCLES * bands):
        randomness.advance()
        batch, turn = randomness.poisson_batch(records, sampling_rate), step % bands
        if ((part[batch] != -1) & (part[batch] != turn)).any():
            raise SelfTestError("sampling: a record is drawn in the turns of two parts")
        part[batch] = turn
        if turn in last:
            drawn += len(last[turn])
            again += len(np.intersect1d(last[turn], batch))
        last[turn] = batch
    rate = min(1.0, bands * sampling_rate)
    if abs(again - drawn * rate) > SIGMAS * math.sqrt(drawn * rate * (1 - rate)) + 1e-9:
        raise SelfTestError(
            f"sampling: of {drawn} records {again} are drawn in their part's next turn too, where"
            f" the rate is {rate:.4g}"
        )


def independent(rows: Floats, scale: float) -> None:
    """Noises of steps, (steps, values), are Gaussians of this scale that do not hang together."""
    gaussian(rows.ravel(), scale)
    for back in range(1, len(rows)):
        products = rows[back:] * rows[:-back] / scale**2
        correlation = float(products.mean())
        if abs(correlation) > SIGMAS / math.sqrt(products.size):
            raise SelfTestError(
                f"noise: that of steps {back} apart is correlated by {correlation:.3g} where it"
                " should be independent"
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
