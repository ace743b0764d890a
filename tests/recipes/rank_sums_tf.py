# /// script
# requires-python = ">=3.11"
# [tool.traindeck]
# name = "rank-sums-tf"
# title = "What replicas sum up"
# framework = "tensorflow"
# [tool.traindeck.params]
# strategy = {type = "choice", default = "none", choices = ["none", "mirrored", "multiworker"]}
# workers = {type = "int", default = 1, help = "how many"}
# ///
"""Sums of clipped gradients and of noise over replicas, against a plain loop over records, as JSON.

Each rank starts from weights of its own: only rank 0's may count.
"""

import json

import numpy as np
import tensorflow as tf

from traindeck.core import track
from traindeck.recipes.shared.training.dp import tf as dp_tf
from traindeck.recipes.shared.training.dp.randomness import Randomness
from traindeck.recipes.shared.training.parallel.cluster import in_cluster
from traindeck.recipes.shared.training.parallel.tf import Replicas
from traindeck.recipes.shared.training.parallel.tf_dp import clipped_gradients

NORM = 0.5
SIGMA = 1.5
RECORDS = 11


def flat(tensors):
    return np.concatenate([np.ravel(tensor) for tensor in tensors])


with track.start() as run:
    in_cluster(run, run.params.strategy, run.params.workers)
    replicas = Replicas(run, run.params.strategy, run.params.workers)
    tf.keras.utils.set_random_seed(1)
    with replicas.scope():
        layers = tf.keras.layers
        model = tf.keras.Sequential(
            [
                layers.Input((8, 8, 1)),
                layers.Conv2D(4, 3, activation="tanh"),
                layers.Flatten(),
                layers.Dense(20, activation="tanh"),
                layers.Dense(10),
            ]
        )
    for variable in model.weights:
        variable.assign(variable * (1 + replicas.number))
    shared = clipped_gradients(replicas, model, 99.0, micro_batch=4)
    shared.clip_to(NORM)
    x = tf.random.stateless_normal((RECORDS, 8, 8, 1), (5, 5)) * 3
    y = tf.range(RECORDS) % 10

    def alone(record):
        """A record's clipped gradient, as TensorFlow computes it by itself."""
        with tf.GradientTape() as tape:
            loss = shared.loss(y[record : record + 1], model(x[record : record + 1]))
        gradient = flat(tape.gradient(loss, model.trainable_variables))
        return gradient * min(1.0, NORM / np.linalg.norm(gradient)), np.linalg.norm(gradient)

    clipped, norms = zip(*map(alone, range(RECORDS)), strict=True)
    off, norms_off = [], []
    for size in (0, 1, 2, 5, RECORDS):
        result = shared(x[:size], y[:size])
        off.append(np.abs(flat(result.sums) - sum(clipped[:size])).max())
        norms_off.append(np.abs(np.array(result.norms) / norms[:size] - 1).max(initial=0))
    longest = max(
        np.linalg.norm(flat(shared(x[at : at + 1], y[at : at + 1]).sums)) for at in (0, 9)
    )
    source = Randomness()
    noise = [
        flat(dp_tf.noisy_mean(shared(x[:0], y[:0]).sums, SIGMA * NORM, 1, source))
        for _ in range(20)
    ]
    some_faulty = shared(tf.concat([x[:6], x[:3] * np.nan], 0), y[:9])
    all_faulty = shared(x[:3] * np.nan, y[:3])
    found = {
        "replicas": replicas.replicas,
        "off": max(off),
        "norms_off": max(norms_off),
        "longest": longest,
        "noise": np.std(noise) / (SIGMA * NORM),
        "values": np.size(noise),
        "faulty": [some_faulty.faulty, all_faulty.faulty],
        "faulty_off": np.abs(flat(some_faulty.sums) - sum(clipped[:6])).max(),
        "faulty_sum": np.abs(flat(all_faulty.sums)).max(),
        "telemetry": sorted(result.telemetry(NORM)),
    }
    print("found " + json.dumps(found, default=float), flush=True)
