"""all-MiniLM-L6-v2 in Keras."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.keras import layers

from traindeck.recipes.shared.training.pretrained import minilm
from traindeck.recipes.shared.training.pretrained.minilm import EPSILON, FEATURES, HEADS


class MiniLM(layers.Layer):
    """Tokens (n, length), and which are there, to features (n, FEATURES) of length 1.

    Of each sentence by itself: the mean of its tokens, less its own mean, divided by its length.
    """

    def __init__(self, net: minilm.Network) -> None:
        super().__init__(trainable=False)
        # TF32 rounds to 10 bits, which PyTorch lets no GPU do unasked: features would differ.
        tf.config.experimental.enable_tensor_float_32_execution(False)
        self._words, self._places, self._kinds = (
            _embedding(net, name) for name in ("words", "places", "kinds")
        )
        self._norm = _norm(net, "norm")
        self._blocks = [Block(net, f"layers.{number}") for number in range(minilm.LAYERS)]
        signature = [tf.TensorSpec((None, None), kind) for kind in (tf.int32, tf.bool)]
        self._traced = tf.function(self.call, input_signature=signature)
        self.build((None, None))

    def call(self, tokens: Any, there: Any) -> Any:
        places = self._places(tf.range(tf.shape(tokens)[1]))
        x = self._norm(self._words(tokens) + places + self._kinds(tf.constant(0)))
        for block in self._blocks:
            x = block(x, there)
        shares = tf.cast(there, x.dtype)[..., tf.newaxis]
        mean = tf.reduce_sum(x * shares, 1) / tf.reduce_sum(shares, 1)
        return tf.math.l2_normalize(mean - tf.reduce_mean(mean, 1, keepdims=True), 1, 1e-24)

    def computed(self, tokens: NDArray[np.int32], there: NDArray[np.bool_]) -> NDArray[np.float32]:
        """The same from and to NumPy's arrays, as one graph for sentences of any length."""
        return np.asarray(self._traced(tokens, there))


class Block(layers.Layer):
    """One of its layers: (n, length, FEATURES) to the same. Each token sees those that are there.

    Its name has no underscore before it: Keras makes a scope of it, which TensorFlow would refuse.
    """

    def __init__(self, net: minilm.Network, name: str) -> None:
        super().__init__()
        self._query, self._key, self._value, self._out, self._wide, self._narrow = (
            _dense(net, f"{name}.{part}")
            for part in ("query", "key", "value", "out", "wide", "narrow")
        )
        self._norm, self._last = (_norm(net, f"{name}.{part}") for part in ("norm", "last"))
        self.build((None, None, FEATURES))

    def call(self, x: Any, there: Any) -> Any:
        n, length = tf.unstack(tf.shape(x)[:2])
        query, key, value = (
            tf.reshape(part(x), (n, length, HEADS, FEATURES // HEADS))
            for part in (self._query, self._key, self._value)
        )
        mask = there[:, tf.newaxis, tf.newaxis]
        heads = tf.keras.ops.dot_product_attention(query, key, value, mask=mask)
        x = self._norm(x + self._out(tf.reshape(heads, (n, length, FEATURES))))
        inner = tf.nn.gelu(self._wide(x), approximate=False)
        return self._last(x + self._narrow(inner))


def _embedding(net: minilm.Network, name: str) -> Any:
    table = net.tensors[f"{name}.weight"]
    return _with(layers.Embedding(*table.shape), (None,), [table])


def _dense(net: minilm.Network, name: str) -> Any:
    kernel, bias = net.tensors[f"{name}.weight"], net.tensors[f"{name}.bias"]
    return _with(layers.Dense(len(bias)), (None, kernel.shape[1]), [kernel.T, bias])


def _norm(net: minilm.Network, name: str) -> Any:
    numbers = [net.tensors[f"{name}.weight"], net.tensors[f"{name}.bias"]]
    return _with(layers.LayerNormalization(epsilon=EPSILON), (None, FEATURES), numbers)


def _with(layer: Any, shape: tuple[int | None, ...], numbers: list[Any]) -> Any:
    layer.build(shape)
    layer.set_weights(numbers)
    return layer
