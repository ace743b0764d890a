"""Small models of TensorFlow to take private steps in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
CLASSES = 3


def build(
    tf: Any, shape: tuple[int | None, ...], *make: Callable[[Any], Any], head: bool = True
) -> Any:
    """A chain of layers, and at its end one that gives a logit for each class."""
    tf.keras.utils.set_random_seed(1)
    layers = tf.keras.layers
    tail = [layers.Flatten(), layers.Dense(CLASSES)] if head else []
    model = tf.keras.Sequential([layers.Input(shape), *(one(layers) for one in make), *tail])
    for variable in model.trainable_variables:  # biases as well: zeros would hide their mistakes
        variable.assign(np.random.default_rng(2).normal(0, 0.3, variable.shape))
    return model


def flat(tensors: Any) -> Floats:
    return np.concatenate([np.ravel(tensor) for tensor in tensors]).astype(np.float64)


def plain(tf: Any, model: Any, loss: Any, x: Any, y: Any) -> list[Floats]:
    """Each example's gradient, by itself, as Keras and TensorFlow have it."""
    gradients = []
    for place in range(len(x)):
        with tf.GradientTape() as tape:
            value = loss(y[place : place + 1], model(x[place : place + 1], training=True))
        alone = tape.gradient(value, model.trainable_variables, unconnected_gradients="zero")
        gradients.append(flat([tf.convert_to_tensor(gradient) for gradient in alone]))
    return gradients


def clip_and_sum(gradients: list[Floats], clipping_norm: float) -> Floats:
    clipped = [g * min(1.0, clipping_norm / float(np.linalg.norm(g))) for g in gradients]
    total: Floats = np.sum(np.array(clipped), axis=0)
    return total


def off(got: Floats, expected: Floats) -> float:
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))
