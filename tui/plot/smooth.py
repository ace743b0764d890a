"""TensorBoard's smoothing, on buckets."""

from __future__ import annotations

import numpy as np

from traindeck.tui.plot.buckets import Floats, Ints

WEIGHTS = (0.0, 0.3, 0.6, 0.8, 0.9, 0.95, 0.97, 0.99, 0.995, 0.999)

_FORGOTTEN = 1e-20  # a weight that no longer changes a 53-bit sum


def smooth(mean: Floats, finite: Ints, weight: float) -> Floats:
    """The debiased exponential moving average after each bucket; NaN where it has no finite point.

    TensorBoard's `classicSmoothing` (tensorboard/webapp/widgets/line_chart_v2): with every finite
    point, `last = weight * last + (1 - weight) * value`, shown divided by `1 - weight ** n` so that
    the start is not drawn towards zero. A bucket of k points counts as k points at its mean, which
    keeps the strength of the smoothing independent of how far the series was decimated.

    mean    mean of the finite points of each bucket, shape (n,)
    finite  how many those are, shape (n,)
    weight  0 (none) to below 1
    """
    has = finite > 0
    if weight <= 0:
        return np.where(has, mean, np.nan)
    keep = np.power(weight, finite.astype(np.float64))
    gain = np.where(has, mean, 0.0) * (1.0 - keep)
    # Each pass joins a stretch with the one as long before it (Hillis and Steele's scan): twelve
    # passes over an array in place of a Python loop over four thousand buckets.
    debias = 1.0 - np.power(weight, np.cumsum(finite, dtype=np.float64))
    reach = 1
    while reach < len(gain) and keep[reach:].max() > _FORGOTTEN:
        gain[reach:] += keep[reach:] * gain[:-reach]
        keep[reach:] *= keep[:-reach]
        reach *= 2
    return np.where(has, gain / np.where(debias > 0, debias, 1.0), np.nan)
