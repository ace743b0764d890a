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
