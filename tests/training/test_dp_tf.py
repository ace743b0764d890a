"""A private step in TensorFlow: what is summed is each example's own gradient, clipped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.training.dp_tf_models import CLASSES, build, clip_and_sum, flat, off, plain
from traindeck.recipes.shared.training.dp.randomness import Randomness

pytestmark = pytest.mark.framework
COUNT = 5


def examples(tf: Any, model: Any, count: int = COUNT) -> tuple[Any, Any]:
    chance = np.random.default_rng(3)
    x = chance.normal(size=(count, *model.input_shape[1:])).astype(np.float32)
    return tf.constant(x), tf.constant(chance.integers(CLASSES, size=count), tf.int32)


LAYERS: dict[str, tuple[tuple[int, ...], list[Callable[[Any], Any]]]] = {
    "dense": ((6,), [lambda k: k.Dense(4, activation="tanh")]),
    "dense without bias": ((6,), [lambda k: k.Dense(4, use_bias=False)]),
    "dense at positions": ((3, 2, 6), [lambda k: k.Dense(4, activation="elu")]),
    "dense at positions without bias": ((3, 6), [lambda k: k.Dense(4, use_bias=False)]),
    "conv": ((7, 6, 2), [lambda k: k.Conv2D(3, 3, activation="tanh")]),
    "conv of many channels": ((7, 6, 9), [lambda k: k.Conv2D(3, (3, 2))]),
    "conv without bias": ((7, 6, 2), [lambda k: k.Conv2D(3, 3, use_bias=False)]),
    "strided": ((9, 8, 2), [lambda k: k.Conv2D(3, 3, strides=(2, 3))]),
    "strided, many channels": ((9, 8, 8), [lambda k: k.Conv2D(3, 3, strides=(2, 3))]),
    "padded": ((7, 6, 2), [lambda k: k.Conv2D(3, (4, 3), padding="same")]),
    "padded and strided": ((8, 9, 2), [lambda k: k.Conv2D(3, 4, strides=3, padding="same")]),
    "padded, many channels": ((8, 9, 8), [lambda k: k.Conv2D(3, 4, strides=2, padding="same")]),
    "dilated": ((9, 8, 2), [lambda k: k.Conv2D(3, (3, 2), dilation_rate=(2, 3))]),
    "dilated, many channels": ((9, 8, 8), [lambda k: k.Conv2D(3, 2, dilation_rate=(2, 3))]),
    "depthwise": ((7, 6, 3), [lambda k: k.DepthwiseConv2D(3, activation="tanh")]),
    "depthwise, padded and strided": (
        (8, 9, 2),
        [lambda k: k.DepthwiseConv2D(5, strides=2, padding="same", use_bias=False)],
    ),
    "depthwise, dilated": ((9, 8, 2), [lambda k: k.DepthwiseConv2D((3, 2), dilation_rate=2)]),
    "dilated and padded": ((9, 8, 1), [lambda k: k.Conv2D(3, 3, dilation_rate=2, padding="same")]),
    "among layers without weights": (
        (9, 9, 1),
        [
            lambda k: k.ZeroPadding2D(1),
            lambda k: k.Conv2D(8, 3, strides=2),
            lambda k: k.GroupNormalization(4, scale=False, center=False),
            lambda k: k.Activation("tanh"),
            lambda k: k.MaxPool2D(2, 1),
            lambda k: k.Conv2D(6, 2, activation="relu"),
            lambda k: k.GlobalAveragePooling2D(),
        ],
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_sums_are_those_of_a_plain_loop(tf: Any, dp: Any, name: str) -> None:
    shape, make = LAYERS[name]
    model = build(tf, shape, *make)
    x, y = examples(tf, model)
    alone = plain(tf, model, dp.cross_entropy, x, y)
    norms = [float(np.linalg.norm(gradient)) for gradient in alone]
    clipping_norm = float(np.median(norms)) * 0.99  # some are clipped and some are not
    result = dp.ClippedGradients(model, clipping_norm)(x, y)
    assert off(flat(result.sums), clip_and_sum(alone, clipping_norm)) < 1e-5
    assert off(np.asarray(result.norms), np.array(norms)) < 1e-5
    assert [total.shape for total in result.sums] == [v.shape for v in model.trainable_variables]
    assert np.allclose(result.losses, dp.cross_entropy(y, model(x)), atol=1e-6)
    assert result.faulty == 0


@pytest.fixture(scope="module")
def network(tf: Any) -> Any:
    """A convolution and two dense layers."""
    return build(
        tf,
        (6, 6, 1),
        lambda k: k.Conv2D(4, 3, activation="tanh"),
        lambda k: k.Flatten(),
        lambda k: k.Dense(5, activation="tanh"),
    )


class TestWhatIsSummed:
    def test_no_example_adds_more_than_the_clipping_norm(
        self, tf: Any, dp: Any, network: Any
    ) -> None:
        x, y = examples(tf, network, 8)
        clipped = dp.ClippedGradients(network, 0.01)
        for place in range(8):
            one = clipped(100 * x[place : place + 1], y[place : place + 1])
            assert 0.99 * 0.01 < np.linalg.norm(flat(one.sums)) <= 0.01

    def test_it_is_a_sum_and_no_mean(self, tf: Any, dp: Any, network: Any) -> None:
        x, y = examples(tf, network)
        clipped = dp.ClippedGradients(network, 0.1)
        twice = clipped(tf.concat([x, x], 0), tf.concat([y, y], 0))
        assert off(flat(twice.sums), 2 * flat(clipped(x, y).sums)) < 1e-6

    @pytest.mark.parametrize("count", [1, 31, 32, 33, 70])
    def test_what_a_batch_is_filled_up_with_adds_nothing(
        self, tf: Any, dp: Any, network: Any, count: int
    ) -> None:
        x, y = examples(tf, network, count)
        alone = plain(tf, network, dp.cross_entropy, x, y)
        result = dp.ClippedGradients(network, 0.1)(x, y)
        assert off(flat(result.sums), clip_and_sum(alone, 0.1)) < 1e-5
        assert result.norms.shape == result.losses.shape == (count,)

    @pytest.mark.parametrize("micro_batch", [1, 3, 64, 1000])
    def test_parts_of_any_size_add_up_to_the_same(
        self, tf: Any, dp: Any, network: Any, micro_batch: int
    ) -> None:
        x, y = examples(tf, network, 70)
        whole = dp.ClippedGradients(network, 0.1, micro_batch=70)(x, y)
        parts = dp.ClippedGradients(network, 0.1, micro_batch=micro_batch)(x, y)
        assert off(flat(parts.sums), flat(whole.sums)) < 1e-5
        assert np.allclose(parts.norms, whole.norms, rtol=1e-4)
        assert np.allclose(parts.losses, whole.losses, rtol=1e-4)

    def test_an_empty_batch_gives_zeros(self, tf: Any, dp: Any, network: Any) -> None:
        x, y = examples(tf, network)
        result = dp.ClippedGradients(network, 0.1)(x[:0], y[:0])
        assert [total.shape for total in result.sums] == [
            variable.shape for variable in network.trainable_variables
        ]
        assert not flat(result.sums).any()
        assert (len(result.norms), len(result.losses), result.faulty) == (0, 0, 0)
        assert result.telemetry(0.1) == {"private/batch_size": 0.0, "private/faulty": 0.0}

    @pytest.mark.parametrize("broken", [0, 3])
    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_an_example_without_a_finite_gradient_adds_nothing(
        self, tf: Any, dp: Any, network: Any, broken: int, value: float
    ) -> None:
        x, y = examples(tf, network)
        others = np.arange(COUNT) != broken
        clipped = dp.ClippedGradients(network, 0.1)
        expected = flat(clipped(x[others], y[others]).sums)
        spoilt = x.numpy()
        spoilt[broken] *= value
        result = clipped(tf.constant(spoilt), y)
        assert off(flat(result.sums), expected) < 1e-6
        assert (len(result.norms), result.faulty) == (COUNT, 1)

    def test_none_with_a_finite_gradient_give_zeros(self, tf: Any, dp: Any, network: Any) -> None:
        x, y = examples(tf, network)
        result = dp.ClippedGradients(network, 0.1)(x * np.nan, y)
        assert not flat(result.sums).any()
        assert result.faulty == COUNT

    def test_places_that_cancel_out_are_clipped_by_what_is_left(self, tf: Any, dp: Any) -> None:
        """Norms from products of places ("ghost" norms) would be off by their rounding."""
        model = build(tf, (2, 50), lambda k: k.Dense(1), head=False)
        one = np.random.default_rng(4).normal(0, 100, (3, 1, 50)).astype(np.float32)
        x = tf.constant(np.concatenate([one, one + np.float32(0.01)], 1))

        def difference(y: Any, outputs: Any) -> Any:
            return outputs[:, 1, 0] - outputs[:, 0, 0]

        y = tf.zeros(3)
        alone = plain(tf, model, difference, x, y)
        result = dp.ClippedGradients(model, 0.02, difference)(x, y)
        assert off(flat(result.sums), clip_and_sum(alone, 0.02)) < 1e-5
        assert np.linalg.norm(flat(result.sums)) <= 3 * 0.02

    def test_weights_that_are_frozen_get_no_gradient(self, tf: Any, dp: Any) -> None:
        model = build(tf, (6, 6, 1), lambda k: k.Conv2D(4, 3, activation="tanh"))
        model.layers[0].trainable = False
        x, y = examples(tf, model)
        alone = plain(tf, model, dp.cross_entropy, x, y)
        result = dp.ClippedGradients(model, 0.1)(x, y)
        assert len(result.sums) == 2
        assert off(flat(result.sums), clip_and_sum(alone, 0.1)) < 1e-5

    def test_batches_of_all_sizes_share_two_traces(self, tf: Any, dp: Any, network: Any) -> None:
        clipped = dp.ClippedGradients(network, 0.1, micro_batch=64)
        for count in (70, 1, 64, 33, 130):
            clipped(*examples(tf, network, count))
        assert clipped._part.experimental_get_tracing_count() <= 2


class TestWhatIsReleased:
    def test_a_sum_is_divided_by_the_public_batch_size(self, tf: Any, dp: Any) -> None:
        sums = [tf.constant([[8.0, 16.0]]), tf.constant([24.0])]
        released = dp.noisy_mean(sums, 0.0, 8, Randomness(0))
        assert [np.asarray(one).tolist() for one in released] == [[[1.0, 2.0]], [3.0]]

    def test_noise_is_added_before_the_division(self, tf: Any, dp: Any) -> None:
        released = dp.noisy_mean([tf.zeros((200, 200)), tf.zeros(7)], 3.0, 10, Randomness(0))
        assert [one.shape for one in released] == [(200, 200), (7,)]
        assert np.std(released[0]) == pytest.approx(0.3, rel=0.02)

    def test_an_empty_batch_releases_noise(self, tf: Any, dp: Any, network: Any) -> None:
        x, y = examples(tf, network)
        result = dp.ClippedGradients(network, 0.1)(x[:0], y[:0])
        first, second = (flat(dp.noisy_mean(result.sums, 1.0, 1, Randomness())) for _ in range(2))
        assert np.std(first) == pytest.approx(1.0, rel=0.3)
        assert not np.isclose(first, second).any()
