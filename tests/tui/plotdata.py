"""Points to draw: records as a recipe writes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from traindeck.tui.plot.store import DTYPE, SeriesStore

START = 1_700_000_000.0


def records(
    steps: Sequence[int],
    values: Sequence[float],
    series: int | Sequence[int] = 0,
    times: Sequence[float] | None = None,
) -> bytes:
    """28-byte records of one point each, a second apart unless `times` says otherwise."""
    out = np.zeros(len(steps), DTYPE)
    out["time"] = START + np.arange(len(steps)) if times is None else times
    out["step"], out["series"], out["value"] = steps, series, values
    return out.tobytes()


NAMES = ["train/loss", "train/accuracy", "test/loss", "test/accuracy", "step_seconds"]


def training(points: int = 400, rate: float = 1.0, seed: int = 0) -> bytes:
    """What a training run writes: two noisy series, two rare ones, one with outliers."""
    noise = np.random.default_rng(seed)
    rows = []
    for step in range(points):
        done = step / points
        now = START + 0.1 * step
        loss = 2.3 * math.exp(-6 * done * rate) + 0.08 + 0.06 * abs(noise.normal())
        accuracy = 1 - 0.9 * math.exp(-7 * done * rate) - 0.02 * abs(noise.normal())
        slow = 0.03 if step % 97 == 50 else 0.0
        rows += [(now, step, 0, loss), (now, step, 1, accuracy)]
        if step % max(points // 10, 1) == max(points // 10, 1) - 1:
            rows.append((now, step, 2, 2.2 * math.exp(-5 * done * rate) + 0.1))
            rows.append((now, step, 3, 1 - 0.88 * math.exp(-6 * done * rate)))
        rows.append((now, step, 4, 0.02 + 0.002 * abs(noise.normal()) + slow))
    return np.array(rows, DTYPE).tobytes()


def store_of(data: bytes, names: Sequence[str] = NAMES, source: Path | None = None) -> SeriesStore:
    store = SeriesStore(source)
    store.ingest(data, names)
    return store
