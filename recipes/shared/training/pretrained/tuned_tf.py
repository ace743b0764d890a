"""What is trained of EfficientNet-Lite0 in Keras: its head, adapters of its layers, or all."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow.keras import layers

from traindeck.recipes.shared.training.data.idx import Images
from traindeck.recipes.shared.training.pretrained import head_tf, lite0, lite0_tf
from traindeck.recipes.shared.training.servable_tf import Before


class Start(NamedTuple):
    """What a run begins with.

    model   to logits (n, CLASSES), from features of images or, below the head, from images
    before  what makes of images (n, rows, columns), floats from 0 to 255, what the model takes
    train_x, test_x  what it takes, of the images; of images bytes
    """

    model: Any
    before: Before
    train_x: Any
    test_x: Any


def start(net: lite0.Network, data: Images, chosen: str, seed: int) -> Start:
    """The model as it is before its first step, and its examples.

    chosen  head, or as of `tuned`
    """
    size = data.train_x.shape[1]
    if chosen != "head":
        x = [tf.constant(images) for images in (data.train_x, data.test_x)]
        return Start(tuned(net, chosen, size, seed), tf.identity, *x)
    seen = lite0_tf.features_model(net, size)
    traced = tf.function(seen, reduce_retracing=True)

    def compute(images: Any) -> Any:
        return traced(tf.cast(images, tf.float32)).numpy()

    features = lite0.features(net, data, compute)
    x = [tf.constant(each, tf.float32) for each in features]
    return Start(head_tf.zeros(lite0.FEATURES, lite0.CLASSES), seen, *x)


def tuned(net: lite0.Network, chosen: str, size: int, seed: int) -> Any:
    """Keras model: grey images (n, size, size) as floats from 0 to 255, to logits (n, CLASSES).

    chosen  all: each convolution is trained; lora: those of single places stay as they are, and
            beside each two of rank RANK are trained, of which the second starts at zero
    """
    first = lite0.First(seed)
    convolve = partial(lite0_tf.convolved, trainable=True)
    if chosen == "lora":
        convolve = partial(_adapted, first=first)
    seen = lite0_tf.features_model(net, size, convolve)
    classes = layers.Dense(lite0.CLASSES)
    logits = classes(layers.Rescaling(lite0.LENGTH)(seen.output))
    classes.set_weights([first.classes().T, classes.get_weights()[1]])
    return tf.keras.Model(seen.input, logits)


def _adapted(x: Any, one: lite0.Convolution, first: lite0.First) -> Any:
    """E. Hu et al.: LoRA: low-rank adaptation of large language models, ICLR 2022."""
    if not one.single:
        return lite0_tf.convolved(x, one)
    down = layers.Conv2D(lite0.RANK, 1, use_bias=False)
    up = layers.Conv2D(len(one.kernel), 1, use_bias=False, kernel_initializer="zeros")
    y = layers.Add()([lite0_tf.linear(x, one), up(down(x))])
    down.set_weights([first.down(one).T[None, None]])
    return layers.ReLU(6.0)(y) if one.active else y
