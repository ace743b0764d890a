"""A model on others' weights, trained without privacy in TensorFlow: what its loop needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.keras import layers

from traindeck.core import track
from traindeck.recipes.shared.training import checkpoints
from traindeck.recipes.shared.training.loop import Schedule, Tested

_TESTED = 32  # examples at a time: of images Keras keeps what each layer gives


def zeros(inputs: int, outputs: int) -> Any:
    """A linear layer that starts at zero: of one layer all its classes may start alike."""
    dense = layers.Dense(outputs, kernel_initializer="zeros")
    return tf.keras.Sequential([layers.Input((inputs,)), dense])


def measured(logits: Any, y: Any) -> tuple[Any, Any]:
    """Mean loss and accuracy of a batch."""
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
    hits = tf.equal(tf.argmax(logits, 1, tf.int32), y)
    return tf.reduce_mean(losses), tf.reduce_mean(tf.cast(hits, tf.float32))


def descending(model: Any, part: int) -> Callable[[Any, Any], tuple[Any, Any]]:
    """What takes a step down a batch's mean loss, and returns it and the accuracy.

    part  examples at a time, which bounds the memory and changes nothing else
    """
    variables = model.trainable_variables

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def of_part(x: Any, y: Any) -> tuple[list[Any], Any, Any]:
        with tf.GradientTape() as tape:
            loss, accuracy = measured(model(x, training=True), y)
        return tape.gradient(loss, variables), loss, accuracy

    def descend(x: Any, y: Any) -> tuple[Any, Any]:
        parts = []
        for at in range(0, len(y), part):
            gradients, *means = of_part(x[at : at + part], y[at : at + part])
            share = len(y[at : at + part]) / len(y)
            parts.append([share * each for each in (*gradients, *means)])
        *sums, loss, accuracy = map(tf.add_n, zip(*parts, strict=True))
        model.optimizer.apply_gradients(zip(sums, variables, strict=True))
        return loss, accuracy

    return descend


def tested(model: Any, x: Any, y: Any) -> Tested:
    """Mean loss and accuracy over the test examples."""
    floats = (tf.cast(x[at : at + _TESTED], tf.float32) for at in range(0, len(y), _TESTED))
    logits = [model(each, training=False) for each in floats]
    loss, accuracy = measured(tf.concat(logits, 0), y)
    return Tested(float(loss), float(accuracy))


def means(window: Sequence[Any]) -> tuple[float, float]:
    loss, accuracy = tf.reduce_mean(window, 0).numpy()
    return loss, accuracy


def saving(run: track.Run, model: Any) -> Callable[[int], None]:
    """What writes the checkpoint after so many steps."""

    def save(step: int) -> None:
        checkpoints.write(run, checkpoints.path(run, step, ".keras"), model.save)

    return save


def resumed(path: Path | None, model: Any, schedule: Schedule) -> int:
    """The first step: after those of a checkpoint, which is read, or 0. Ends a recipe in vain."""
    if path is None:
        return 0
    try:
        model.load_weights(path)  # and the optimizer's state, its step counter among it
    except Exception:  # Keras raises a different one for each way to be wrong
        checkpoints.refuse(path)
    step = int(model.optimizer.iterations.numpy())
    checkpoints.check_left(path, step, schedule.total_steps)
    return step
