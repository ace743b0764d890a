"""Each kind of layer's part in n examples' gradients in TensorFlow: norms, and clipped sums.

A layer's inputs and the gradient of the losses at its outputs (the cotangents) give each example's
gradient of the layer's weights, its norm, and the sum of all of them once clipped (I. Goodfellow:
Efficient per-example gradient computations, 2015; G. Rochette, A. Manoel, E. Tramel: Efficient
per-example gradient computations in convolutional neural networks, 2019).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

_NARROW = 8  # channels: fewer are not copied one pixel at a time

Sum = Callable[[Any], list[Any]]
Share = tuple[Any, Sum]
"""A layer's part in n gradients: their squared norms (n,), and what sums them by weights (n,)."""


def apply(layer: Any, h: Any) -> tuple[Any, Any, Any]:
    """A layer's inputs as its gradient needs them, its output before the activation and after it.

    Of a convolution the inputs are padded; of a normalisation they are what it scales.
    """
    kind = type(layer).__name__
    if kind == "Dense":
        z = tf.matmul(h, layer.kernel)
    elif kind == "Conv2D":
        if layer.padding == "same":
            h = tf.pad(h, [[0, 0], *_same(layer, h), [0, 0]])
        z = tf.nn.conv2d(h, layer.kernel, layer.strides, "VALID", dilations=layer.dilation_rate)
    elif kind == "DepthwiseConv2D":
        if layer.padding == "same":
            h = tf.pad(h, [[0, 0], *_same(layer, h), [0, 0]])
        strides = [1, *layer.strides, 1]
        z = tf.nn.depthwise_conv2d(h, layer.kernel, strides, "VALID", None, layer.dilation_rate)
    elif kind == "Embedding":
        h = tf.cast(h, tf.int64)
        z = tf.gather(layer.embeddings, h)
        return h, z, z
    elif kind == "EinsumDense":
        z = tf.einsum(layer.equation, h, layer.kernel)
    else:
        return _normalised(layer, h)
    z = z if layer.bias is None else z + layer.bias
    return h, z, z if layer.activation is None else layer.activation(z)


def _normalised(layer: Any, h: Any) -> tuple[Any, Any, Any]:
    if type(layer).__name__ == "RMSNormalization":
        h = h * tf.math.rsqrt(tf.reduce_mean(h * h, -1, keepdims=True) + layer.epsilon)
        z = h * layer.scale
        return h, z, z
    mean, variance = tf.nn.moments(h, -1, keepdims=True)
    h = (h - mean) * tf.math.rsqrt(variance + layer.epsilon)
    z = h if layer.gamma is None else h * layer.gamma
    z = z if layer.beta is None else z + layer.beta
    return h, z, z


def _same(layer: Any, h: Any) -> list[list[int]]:
    """What "same" adds above and below, left and right."""
    pads = []
    for size, kernel, stride, gap in zip(
        h.shape[1:3], layer.kernel_size, layer.strides, layer.dilation_rate, strict=True
    ):
        span = (kernel - 1) * gap + 1
        total = max(0, (-(-size // stride) - 1) * stride + span - size)
        pads.append([total // 2, total - total // 2])
    return pads


def share(layer: Any, a: Any, g: Any) -> Share:
    """From a layer's inputs as `apply` gives them and the gradient at its output: (n, …) each."""
    kind = type(layer).__name__
    if kind == "Embedding":
        return _rows(layer, a, g)
    if kind in ("LayerNormalization", "RMSNormalization"):
        return _scales(layer, a, g)
    if kind == "DepthwiseConv2D":
        return _by_channel(layer, a, g)
    if kind == "Conv2D":
        a = _patches(layer, a, g.shape[1:3])
    if kind == "EinsumDense":  # of attention: all dims after that of positions
        a, g = (tf.reshape(x, [-1, x.shape[1], math.prod(x.shape[2:])]) for x in (a, g))
    biased = layer.bias is not None
    if len(a.shape) == 2:
        return _outer(a, g, biased)
    positions = math.prod(a.shape[1:-1])
    return _products(
        tf.reshape(a, [-1, positions, a.shape[-1]]),
        tf.reshape(g, [-1, positions, g.shape[-1]]),
        biased,
    )


def _rows(layer: Any, ids: Any, g: Any) -> Share:
    """Positions (n, …) with the same id have the same row: their gradients g (n, …, features) are
    added before their squares are."""
    none, count = layer.input_dim, tf.shape(ids, tf.int64)[0]
    ids = tf.reshape(ids, [count, math.prod(ids.shape[1:])])
    ids = tf.where((ids >= 0) & (ids < none), ids, none)  # GPUs look up zeros for other ids
    flat = tf.reshape(g, [-1, g.shape[-1]])
    keys, places = tf.unique(tf.reshape(ids + (none + 1) * tf.range(count)[:, None], [-1]))
    added = tf.math.unsorted_segment_sum(flat, places, tf.size(keys))
    square = tf.math.unsorted_segment_sum(
        tf.reduce_sum(added * added, 1), keys // (none + 1), count
    )

    def weighted_sum(weights: Any) -> list[Any]:
        scaled = tf.reshape(g, [count, -1]) * weights[:, None]
        rows = tf.reshape(scaled, [-1, g.shape[-1]])
        return [tf.math.unsorted_segment_sum(rows, tf.reshape(ids, [-1]), none + 1)[:none]]

    return square, weighted_sum


def _scales(layer: Any, normal: Any, g: Any) -> Share:
    """What multiplies each feature, the same at all positions, and what is added to it."""
    scaled = getattr(layer, "gamma", getattr(layer, "scale", None)) is not None
    shifted = getattr(layer, "beta", None) is not None
    shape = [-1, math.prod(g.shape[1:-1]), g.shape[-1]]
    each = [tf.reduce_sum(tf.reshape(x, shape), 1) for x in [g * normal] * scaled + [g] * shifted]

    def weighted_sum(weights: Any) -> list[Any]:
        return [tf.tensordot(weights, gradient, 1) for gradient in each]

    return tf.add_n([tf.reduce_sum(gradient * gradient, 1) for gradient in each]), weighted_sum


def _outer(a: Any, g: Any, biased: bool) -> Share:
    """Gradients are outer products of a (n, inputs) and g (n, outputs)."""
    inputs, size = (a, 1.0) if biased else _unit(a)
    unit, length = _unit(g)
    square = tf.reduce_sum(unit * unit, 1) * (tf.reduce_sum(inputs * inputs, 1) + float(biased))
    square = (tf.sqrt(square) * (length * size)) ** 2

    def weighted_sum(weights: Any) -> list[Any]:
        scaled = g * weights[:, None]
        return [tf.matmul(a, scaled, transpose_a=True), tf.reduce_sum(scaled, 0)][: 1 + biased]

    return square, weighted_sum


def _unit(x: Any) -> tuple[Any, Any]:
    """An example's values (n, features) over the largest of them, and that one (n,): TensorFlow has
    no squares below 1e-38, and what times something large is not small would be clipped as nothing.
    """
    size = tf.reduce_max(tf.abs(x), 1)
    size = tf.where(size > 0, size, tf.ones_like(size))
    return x / size[:, None], size


def _products(a: Any, g: Any, biased: bool) -> Share:
    """Gradients are products of a (n, places, inputs) and g (n, places, outputs).

    They are made, not only their norms from aaᵀ and ggᵀ ("ghost" norms): where an example's places
    cancel out, the small norm that is left would be lost in rounding, and the clipping with it.
    """
    kernels = tf.matmul(g, a, transpose_a=True)  # the other way round takes twice as long
    biases = tf.reduce_sum(g, 1)
    flat = tf.reshape(kernels, [-1, g.shape[-1] * a.shape[-1]])
    square = tf.reduce_sum(flat * flat, 1)
    if biased:
        square += tf.reduce_sum(biases * biases, 1)

    def weighted_sum(weights: Any) -> list[Any]:
        kernel = tf.reshape(tf.tensordot(weights, flat, 1), [g.shape[-1], a.shape[-1]])
        return [tf.transpose(kernel), tf.tensordot(weights, biases, 1)][: 1 + biased]

    return square, weighted_sum


def _by_channel(layer: Any, a: Any, g: Any) -> Share:
    """Of a convolution of each channel by itself: at each place below the kernel, the inputs
    (n, rows, columns, c) that lie there times the cotangents."""
    (rows, columns), (down, right) = layer.kernel_size, layer.strides
    row_gap, column_gap = layer.dilation_rate
    height, width = (g.shape[1] - 1) * down + 1, (g.shape[2] - 1) * right + 1
    places = [
        tf.reduce_sum(a[:, i : i + height : down, j : j + width : right] * g, (1, 2))
        for i in range(0, rows * row_gap, row_gap)
        for j in range(0, columns * column_gap, column_gap)
    ]
    gradients = [tf.stack(places, 1), tf.reduce_sum(g, (1, 2))][: 1 + (layer.bias is not None)]

    def weighted_sum(weights: Any) -> list[Any]:
        return [tf.tensordot(weights, gradient, 1) for gradient in gradients]

    flat = [tf.reshape(each, [-1, math.prod(each.shape[1:])]) for each in gradients]
    return tf.add_n([tf.reduce_sum(each * each, 1) for each in flat]), weighted_sum


def _patches(layer: Any, a: Any, places: Sequence[int]) -> Any:
    """What lies below the kernel at each place: (n, rows, columns, c) to (n, places, inputs).

    tf.image.extract_patches does the same and takes two to four times as long on CPUs.
    """
    (height, width), (down, right), (row_gap, column_gap) = (
        layer.kernel_size,
        layer.strides,
        layer.dilation_rate,
    )
    if height == width == down == right == 1:
        return a
    rows, columns, channels = a.shape[1:]
    i, j, row, column = np.indices((*places, height, width))
    from_row, from_column = i * down + row * row_gap, j * right + column * column_gap
    if channels < _NARROW:  # copy not pixel by pixel, but as many as lie beside each other
        copying = np.zeros((columns, places[1], width), np.float32)
        copying[from_column[0, :, 0], j[0, :, 0], column[0, :, 0]] = 1
        copying = np.kron(copying.reshape(columns, -1), np.eye(channels, dtype=np.float32))
        a = tf.matmul(tf.reshape(a, [-1, columns * channels]), copying)
        index = (from_row * places[1] + j)[..., 0]
        pixels = tf.reshape(a, [-1, rows * places[1], width * channels])
    else:
        index = from_row * columns + from_column
        pixels = tf.reshape(a, [-1, rows * columns, channels])
    patches = tf.gather(pixels, index.ravel().astype(np.int32), axis=1)
    return tf.reshape(patches, [-1, math.prod(places), height * width * channels])
