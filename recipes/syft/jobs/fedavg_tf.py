"""One owner's part in federated averaging, in TensorFlow. Read it before you approve it.

In each round: start from the model as it was sent, pass over the owner's own examples by
stochastic gradient descent with momentum, give back how far the weights have moved. The learning
rate falls along a cosine over the rounds. With mu > 0 the way from the start is held short
(FedProx, T. Li et al., MLSys 2020).
"""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from traindeck.recipes.shared.federated.job import job, mlp

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
    x = tf.constant(data["x"].reshape(len(data["x"]), -1).astype("f4") / p["brightest"])
    y = tf.constant(data["y"].astype("i4"))
    here.log(examples=len(x))
    row = tf.Variable(tf.zeros(mlp.size(x.shape[1])))
    velocity = tf.Variable(tf.zeros_like(row))

    def epoch(order: Any, start: Any, lr: Any) -> Any:
        """Pass over all examples in an order; gives the mean loss."""
        total = tf.constant(0.0)
        size = tf.size(order)
        for at in tf.range(0, size, p["batch_size"]):
            batch = order[at : tf.minimum(at + p["batch_size"], size)]
            with tf.GradientTape() as tape:
                outputs = logits(row, tf.gather(x, batch))
                labels = tf.gather(y, batch)
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, outputs)
                loss = tf.reduce_mean(losses)
            gradient = tape.gradient(loss, row) + p["weight_decay"] * row + p["mu"] * (row - start)
            velocity.assign(MOMENTUM * velocity + gradient)
            row.assign_sub(lr * velocity)
            total += tf.reduce_sum(losses)
        return total / tf.cast(size, tf.float32)

    epoch = tf.function(epoch, jit_compile=False, reduce_retracing=True)
    for round in here.rounds():
        random = np.random.default_rng(p["seed"] + round.number)
        start = tf.constant(round.weights)
        row.assign(start)
        velocity.assign(tf.zeros_like(row))
        lr = p["lr"] * 0.5 * (1 + math.cos(math.pi * (round.number - 1) / p["rounds"]))
        for _ in range(p["local_epochs"]):
            order = tf.constant(random.permutation(len(x)), tf.int32)
            loss = epoch(order, start, tf.constant(lr, tf.float32))
        round.send((row - start).numpy(), examples=len(x), loss=float(loss))
