"""What the measuring recipes share: one small network by the same numbers in every framework, and
the clock around its training steps.

The figures, each the last value of its series:

    loss                 of the first five steps, one a step: to be equal before speeds are compared
    first_step_seconds   the very first, with all that is traced and compiled for it
    compile_seconds      what the first five took beyond five steady ones
    examples_per_second  of the steady steps, by the clock on the wall
    cpu_ms_per_step      what they cost in processor time, all threads together
    memory_mb            most that the process has held in memory
    load                 of the machine, mean of the minute before
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from traindeck.core import track
from traindeck.recipes.shared.training.data import digits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Labels = NDArray[np.int64]

WIDTHS = (64, 256, 256, 10)
LEARNING_RATE = 0.05
FIRST = 5  # steps whose losses are logged
WARM = 20  # steps before the clock starts
BLOCK = 10  # steps between two looks at the clock


def weights(seed: int) -> list[Floats]:
    """Weights (inputs, outputs) and biases (outputs,) of each layer, in turn."""
    import numpy as np

    random = np.random.default_rng(seed)
    made: list[Floats] = []
    for inputs, outputs in pairwise(WIDTHS):
        made.append(random.normal(0, np.sqrt(2 / inputs), (inputs, outputs)).astype(np.float32))
        made.append(np.zeros(outputs, np.float32))
    return made


def batches(seed: int, size: int) -> tuple[Floats, Labels]:
    """The digits in whole batches: x (n, size, 64) from 0 to 1, y (n, size). Raises DataError."""
    import numpy as np

    data = digits.load()
    size = min(size, len(data.train_x))
    order = np.random.default_rng(seed).permutation(len(data.train_x))
    whole = len(order) // size * size
    x = data.train_x[order[:whole]].astype(np.float32) / np.float32(digits.BRIGHTEST)
    y = data.train_y[order[:whole]].astype(np.int64)
    return x.reshape(-1, size, 64), y.reshape(-1, size)


def measure(
    run: track.Run,
    step: Callable[[int], Callable[[], float]],
    batch_size: int,
    seconds: float,
) -> None:
    """Time the training steps of a model.

    step  trains on the batch of that number and returns what reads the loss, once asked: reading
          it at every step would time the reading
    """
    run.log(0, load=os.getloadavg()[0])
    took = []
    for number in range(FIRST):
        began = time.perf_counter()
        loss = step(number)()
        took.append(time.perf_counter() - began)
        run.log(number + 1, loss=loss)
    print(f"first step {took[0]:.3f} s, then {median(took[1:]):.4f} s", flush=True)
    number = FIRST
    for number in range(FIRST, FIRST + WARM):
        read = step(number)
    read()
    wall, cpu, steps = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - wall < seconds and not run.should_stop():
        for _ in range(BLOCK):
            number += 1
            read = step(number)
        read()
        steps += BLOCK
        run.progress(min(time.perf_counter() - wall, seconds), seconds)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    steps = max(steps, 1)
    steady = wall / steps
    values = {
        "first_step_seconds": took[0],
        "compile_seconds": max(0.0, sum(took) - FIRST * steady),
        "examples_per_second": batch_size / steady,
        "cpu_ms_per_step": 1000 * cpu / steps,
        "memory_mb": _peak_memory(),
        "load": os.getloadavg()[0],
    }
    run.log(number, values)
    run.progress(seconds, seconds)
    print("  ".join(f"{name} {value:.4g}" for name, value in values.items()), flush=True)


def _peak_memory() -> float:
    """Megabytes that this process has held at most."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
