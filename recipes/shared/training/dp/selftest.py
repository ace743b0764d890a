"""What a private run checks about itself before it spends anything, in a second or two.

Each check measures one thing that the accountant takes for granted, on the run's own code, model
and data. Frameworks come in as functions that return numpy arrays. A check that fails ends the
run with exit code 1 and says which it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from traindeck.core import track

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from traindeck.recipes.shared.training.dp.randomness import Randomness

    Floats = NDArray[np.floating]

RECORDS = 4  # whose gradients are taken apart
DRAWS = 200  # batches drawn to see how their sizes vary
VALUES = 50_000  # of noise, at least
TOLERANCE = 1e-5  # relative, of gradients in float32
SIGMAS = 5.0  # a right run fails any one of the statistical checks once in 100,000 starts or less


class SelfTestError(Exception):
    """A check failed; the message says which, what was measured and what it should have been."""


def run(
    *,
    randomness: Randomness,
    records: int,
    sampling_rate: float,
    clipping_norm: float,
    noise_multiplier: float,
    batch_size: int,
    clipped_sum: Callable[[Sequence[int]], Floats],
    plain_gradient: Callable[[int], Floats],
    release: Callable[[Sequence[int]], Floats],
) -> None:
    """Check a private step; ends the process when it is not what was promised.

    clipped_sum(indices)   sum of these training records' clipped gradients, as one flat vector
    plain_gradient(index)  one record's gradient as the framework computes it by itself, flat
    release(indices)       what the optimiser gets for a batch of these records: sum, noise and
                           division by the public batch size, flat

    The noise that is drawn here is thrown away; it releases nothing.
    """
    chosen = range(min(RECORDS, records))
    try:
        gradients(chosen, clipping_norm, clipped_sum, plain_gradient)
        noise(lambda: release([]), clipping_norm * noise_multiplier, batch_size)
        if noise_multiplier:
            summed, released = clipped_sum(list(chosen)), release(list(chosen))
            released_sum(summed, released, clipping_norm * noise_multiplier, batch_size)
        sampler(randomness, records, sampling_rate)
    except SelfTestError as error:
        track.abort(f"self-test: {error}", 1)
    print("self-test passed: gradients, clipping, noise, sampling", flush=True)


def gradients(
    chosen: Sequence[int],
    clipping_norm: float,
    clipped_sum: Callable[[Sequence[int]], Floats],
    plain_gradient: Callable[[int], Floats],
) -> None:
    """Clipped sums are those of a plain loop, and no record adds more than the clipping norm."""
    import numpy as np

    plain = [np.asarray(plain_gradient(index), np.float64) for index in chosen]
    norms = [float(np.linalg.norm(gradient)) for gradient in plain]
    expected = sum(
        gradient * min(1.0, clipping_norm / max(norm, 1e-30))
        for gradient, norm in zip(plain, norms, strict=True)
    )
    got = np.asarray(clipped_sum(list(chosen)), np.float64)
    if not np.isfinite(got).all():
        raise SelfTestError("the sum of clipped gradients is not finite")
    off = float(np.linalg.norm(got - expected))
    allowed = TOLERANCE * sum(min(norm, clipping_norm) for norm in norms)
    if off > allowed + 1e-12:
        raise SelfTestError(
            f"per-example gradients: the clipped sum of {len(plain)} records is {off:.2e} from"
            f" that of a plain loop, more than {allowed:.2e}"
        )
    for index in chosen:
        norm = float(np.linalg.norm(np.asarray(clipped_sum([index]), np.float64)))
        if not norm <= clipping_norm * (1 + TOLERANCE):
            raise SelfTestError(
                f"clipping: a single record adds {norm:.6g}, more than {clipping_norm:.6g}"
            )


def noise(release_of_nothing: Callable[[], Floats], scale: float, batch_size: int) -> None:
    """An empty batch releases noise alone: mean 0, standard deviation `scale` over the batch size.

    The estimate of a standard deviation from n values varies by 1/sqrt(2n) of itself.
    """
    import numpy as np

    drawn = [np.asarray(release_of_nothing(), np.float64).ravel() * batch_size]
    while sum(map(len, drawn)) < VALUES:
        drawn.append(np.asarray(release_of_nothing(), np.float64).ravel() * batch_size)
    values = np.concatenate(drawn)
    measured = float(np.sqrt(np.mean(values**2)))
    if not abs(measured - scale) <= SIGMAS * scale / math.sqrt(2 * len(values)) + 1e-6 * scale:
        raise SelfTestError(
            f"noise: its standard deviation in a sum of gradients is {measured:.6g},"
            f" not {scale:.6g}"
        )
    mean = float(values.mean())
    if not abs(mean) <= SIGMAS * scale / math.sqrt(len(values)):
        raise SelfTestError(f"noise: its mean is {mean:.3g}, not 0")
    if scale and len(drawn) > 1 and np.array_equal(drawn[0], drawn[1]):
        raise SelfTestError("noise: two steps get the same")


def released_sum(summed: Floats, released: Floats, scale: float, batch_size: int) -> None:
    """What a few records release is their sum with noise, divided by the public batch size too."""
    import numpy as np

    values = np.asarray(released, np.float64) * batch_size - np.asarray(summed, np.float64)
    measured = float(np.sqrt(np.mean(values**2)))
    if not abs(measured - scale) <= SIGMAS * scale / math.sqrt(2 * values.size):
        raise SelfTestError(
            f"noise: of a batch with records it has a standard deviation of {measured:.6g}, not"
            f" {scale:.6g}, or is not divided by the public batch size {batch_size}"
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
