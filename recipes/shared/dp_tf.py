"""DP-SGD in TensorFlow: sums of clipped per-example gradients by one forward and one backward pass.

The backward pass is that of the activations alone. What it leaves at a layer's output, together
with the layer's input, gives each example's gradient of the layer's weights, its norm, and the sum
of all of them once clipped (I. Goodfellow: Efficient per-example gradient computations, 2015;
G. Rochette, A. Manoel, E. Tramel: Efficient per-example gradient computations in convolutional
neural networks, 2019). DP-SGD itself is M. Abadi et al.: Deep learning with differential privacy,
CCS 2016.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from traindeck.recipes.shared.randomness import Randomness

MICRO_BATCH = 128  # examples: a CPU's cache still holds their gradients
_MULTIPLE = 32  # of examples: kernels are made anew for each size of a batch, so let those be few
_ROUNDING = 2e-6  # what float32 may leave of a norm unseen, relative to it
_NARROW = 8  # channels: fewer are copied faster by a convolution than by a gather
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


class Clipped(NamedTuple):
    """What a batch of n examples gives.

    sums    clipped gradients summed, for each trainable variable of the model in order
    norms   (n,), each example's gradient norm before clipping; private, as the losses are
    losses  (n,)
    faulty  how many examples had no finite gradient: they add nothing
    """

    sums: list[Any]
    norms: Any
    losses: Any
    faulty: int


def cross_entropy(y: Any, logits: Any) -> Any:
    """Labels (n,) and logits (n, classes) to losses (n,)."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)


class ClippedGradients:
    """Sums of a model's per-example gradients, each clipped to the norm `clipping_norm`.

    The model is a chain (Sequential, or functional without branches) of Dense, Conv2D with
    groups=1 and layers without weights; UnsupportedLayer is raised for any other.

    `loss` maps y and the model's outputs to one loss an example. Batches are worked through in
    parts of `micro_batch`, which bounds the memory (so many gradients of the convolutions) and
    changes nothing else.

    XLA stays off, wherever the model runs: on CPUs it makes convolutions several times slower.
    """

    def __init__(
        self,
        model: Any,
        clipping_norm: float,
        loss: Callable[[Any, Any], Any] = cross_entropy,
        micro_batch: int = MICRO_BATCH,
    ) -> None:
        self._layers = _chain(model)
        self._variables = [variable.value for variable in model.trainable_variables]
        self._places = {id(v): place for place, v in enumerate(model.trainable_variables)}
        self._clipping_norm = clipping_norm
        self._loss = loss
        self._micro_batch = micro_batch
        self._part = tf.function(self._clipped, jit_compile=False, reduce_retracing=True)

    def __call__(self, x: Any, y: Any) -> Clipped:
        """Examples x (n, …) and y (n, …); without any (n = 0) the sums are zeros."""
        found = []
        for at in range(0, len(x), self._micro_batch):
            part = slice(at, at + self._micro_batch)
            found.append(self._finite(x[part], y[part]))
        if not found:
            return Clipped([tf.zeros_like(v) for v in self._variables], tf.zeros(0), tf.zeros(0), 0)
        if len(found) == 1:
            return found[0]
        sums, norms, losses, faulty = zip(*found, strict=True)
        totals = [tf.add_n(parts) for parts in zip(*sums, strict=True)]
        return Clipped(totals, tf.concat(norms, 0), tf.concat(losses, 0), sum(faulty))

    def _finite(self, x: Any, y: Any) -> Clipped:
        sums, norms, losses = self._part(x, y, tf.constant(len(x)))
        finite = np.isfinite(norms.numpy())
        faulty = len(finite) - int(finite.sum())
        if faulty:  # 0 times NaN is NaN: leave those out instead
            sums = self(x[finite], y[finite]).sums
        return Clipped(sums, norms, losses, faulty)

    def _clipped(self, x: Any, y: Any, count: Any) -> tuple[list[Any], Any, Any]:
        size = -(-count // _MULTIPLE) * _MULTIPLE
        real = tf.range(size) < count
        index = tf.where(real, tf.range(size), 0)  # filled up with the first example, at weight 0
        losses, used = self._backward(tf.gather(x, index), tf.gather(y, index))
        shares = [(layer, _share(layer, a, g)) for layer, a, g in used]
        norms = tf.sqrt(tf.add_n([square for _, (square, _) in shares]))
        bound = self._clipping_norm * (1 - _ROUNDING)
        weights = tf.where(real, bound / tf.maximum(norms, bound), 0.0)
        sums: list[Any] = [None] * len(self._variables)
        for layer, (_, weighted_sum) in shares:
            for variable, total in zip(
                layer.trainable_variables, weighted_sum(weights), strict=True
            ):
                sums[self._places[id(variable)]] = tf.reshape(total, variable.shape)
        return sums, norms[:count], losses[:count]

    def _backward(self, x: Any, y: Any) -> tuple[Any, list[tuple[Any, Any, Any]]]:
        """Losses, and each layer with its inputs and the gradient of the losses at its output."""
        used, outputs = [], []
        with tf.GradientTape() as tape:
            h = x
            for layer in self._layers:
                if not layer.trainable_variables:
                    h = layer(h)
                    continue
                inputs, z = _apply(layer, h)
                used.append((layer, inputs))
                outputs.append(z)
                h = layer.activation(z)
            losses = self._loss(y, h)
        gradients = tape.gradient(losses, outputs, unconnected_gradients="zero")
        return losses, [(*both, g) for both, g in zip(used, gradients, strict=True)]


def noisy_mean(
    sums: Sequence[Any], noise: float, batch_size: int, randomness: Randomness
) -> list[Any]:
    """What is released of a batch: its sums with noise of standard deviation `noise`, the noise
    multiplier times the clipping norm, divided by the public batch size.

    However many examples the batch really holds, and be it none: to divide by that number, or to
    release nothing, would tell it.
    """
    sizes = [math.prod(total.shape) for total in sums]
    drawn = np.split(randomness.normal(sum(sizes), noise), np.cumsum(sizes)[:-1])
    return [
        (total + values.reshape(total.shape)) / batch_size
        for total, values in zip(sums, drawn, strict=True)
    ]


def _apply(layer: Any, h: Any) -> tuple[Any, Any]:
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


def _share(layer: Any, a: Any, g: Any) -> Share:
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
    (rows, columns), channels = layer.kernel_size, a.shape[-1]
    inputs = rows * columns * channels
    if channels < _NARROW:
        copying = tf.reshape(tf.eye(inputs), [rows, columns, channels, inputs])
        found = tf.nn.conv2d(a, copying, layer.strides, "VALID", dilations=layer.dilation_rate)
    else:
        (down, right), (row_gap, column_gap) = layer.strides, layer.dilation_rate
        i, j, row, column = np.indices((*places, rows, columns))
        index = (i * down + row * row_gap) * a.shape[2] + j * right + column * column_gap
        pixels = tf.reshape(a, [-1, a.shape[1] * a.shape[2], channels])
        found = tf.gather(pixels, index.ravel().astype(np.int32), axis=1)
    return tf.reshape(found, [-1, math.prod(places), inputs])


def _chain(model: Any) -> list[Any]:
    """The model's layers in order. Raises UnsupportedLayer for the first that cannot be used."""
    layers: list[Any] = []
    owners: dict[int, str] = {}
    seen = getattr(model, "inputs", None)
    if not seen or len(seen) != 1 or not hasattr(model, "outputs"):
        raise UnsupportedLayer(
            f"{model.name} ({type(model).__name__}) is not a chain of layers that begins with one"
            " Input: use Sequential"
        )
    for layer in model.layers:
        if type(layer).__name__ == "InputLayer":
            continue
        called = f"{layer.name} ({type(layer).__name__})"
        problem = _problem(layer)
        if problem:
            raise UnsupportedLayer(f"{called} {problem}")
        for variable in layer.weights:
            if id(variable) in owners:
                raise UnsupportedLayer(
                    f"{called} shares weights with {owners[id(variable)]}: give each its own"
                )
            owners[id(variable)] = called
        try:
            inputs, outputs = layer.input, layer.output
        except AttributeError:
            raise UnsupportedLayer(f"{called} is used twice: give each place a layer") from None
        if inputs is not seen[0]:
            raise UnsupportedLayer(f"{called} is on a branch: put the layers into one chain")
        if None in inputs.shape[1:]:
            raise UnsupportedLayer(f"{called} has inputs of any size: give Input its whole shape")
        layers, seen = [*layers, layer], [outputs]
    if seen[0] is not model.outputs[0]:
        raise UnsupportedLayer(f"{model.name} has several outputs: put the layers into one chain")
    return layers


def _problem(layer: Any) -> str:
    """Why a layer cannot be used, and what can be instead; empty for one that can."""
    kind = type(layer).__name__
    known = (kind in _WITHOUT_WEIGHTS and not layer.weights) or kind in ("Dense", "Conv2D")
    if not known or not type(layer).__module__.startswith("keras."):
        advice = [told for word, told in _INSTEAD.items() if word in kind]
        told = advice[0] if advice else "use Dense, Conv2D and layers without weights"
        return f"has no per-example gradients here: {told}"
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
