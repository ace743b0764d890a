"""What privacy costs in time in TensorFlow: a private step over a step without privacy.

    python tests/bench/bench_dp_tf.py [--batch N]... [--repeats N]

The network is that of tf-mnist-dp, on one thread and random images. A private step is all of one: a
Poisson sample of MNIST's size, per-example gradients, clipping, sum, noise from the operating
system's entropy, division and the optimiser's step; beside ours the gradients come from
tf.vectorized_map and from GradientTape.jacobian, each in parts of the size at which it is fastest.
All take turns, so that the machine's load meets them alike; the least of the repeats counts, in CPU
time and on the wall. Before that the sums of each are compared. Wanted of ours: at most 2.2 times a
step without privacy.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import numpy as np
import tensorflow as tf

from tests.bench.common import head, row
from traindeck.recipes.shared.training.dp import tf as dp_tf
from traindeck.recipes.shared.training.dp.randomness import Randomness

WANTED = 2.2
RECORDS = 60_000
CLIPPING_NORM, NOISE_MULTIPLIER, RATE = 0.1, 1.255, 0.01
MAPPED, DERIVED = 64, 16  # examples at once: more are slower, and soon more than memory holds

Step = Callable[[], object]
Sums = Callable[[Any, Any], list[Any]]


def network() -> Any:
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            layers.Input((28, 28, 1)),
            layers.ZeroPadding2D(3),
            layers.Conv2D(16, 8, strides=2, activation="tanh"),
            layers.MaxPool2D(2, strides=1),
            layers.Conv2D(32, 4, strides=2, activation="tanh"),
            layers.MaxPool2D(2, strides=1),
            layers.Flatten(),
            layers.Dense(32, activation="tanh"),
            layers.Dense(10),
        ]
    )


def clip_and_sum(gradients: list[Any]) -> list[Any]:
    """From gradients (n, …) of each variable."""
    squares = [tf.reduce_sum(tf.reshape(g, [tf.shape(g)[0], -1]) ** 2, 1) for g in gradients]
    weights = CLIPPING_NORM / tf.maximum(tf.sqrt(tf.add_n(squares)), CLIPPING_NORM)
    return [tf.tensordot(weights, g, 1) for g in gradients]


def by_vectorized_map(model: Any) -> Sums:
    variables = model.trainable_variables

    def alone(example: tuple[Any, Any]) -> list[Any]:
        x, y = example
        with tf.GradientTape() as tape:
            loss = dp_tf.cross_entropy(y[None], model(x[None], training=True))
        return list(tape.gradient(loss, variables))

    return in_parts(lambda x, y: clip_and_sum(tf.vectorized_map(alone, (x, y))), MAPPED, variables)


def by_jacobian(model: Any) -> Sums:
    variables = model.trainable_variables

    def sums(x: Any, y: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            losses = dp_tf.cross_entropy(y, model(x, training=True))
        return clip_and_sum(tape.jacobian(losses, variables))

    return in_parts(sums, DERIVED, variables)


def in_parts(sums: Sums, size: int, variables: list[Any]) -> Sums:
    """Sums over parts of a batch, added up."""

    def whole(x: Any, y: Any) -> list[Any]:
        parts = len(x) // size
        x, y = tf.reshape(x, [parts, size, *x.shape[1:]]), tf.reshape(y, [parts, size])

        def add(at: Any, totals: list[Any]) -> tuple[Any, list[Any]]:
            more = sums(x[at], y[at])
            return at + 1, [total + one for total, one in zip(totals, more, strict=True)]

        start = [tf.constant(0), [tf.zeros(variable.shape) for variable in variables]]
        return list(tf.while_loop(lambda at, _: at < parts, add, start)[1])

    return tf.function(whole, jit_compile=False)  # type: ignore[no-any-return]


def steps(batch: int) -> dict[str, Step]:
    """One step of each kind. Ends the bench when the private ones do not agree."""
    chance = np.random.default_rng(0)
    x = tf.constant(chance.normal(size=(batch, 28, 28, 1)).astype(np.float32))
    y = tf.constant(chance.integers(10, size=batch), tf.int32)
    tf.keras.utils.set_random_seed(0)
    model = network()
    variables = model.trainable_variables
    optimizer = tf.keras.optimizers.SGD(RATE, momentum=0.9)
    optimizer.build(variables)
    randomness = Randomness()

    @tf.function(jit_compile=False)  # type: ignore[untyped-decorator]
    def without_privacy() -> None:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(dp_tf.cross_entropy(y, model(x, training=True)))
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    @tf.function(jit_compile=False)  # type: ignore[untyped-decorator]
    def apply(gradients: list[Any]) -> None:
        optimizer.apply_gradients(zip(gradients, variables, strict=True))

    def private(sums: Sums) -> Step:
        def step() -> None:
            randomness.poisson_batch(RECORDS, batch / RECORDS)
            noise = NOISE_MULTIPLIER * CLIPPING_NORM
            apply(dp_tf.noisy_mean(sums(x, y), noise, batch, randomness))

        return step

    ours = dp_tf.ClippedGradients(model, CLIPPING_NORM)
    kinds: dict[str, Sums] = {
        "private, ours": lambda x, y: ours(x, y).sums,
        "private, vectorized_map": by_vectorized_map(model),
        "private, jacobian": by_jacobian(model),
    }
    expected = None
    for name, sums in kinds.items():
        flat = np.concatenate([np.ravel(total) for total in sums(x, y)])
        expected = flat if expected is None else expected
        off = np.linalg.norm(flat - expected) / np.linalg.norm(expected)
        if off > 1e-5:
            raise SystemExit(f"{name}: its sums are {off:.1e} from ours")
    return {"without privacy": without_privacy, **{n: private(s) for n, s in kinds.items()}}


def measure(batch: int, repeats: int) -> None:
    kinds = steps(batch)
    least = {name: (float("inf"), float("inf")) for name in kinds}
    for turn in range(repeats + 1):  # the first also traces
        for name, step in kinds.items():
            step()  # what another kind has left in the caches is none of this one's
            cpu, wall = time.process_time(), time.perf_counter()
            step()
            spent = time.process_time() - cpu, time.perf_counter() - wall
            if turn:
                least[name] = min(least[name][0], spent[0]), min(least[name][1], spent[1])
    base = least["without privacy"]
    for name, (cpu, wall) in least.items():
        wanted = f"at most {WANTED:.1f} times" if name.endswith("ours") else ""
        row(
            f"{name}, batch {batch}",
            f"{1000 * cpu:.1f} ms CPU, {1000 * wall:.1f} ms wall",
            f"{cpu / base[0]:.2f}x, {wall / base[1]:.2f}x",
            wanted,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", action="append", type=int, metavar="N", help="examples a step")
    parser.add_argument("--repeats", type=int, default=15, metavar="N")
    given = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    head("A private step in TensorFlow over one without privacy")
    for batch in given.batch or (512, 1024):
        measure(batch, given.repeats)


if __name__ == "__main__":
    main()
