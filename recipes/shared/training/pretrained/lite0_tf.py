"""EfficientNet-Lite0 in Keras, of layers that DP-SGD knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow.keras import layers

from traindeck.recipes.shared.training.pretrained import lite0

Convolve = Callable[[Any, lite0.Convolution], Any]
"""A tensor (n, rows, columns, inputs) and a convolution of the network to what comes out of it."""


def lite0_model(net: lite0.Network, size: int) -> Any:
    """Keras model, frozen: images (n, size, size, 3), 0 for grey, to logits (n, 1000)."""
    images = x = layers.Input((size, size, 3))
    x = convolved(x, net.stem)
    for block in net.blocks:
        x = _through(x, block, convolved)
    x = layers.GlobalAveragePooling2D()(convolved(x, net.head))
    kernel, bias = net.classes
    dense = layers.Dense(len(bias), trainable=False)
    logits = dense(x)
    dense.set_weights([kernel.T, bias])
    return tf.keras.Model(images, logits)


def features_model(net: lite0.Network, size: int, convolve: Convolve | None = None) -> Any:
    """Keras model: grey images (n, size, size) as floats from 0 to 255, to features (n, FEATURES).

    Of each image by itself: what its maps are averaged to, less its own mean, divided by its own
    length. Frozen, but for what `convolve` makes of its convolutions.
    """
    convolve = convolve or convolved
    images = x = layers.Input((size, size))
    for _ in range(2):  # rows and columns change places with each
        enlarging = layers.Dense(lite0.SIZE, use_bias=False, trainable=False)
        x = layers.Permute((2, 1))(enlarging(x))
        enlarging.set_weights([lite0.enlarging(size).T])
    x = layers.Rescaling(1 / lite0.SPREAD, -lite0.GREY / lite0.SPREAD)(x)
    x = layers.Reshape((lite0.SIZE, lite0.SIZE, 1))(x)
    x = convolve(layers.Concatenate()([x, x, x]), net.stem)
    taken = []
    for place, block in enumerate(net.blocks[: max(lite0.TAKEN) + 1]):
        x = _through(x, block, convolve)
        if place in lite0.TAKEN:
            pooled = layers.AveragePooling2D(x.shape[1] // lite0.SIDE)(x)
            # In PyTorch's order: each channel's places.
            taken.append(layers.Flatten()(layers.Permute((3, 1, 2))(pooled)))
    x = layers.LayerNormalization(epsilon=1e-24, center=False, scale=False)(
        layers.Concatenate()(taken)
    )
    return tf.keras.Model(images, layers.Rescaling(lite0.FEATURES**-0.5)(x))


def convolved(x: Any, one: lite0.Convolution, trainable: bool = False) -> Any:
    """What comes out of a convolution, and of its ReLU6."""
    y = linear(x, one, trainable)
    return layers.ReLU(6.0)(y) if one.active else y


def linear(x: Any, one: lite0.Convolution, trainable: bool = False) -> Any:
    """What comes out of a convolution, before its ReLU6."""
    size = one.kernel.shape[-1]
    kind = {"strides": one.stride, "padding": "same", "trainable": trainable}
    if one.depthwise:
        layer = layers.DepthwiseConv2D(size, **kind)
        kernel = one.kernel.transpose(2, 3, 0, 1)
    else:
        layer = layers.Conv2D(len(one.kernel), size, **kind)
        kernel = one.kernel.transpose(2, 3, 1, 0)
    y = layer(x)
    layer.set_weights([kernel, one.bias])
    return y


def _through(x: Any, block: lite0.Block, convolve: Convolve) -> Any:
    y = x
    for one in block.convolutions:
        y = convolve(y, one)
    return layers.Add()([x, y]) if block.skip else y
