"""Updates in fixed point, so that their sum is exact and can be masked modulo 2^64."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

ONE = 1 << 20  # what 1.0 is in a vector
MOST_OWNERS = 1 << 10  # whose vectors can be summed within 64 bits


def encode(
    update: npt.NDArray[np.floating[Any]], examples: int, clip: float
) -> npt.NDArray[np.int64]:
    """An update (d,) times its number of examples in fixed point, and that number: (d + 1,) int64.

    1.0 is 2^20. clip: what no number of the update is above or below; an update clipped to that L2
    norm is within it. Raises ValueError for NaN and infinity, for a number beyond clip, and when
    1024 such vectors could leave 64 bits.
    """
    if update.ndim != 1 or examples < 1 or not 0 < clip < np.inf:
        raise ValueError(f"{update.shape}, {examples} examples, clip {clip}: no update")
    if max(clip * ONE, 1.0) * examples > 2**63 / MOST_OWNERS / 2:
        raise ValueError(f"{examples} examples times {clip} are too much for 64 bits")
    if not np.isfinite(update).all():
        raise ValueError("the update has numbers that are none, or infinite")
    most = float(np.abs(update).max(initial=0))
    if most > clip * (1 + 1e-6):
        raise ValueError(f"the update has a {most:g}, it was to be clipped to {clip:g}")
    encoded = np.empty(update.size + 1, np.int64)
    encoded[:-1] = np.rint(update.astype(np.float64) * (float(examples) * ONE))
    encoded[-1] = examples
    return encoded


def decode(total: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float64], int]:
    """The owners' mean update (d,), each weighted by its examples, and all their examples.

    total: (d + 1,), the sum of what encode gave. Raises ValueError when it cannot be that.
    """
    examples = int(total[-1])
    if examples < 1:
        raise ValueError(f"a sum over {examples} examples is none")
    return total[:-1] / (float(examples) * ONE), examples
