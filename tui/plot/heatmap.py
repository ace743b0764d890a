"""Histograms over time as a picture: steps to the right, values upwards, bright where many are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_DARK_TO_BRIGHT = np.array(
    [(12, 12, 24), (59, 28, 97), (122, 45, 121), (201, 76, 92), (245, 140, 54), (252, 233, 121)],
    float,
)


def span(histograms: Sequence[tuple[Sequence[float], Sequence[float]]]) -> tuple[float, float]:
    """The lowest and highest edge of histograms of (edges, counts)."""
    return min(edges[0] for edges, _ in histograms), max(edges[-1] for edges, _ in histograms)


def heat(
    histograms: Sequence[tuple[Sequence[float], Sequence[float]]], width: int, height: int
) -> NDArray[np.uint8]:
    """Colors (height, width, 3) of histograms of (edges, counts), the first at the left.

    A column is one histogram, or the sum of several where there are more than columns; each row
    has the share of values between two heights, its color by the root of the share of the most.
    """
    low, high = span(histograms)
    levels = np.linspace(low, high, height + 1)
    shares = np.empty((height, len(histograms)))
    for column, (edges, counts) in enumerate(histograms):
        total = float(sum(counts)) or 1.0
        below = np.concatenate([[0.0], np.cumsum(counts)]) / total
        shares[:, column] = np.diff(np.interp(levels, edges, below))[::-1]
    if len(histograms) >= width:
        begins = np.arange(width) * len(histograms) // width
        shares = np.add.reduceat(shares, begins, axis=1)
        shares /= np.diff([*begins, len(histograms)])
    else:
        shares = shares[:, np.arange(width) * len(histograms) // width]
    most = shares.max() or 1.0
    place = np.sqrt(shares / most) * (len(_DARK_TO_BRIGHT) - 1)
    at = np.arange(len(_DARK_TO_BRIGHT))
    channels = [np.interp(place, at, _DARK_TO_BRIGHT[:, color]) for color in range(3)]
    return np.stack(channels, axis=2).astype(np.uint8)
