"""What DP-SGD in TensorFlow knows of layers: which it can use, and their per-example gradients.

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
_WITHOUT_WEIGHTS = (  # layers that treat each example by itself
    "Activation",
    "AveragePooling2D",
    "Cropping2D",
    "ELU",
    "Flatten",
    "GlobalAveragePooling2D",
    "GlobalMaxPooling2D",
    "GroupNormalization",
    "LayerNormalization",
    "LeakyReLU",
    "MaxPooling2D",
    "Permute",
    "ReLU",
    "Rescaling",
    "Reshape",
    "Softmax",
    "UpSampling2D",
    "ZeroPadding2D",
)
_INSTEAD = {  # of layers that are known here and cannot be used
    "BatchNorm": "it mixes a batch's examples; use GroupNormalization(scale=False, center=False)",
    "GroupNormalization": "set scale=False and center=False",
    "LayerNormalization": "set scale=False and center=False",
    "Attention": "it shares weights over positions; use Dense or Conv2D",
    "Embedding": "it shares weights over positions; use one-hot inputs and Dense",
    "RNN": "it shares weights over steps; use Conv2D",
    "LSTM": "it shares weights over steps; use Conv2D",
    "GRU": "it shares weights over steps; use Conv2D",
    "Bidirectional": "it shares weights over steps; use Conv2D",
    "Conv": "use Conv2D",
    "EinsumDense": "use Dense",
    "PReLU": "use LeakyReLU or ELU",
    "Drop": "leave it out: noise and clipping keep a model from learning too much by heart",
    "Lambda": "what it does cannot be seen; use a layer with a name of its own",
    "Sequential": "put its layers into the model itself",
    "Functional": "put its layers into the model itself",
}

Sum = Callable[[Any], list[Any]]
Share = tuple[Any, Sum]
"""A layer's part in n gradients: their squared norms (n,), and what sums them by weights (n,)."""


class UnsupportedLayer(Exception):
    """A layer whose per-example gradients are not known here; says which and what to use."""


def apply(layer: Any, h: Any) -> tuple[Any, Any]:
    """A layer's inputs, padded as it says, and its output before the activation."""
    if type(layer).__name__ == "Dense":
        z = tf.matmul(h, layer.kernel)
    else:
        if layer.padding == "same":
            h = tf.pad(h, [[0, 0], *_same(layer, h), [0, 0]])
        z = tf.nn.conv2d(h, layer.kernel, layer.strides, "VALID", dilations=layer.dilation_rate)
    return h, z if layer.bias is None else z + layer.bias


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
    if type(layer).__name__ == "Conv2D":
        a = _patches(layer, a, g.shape[1:3])
    biased = layer.bias is not None
    if len(a.shape) == 2:
        return _outer(a, g, biased)
    positions = math.prod(a.shape[1:-1])
    return _products(
        tf.reshape(a, [-1, positions, a.shape[-1]]),
        tf.reshape(g, [-1, positions, g.shape[-1]]),
        biased,
    )


def _outer(a: Any, g: Any, biased: bool) -> Share:
    """Gradients are outer products of a (n, inputs) and g (n, outputs)."""
    square = tf.reduce_sum(g * g, 1) * (tf.reduce_sum(a * a, 1) + float(biased))

    def weighted_sum(weights: Any) -> list[Any]:
        scaled = g * weights[:, None]
        return [tf.matmul(a, scaled, transpose_a=True), tf.reduce_sum(scaled, 0)][: 1 + biased]

    return square, weighted_sum


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


def _patches(layer: Any, a: Any, places: Sequence[int]) -> Any:
    """What lies below the kernel at each place: (n, rows, columns, c) to (n, places, inputs).

    tf.image.extract_patches does the same and takes two to four times as long on CPUs.
    """
    (height, width), (down, right), (row_gap, column_gap) = (
        layer.kernel_size,
        layer.strides,
        layer.dilation_rate,
    )
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


def chain(model: Any) -> list[Any]:
    """The model's layers in order. Raises UnsupportedLayer for the first that cannot be used."""
    ends = getattr(model, "inputs", None) or [], getattr(model, "outputs", None) or []
    if [len(end) for end in ends] != [1, 1]:
        raise UnsupportedLayer(
            f"{model.name} ({type(model).__name__}) is not a chain of layers from one Input to one"
            " output: use Sequential"
        )
    operations = getattr(model, "operations", model.layers)
    layers = [layer for layer in operations if type(layer).__name__ != "InputLayer"]
    for layer in layers:
        called = f"{layer.name} ({type(layer).__name__})"
        problem = _problem(layer)
        if problem:
            raise UnsupportedLayer(f"{called} {problem}")
        if None in layer.input.shape[1:]:
            raise UnsupportedLayer(f"{called} has inputs of any size: give Input its whole shape")
    # Layers with one input each, one output and none used twice: that is a chain.
    owners: dict[int, str] = {}
    for place, layer in enumerate(layers):
        called = f"{layer.name} ({type(layer).__name__})"
        if any(layer is earlier for earlier in layers[:place]):
            raise UnsupportedLayer(f"{called} is used twice: give each place its own layer")
        for variable in layer.weights:
            if id(variable) in owners:
                raise UnsupportedLayer(
                    f"{called} shares weights with {owners[id(variable)]}: give each its own"
                )
            owners[id(variable)] = called
    for entry in model.get_config()["layers"]:
        if len(entry.get("inbound_nodes", [])) > 1:
            raise UnsupportedLayer(f"{entry['name']} is used twice: give each place its own layer")
    return layers


def _problem(layer: Any) -> str:
    """Why a layer cannot be used, and what can be instead; empty for one that can."""
    kind = type(layer).__name__
    known = (kind in _WITHOUT_WEIGHTS and not layer.weights) or kind in ("Dense", "Conv2D")
    if known and not type(layer).__module__.startswith("keras.src.layers."):
        return f"is no {kind} of Keras 3 itself: use that one"
    if not known:
        fitting = [advice for word, advice in _INSTEAD.items() if word in kind]
        advice = fitting[0] if fitting else "use Dense, Conv2D and layers without weights"
        return f"has no per-example gradients here: {advice}"
    axis = getattr(layer, "axis", -1)
    if 0 in (axis if isinstance(axis, list | tuple) else [axis]):
        return "works along axis 0, across examples: use another axis"
    if layer.compute_dtype != "float32":
        return f"computes in {layer.compute_dtype}, too coarse to clip by: use float32"
    if getattr(layer, "data_format", None) == "channels_first":
        return "has its channels first: use channels_last"
    if getattr(layer, "groups", 1) != 1 and kind == "Conv2D":
        return f"has groups={layer.groups}: use groups=1"
    if any(getattr(layer, f"{of}_regularizer", None) for of in ("kernel", "bias", "activity")):
        return "has a regularizer, which is no example's: let the optimizer decay the weights"
    return ""
