"""Sequences, attention and branches in TensorFlow: each example's own gradient, clipped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.training.dp_tf_models import CLASSES, build, clip_and_sum, flat, off, plain

pytestmark = pytest.mark.framework
COUNT, WORDS, LENGTH, SIZE = 5, 9, 6, 4


def words(tf: Any, ids: Any, **options: Any) -> Any:
    """Embeddings of words and of their places."""
    k, ops = tf.keras.layers, tf.keras.ops
    places = ops.cumsum(ops.ones_like(ids), axis=1) - 1
    return k.Embedding(WORDS, SIZE, **options)(ids) + k.Embedding(LENGTH, SIZE)(places)


def block(tf: Any, x: Any) -> Any:
    k = tf.keras.layers
    h = k.LayerNormalization()(x)
    x = k.Add()([x, k.MultiHeadAttention(2, 3)(h, h, use_causal_mask=True)])
    h = k.Dense(2 * SIZE, activation="gelu")(k.LayerNormalization()(x))
    return x + k.Dense(SIZE)(h)


def residual(tf: Any, x: Any) -> Any:
    k = tf.keras.layers
    h = k.Conv2D(3, 3, padding="same", activation="tanh")(x)
    h = k.Concatenate()([h, k.Conv2D(3, 1)(h) * h])
    return k.Flatten()(h)


def attend(tf: Any, x: Any, **options: Any) -> Any:
    k = tf.keras.layers
    return k.MultiHeadAttention(2, 3, **options)(k.Dense(5)(x), k.Cropping1D((1, 2))(x))


IDS, SEQUENCE = (LENGTH,), (LENGTH, SIZE)
KINDS: dict[str, tuple[tuple[int, ...], Callable[[Any, Any], Any]]] = {
    "embedding": (IDS, words),
    "layer norm": (SEQUENCE, lambda tf, x: tf.keras.layers.LayerNormalization()(x)),
    "layer norm without shift": (
        SEQUENCE,
        lambda tf, x: tf.keras.layers.LayerNormalization(center=False)(x),
    ),
    "layer norm without scale": (
        (SIZE,),
        lambda tf, x: tf.keras.layers.LayerNormalization(scale=False, epsilon=0.1)(x),
    ),
    "rms norm": (SEQUENCE, lambda tf, x: tf.keras.layers.RMSNormalization()(x)),
    "attention": (SEQUENCE, lambda tf, x: tf.keras.layers.MultiHeadAttention(2, 3)(x, x)),
    "attention to others": (SEQUENCE, attend),
    "attention of other sizes": (
        SEQUENCE,
        lambda tf, x: attend(tf, x, value_dim=5, output_shape=7, use_bias=False),
    ),
    "residual": ((5, 5, 2), residual),
    "transformer": (IDS, lambda tf, x: block(tf, block(tf, words(tf, x)))),
    "transformer with padding": (IDS, lambda tf, x: block(tf, words(tf, x, mask_zero=True))),
}


NAMES = [
    pytest.param(name, marks=[pytest.mark.slow] if "transformer" in name else []) for name in KINDS
]


def made(tf: Any, name: str) -> tuple[Any, Any, Any]:
    """A model, and a batch for it as numpy has it."""
    tf.keras.utils.set_random_seed(1)
    shape, make = KINDS[name]
    k, chance = tf.keras.layers, np.random.default_rng(3)
    x = k.Input(shape, dtype="int32" if shape == IDS else "float32")
    h = make(tf, x)
    h = k.GlobalAveragePooling1D()(h) if len(h.shape) == 3 else h
    model = tf.keras.Model(x, k.Dense(CLASSES)(h))
    for variable in model.trainable_variables:
        variable.assign(chance.normal(0, 0.5, variable.shape))
    values = chance.normal(size=(COUNT, *shape)).astype(np.float32)
    if shape == IDS:
        values = chance.integers(1, WORDS - 1, (COUNT, *shape)).astype(np.int32)
        values[:, 4:] = 0
    return model, values, chance.integers(CLASSES, size=COUNT).astype(np.int32)


@pytest.mark.parametrize("clipped", ["some", "all", "none"])
@pytest.mark.parametrize("name", NAMES)
def test_sums_are_those_of_a_plain_loop(tf: Any, dp: Any, name: str, clipped: str) -> None:
    model, x, y = made(tf, name)
    alone = plain(tf, model, dp.cross_entropy, x, y)
    norms = np.array([np.linalg.norm(gradient) for gradient in alone])
    clipping_norm = float({"some": 0.99 * np.median(norms), "all": 1e-3, "none": 99}[clipped])
    result = dp.ClippedGradients(model, clipping_norm)(tf.constant(x), tf.constant(y))
    assert off(flat(result.sums), clip_and_sum(alone, clipping_norm)) < 1e-5
    assert off(np.asarray(result.norms), norms) < 1e-5
    assert [total.shape for total in result.sums] == [v.shape for v in model.trainable_variables]
    assert result.faulty == 0


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_batch_gives_zeros_and_a_faulty_example_adds_nothing(
    tf: Any, dp: Any, name: str
) -> None:
    model, x, y = made(tf, name)
    clipped = dp.ClippedGradients(model, 0.1)
    empty = clipped(tf.constant(x[:0]), tf.constant(y[:0]))
    assert not flat(empty.sums).any()
    others = np.arange(COUNT) != 2
    expected = flat(clipped(tf.constant(x[others]), tf.constant(y[others])).sums)
    if x.dtype == np.float32:
        x[2] = np.nan
    else:  # a word that only one example has is not finite
        x[2] = WORDS - 1
        [table, *_] = model.trainable_variables
        table.assign(np.where(np.arange(WORDS)[:, None] == WORDS - 1, np.nan, table.numpy()))
    result = clipped(tf.constant(x), tf.constant(y))
    assert result.faulty == 1
    assert off(flat(result.sums), expected) < 1e-5


@pytest.mark.slow
def test_layers_are_keras_own_again_after_a_step(tf: Any, dp: Any) -> None:
    model, x, y = made(tf, "transformer")
    before = np.asarray(model(x))
    dp.ClippedGradients(model, 0.1)(tf.constant(x), tf.constant(y))
    assert np.array_equal(model(x), before)
    assert not any("call" in vars(layer) for layer in model._flatten_layers())


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(("inputs", "end"), [(3e18, 1e-20), (1e-20, 1e18)])
def test_what_is_too_small_to_be_squared_is_clipped_all_the_same(
    tf: Any, dp: Any, biased: bool, inputs: float, end: float
) -> None:
    model = build(tf, (4,), lambda layers: layers.Dense(2, use_bias=biased), head=False)
    loss = lambda y, outputs: tf.reduce_sum(outputs * y, 1)  # noqa: E731
    result = dp.ClippedGradients(model, 1e-3, loss)(tf.fill((1, 4), inputs), tf.fill((1, 2), end))
    assert 0.99e-3 < np.linalg.norm(flat(result.sums)) <= 1e-3
