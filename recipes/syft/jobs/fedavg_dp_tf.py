"""One owner's part in federated averaging by DP-SGD, in TensorFlow. Read it before you approve it.

In each round: from the model as it was sent take some steps of DP-SGD (M. Abadi et al., CCS 2016).
Each draws every image of the owner's by itself with probability sampling_rate, sums the clipped
gradients, adds Gaussian noise of noise_multiplier times the clipping norm from the operating
system's entropy, and divides by a number that is public, never by how many images came.
"""

import math

import numpy as np
import tensorflow as tf

from traindeck.recipes.shared.federated.job import job, mlp
from traindeck.recipes.shared.training.dp import tf as dp_tf
from traindeck.recipes.shared.training.dp.randomness import Randomness

with job.session() as here:
    p = here.params
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    data = here.data()
    x = tf.constant(data["x"].reshape(len(data["x"]), -1).astype("f4") / p["brightest"])
    y = tf.constant(data["y"].astype("i4"))
    here.log(examples=len(x))
    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [
            layers.Input((x.shape[1],)),
            layers.Dense(mlp.HIDDEN, activation="relu"),
            layers.Dense(mlp.CLASSES),
        ]
    )
    clipped = dp_tf.ClippedGradients(model, p["clipping_norm"])
    noise = p["noise_multiplier"] * p["clipping_norm"]
    randomness = Randomness()
    weights = model.trainable_variables
    shapes = mlp.shapes(x.shape[1])
    ends = np.cumsum([math.prod(shape) for shape in shapes])[:-1]

    for round in here.rounds():
        for weight, part, shape in zip(weights, np.split(round.weights, ends), shapes, strict=True):
            weight.assign(part.reshape(shape))
        lr = p["lr"] * 0.5 * (1 + math.cos(math.pi * (round.number - 1) / p["rounds"]))
        for _ in range(p["local_steps"]):
            batch = tf.constant(randomness.poisson_batch(len(x), p["sampling_rate"]), tf.int32)
            result = clipped(tf.gather(x, batch), tf.gather(y, batch))
            gradients = dp_tf.noisy_mean(result.sums, noise, p["expected"], randomness)
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.assign_sub(lr * gradient)
        moved = np.concatenate([weight.numpy().ravel() for weight in weights]) - round.weights
        # Every owner weighs the same: how many images it has is nobody's business.
        round.send(moved, examples=1, loss=float(np.mean(result.losses)))
