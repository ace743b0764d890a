"""Layers of TensorFlow that have no private step here are refused, and by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.training.dp_tf_models import CLASSES, build

pytestmark = pytest.mark.framework


def shared_weights(tf: Any) -> Any:
    layers = tf.keras.layers
    dense = layers.Dense(CLASSES, name="again")
    x = layers.Input((CLASSES,))
    return tf.keras.Model(x, dense(layers.ReLU()(dense(x))))


def same_layer_twice(tf: Any) -> Any:
    dense = tf.keras.layers.Dense(4, name="again")
    return tf.keras.Sequential([tf.keras.layers.Input((4,)), dense, tf.keras.layers.ReLU(), dense])


def one_kernel_for_two(tf: Any) -> Any:
    first, second = (tf.keras.layers.Dense(4, name=name) for name in ("first", "second"))
    model = tf.keras.Sequential([tf.keras.layers.Input((4,)), first, second])
    second._tracker.unlock()
    second._kernel = first._kernel
    second._trainable_variables[0] = first._trainable_variables[0]
    return model


def attention(tf: Any, shape: tuple[int, ...] = (4, 2), **options: Any) -> Any:
    layers = tf.keras.layers
    x = layers.Input(shape)
    return tf.keras.Model(x, layers.MultiHeadAttention(1, 2, name="look", **options)(x, x))


def operation(tf: Any, make: Callable[[Any, Any], Any], size: int = 4) -> Any:
    x = tf.keras.layers.Input((size,))
    return tf.keras.Model(x, tf.keras.layers.Dense(2)(make(tf.keras.ops, x)))


def of_unlike_rank(tf: Any) -> Any:
    """Each example's features, and one number of all examples for each: mixed where they are 32."""
    x = tf.keras.layers.Input((32,))
    return tf.keras.Model(x, x + tf.keras.layers.Reshape(())(tf.keras.layers.Dense(1)(x)))


def adapted(tf: Any) -> Any:
    model = build(tf, (4,), lambda k: k.Dense(3, name="dense"))
    model.layers[0].enable_lora(2)
    return model


def inner_model(tf: Any) -> Any:
    inner = build(tf, (4,), lambda k: k.Dense(2), head=False)
    return build(tf, (4,), lambda _: inner, head=False)


def own_layer(tf: Any) -> Any:
    class Dense(tf.keras.layers.Dense):  # type: ignore[misc]
        """Not what its name says."""

    return tf.keras.Sequential([tf.keras.layers.Input((4,)), Dense(2, name="mine")])


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "batch normalisation": (
        lambda tf: build(tf, (4,), lambda k: k.BatchNormalization(name="norm")),
        r"norm \(BatchNormalization\) .*mixes a batch's examples.*use GroupNormalization",
    ),
    "group normalisation with weights": (
        lambda tf: build(tf, (4,), lambda k: k.GroupNormalization(2, name="norm")),
        r"norm \(GroupNormalization\) .*scale=False",
    ),
    "normalisation along positions": (
        lambda tf: build(tf, (4, 3), lambda k: k.LayerNormalization(axis=1, name="norm")),
        r"norm \(LayerNormalization\) scales along other axes",
    ),
    "regulariser of a normalisation": (
        lambda tf: build(
            tf, (4,), lambda k: k.LayerNormalization(gamma_regularizer="l2", name="norm")
        ),
        r"norm \(LayerNormalization\) has a regularizer",
    ),
    "normalisation across examples by a negative axis": (
        lambda tf: build(tf, (4,), lambda k: k.Softmax(axis=-2, name="soft"), lambda k: k.Dense(2)),
        r"soft \(Softmax\) .*axis 0",
    ),
    "running sum across examples": (
        lambda tf: operation(tf, lambda ops, x: ops.cumsum(x, axis=0)),
        r"\(Cumsum\) works along axis 0",
    ),
    "running sum of everything": (
        lambda tf: operation(tf, lambda ops, x: ops.reshape(ops.cumsum(x), (-1, 4))),
        r"\(Cumsum\) works along axis 0",
    ),
    "mean across examples": (
        lambda tf: operation(tf, lambda ops, x: x - ops.mean(x, axis=0, keepdims=True)),
        r"\(Mean\) has no per-example gradients",
    ),
    "one example's row": (
        lambda tf: operation(tf, lambda ops, x: x + x[0]),
        r"\(GetItem\) .*use a layer",
    ),
    "tensors of unlike rank": (of_unlike_rank, r"\(Add\) takes tensors of unlike rank"),
    "adapters": (adapted, r"dense \(Dense\) has adapters"),
    "normalisation across examples": (
        lambda tf: build(tf, (4,), lambda k: k.Softmax(axis=0, name="soft"), lambda k: k.Dense(2)),
        r"soft \(Softmax\) .*axis 0",
    ),
    "recurrent": (
        lambda tf: build(tf, (4, 2), lambda k: k.LSTM(3, name="memory")),
        r"memory \(LSTM\) .*use Conv2D",
    ),
    "attention of groups": (
        lambda tf: build(tf, (4, 2), lambda k: k.EinsumDense("abc,cd->abd", (4, 3), name="sum")),
        r"sum \(EinsumDense\) .*use Dense",
    ),
    "attention with dropout": (
        lambda tf: attention(tf, dropout=0.1),
        r"look \(MultiHeadAttention\) has dropout",
    ),
    "attention across examples": (
        lambda tf: attention(tf, attention_axes=(0,)),
        r"look \(MultiHeadAttention\) does not look from positions",
    ),
    "attention in images": (
        lambda tf: attention(tf, (4, 4, 2)),
        r"look \(MultiHeadAttention\) does not look from positions",
    ),
    "attention with a regulariser": (
        lambda tf: attention(tf, kernel_regularizer="l2"),
        r"look \(MultiHeadAttention\) has a regularizer",
    ),
    "depthwise, several a channel": (
        lambda tf: build(
            tf, (5, 5, 2), lambda k: k.DepthwiseConv2D(3, depth_multiplier=2, name="deep")
        ),
        r"deep \(DepthwiseConv2D\) has depth_multiplier=2: use depth_multiplier=1",
    ),
    "groups": (
        lambda tf: build(tf, (5, 5, 2), lambda k: k.Conv2D(2, 3, groups=2, name="grouped")),
        r"grouped \(Conv2D\) has groups=2: use groups=1",
    ),
    "dropout": (
        lambda tf: build(tf, (4,), lambda k: k.Dropout(0.5, name="drop")),
        r"drop \(Dropout\) .*leave it out",
    ),
    "code that cannot be seen": (
        lambda tf: build(tf, (4,), lambda k: k.Lambda(lambda x: x - 1, name="code")),
        r"code \(Lambda\)",
    ),
    "regulariser": (
        lambda tf: build(tf, (4,), lambda k: k.Dense(2, kernel_regularizer="l2", name="small")),
        r"small \(Dense\) has a regularizer.*optimizer",
    ),
    "half precision": (
        lambda tf: build(tf, (4,), lambda k: k.Dense(2, dtype="mixed_float16", name="half")),
        r"half \(Dense\) computes in float16",
    ),
    "used twice": (shared_weights, r"again is used twice"),
    "used twice in a sequence": (same_layer_twice, r"again \(Dense\) is used twice"),
    "weights of another layer": (one_kernel_for_two, r"second \(Dense\) shares weights with first"),
    "model in a model": (inner_model, r"\(Sequential\) .*put its layers into the model"),
    "own layer of a known name": (own_layer, r"mine \(Dense\) is no Dense of Keras 3 itself"),
    "any size": (
        lambda tf: build(tf, (None, None, 1), lambda k: k.Conv2D(2, 3, name="free"), head=False),
        r"free \(Conv2D\) has inputs of any size",
    ),
    "not built": (
        lambda tf: tf.keras.Sequential([tf.keras.layers.Dense(2)], name="unbuilt"),
        r"unbuilt \(Sequential\) does not lead from one Input",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_layer_that_cannot_be_used_is_refused_by_name(tf: Any, dp: Any, name: str) -> None:
    from traindeck.recipes.shared.training.dp.tf_layers import UnsupportedLayer

    make, says = REFUSED[name]
    with pytest.raises(UnsupportedLayer, match=says):
        dp.ClippedGradients(make(tf), 0.1)
