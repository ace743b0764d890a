"""One owner's part in federated averaging, in TensorFlow. Read it before you approve it.

In each round: start from the model as it was sent, pass over the owner's own examples by
stochastic gradient descent with momentum, give back how far the weights have moved. With mu > 0
the way from the start is held short (FedProx, T. Li et al., MLSys 2020).
"""

from typing import Any

import numpy as np
import tensorflow as tf

from traindeck.recipes.shared.federated import job, mlp

MOMENTUM = 0.9


def logits(row: Any, x: Any) -> Any:
    """The model's outputs; row holds all its parameters, see `mlp`."""
    shapes = mlp.shapes(x.shape[1])
    parts = tf.split(row, [int(np.prod(shape)) for shape in shapes])
    w1, b1, w2, b2 = (tf.reshape(part, shape) for part, shape in zip(parts, shapes, strict=True))
    return tf.nn.relu(x @ w1 + b1) @ w2 + b2


with job.session() as here:
    p = here.params
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    data = here.data()
    x = data["x"].reshape(len(data["x"]), -1).astype("f4") / p["brightest"]
    y = data["y"].astype("i4")
    here.log(examples=len(x))
    row = tf.Variable(tf.zeros(mlp.size(x.shape[1])))
    start = tf.Variable(tf.zeros_like(row))
    velocity = tf.Variable(tf.zeros_like(row))

    def step(images: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits(row, images))
            loss = tf.reduce_mean(losses)
        gradient = tape.gradient(loss, row) + p["mu"] * (row - start)
        velocity.assign(MOMENTUM * velocity + gradient)
        row.assign_sub(p["lr"] * velocity)
        return loss

    step = tf.function(step, jit_compile=False, reduce_retracing=True)
    for round in here.rounds():
        random = np.random.default_rng(p["seed"] + round.number)
        start.assign(round.weights)
        row.assign(round.weights)
        velocity.assign(tf.zeros_like(row))
        losses = []
        for _ in range(p["local_epochs"]):
            order = random.permutation(len(x))
            for at in range(0, len(order), p["batch_size"]):
                batch = order[at : at + p["batch_size"]]
                losses.append(float(step(x[batch], y[batch])))
        update = (row - start).numpy()
        round.send(update, examples=len(x), loss=sum(losses) / len(losses))
