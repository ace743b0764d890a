"""A private step in TensorFlow: what is summed is each example's own gradient, clipped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import traindeck.recipes
from tests.training.idxfiles import write
from traindeck.core.recipe.read import read_recipe
from traindeck.core.run.follow import PointTail
from traindeck.recipes.shared.training.dp.randomness import Randomness

pytestmark = pytest.mark.framework

Floats = NDArray[np.float64]
COUNT = 5
CLASSES = 3
FOLDER = Path(traindeck.recipes.__file__).parent / "tensorflow"
PATIENCE = 240.0


@pytest.fixture(scope="module")
def tf() -> Any:
    tensorflow = pytest.importorskip("tensorflow")
    tensorflow.config.set_visible_devices([], "GPU")
    return tensorflow


@pytest.fixture(scope="module")
def dp(tf: Any) -> Any:
    from traindeck.recipes.shared.training.dp import tf as dp_tf

    return dp_tf


def build(
    tf: Any, shape: tuple[int | None, ...], *make: Callable[[Any], Any], head: bool = True
) -> Any:
    """A chain of layers, and at its end one that gives a logit for each class."""
    tf.keras.utils.set_random_seed(1)
    layers = tf.keras.layers
    tail = [layers.Flatten(), layers.Dense(CLASSES)] if head else []
    model = tf.keras.Sequential([layers.Input(shape), *(one(layers) for one in make), *tail])
    for variable in model.trainable_variables:  # biases as well: zeros would hide their mistakes
        variable.assign(np.random.default_rng(2).normal(0, 0.3, variable.shape))
    return model


def examples(tf: Any, model: Any, count: int = COUNT) -> tuple[Any, Any]:
    chance = np.random.default_rng(3)
    x = chance.normal(size=(count, *model.input_shape[1:])).astype(np.float32)
    return tf.constant(x), tf.constant(chance.integers(CLASSES, size=count), tf.int32)


def flat(tensors: Any) -> Floats:
    return np.concatenate([np.ravel(tensor) for tensor in tensors]).astype(np.float64)


def plain(tf: Any, model: Any, loss: Any, x: Any, y: Any) -> list[Floats]:
    """Each example's gradient, by itself, as Keras and TensorFlow have it."""
    found = []
    for place in range(len(x)):
        with tf.GradientTape() as tape:
            value = loss(y[place : place + 1], model(x[place : place + 1], training=True))
        gradients = tape.gradient(value, model.trainable_variables, unconnected_gradients="zero")
        found.append(flat(gradients))
    return found


def clip_and_sum(gradients: list[Floats], clipping_norm: float) -> Floats:
    clipped = [g * min(1.0, clipping_norm / float(np.linalg.norm(g))) for g in gradients]
    total: Floats = np.sum(np.array(clipped), axis=0)
    return total


def off(got: Floats, expected: Floats) -> float:
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))


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
    found = dp.ClippedGradients(model, clipping_norm)(x, y)
    assert off(flat(found.sums), clip_and_sum(alone, clipping_norm)) < 1e-5
    assert off(np.asarray(found.norms), np.array(norms)) < 1e-5
    assert [total.shape for total in found.sums] == [v.shape for v in model.trainable_variables]
    assert np.allclose(found.losses, dp.cross_entropy(y, model(x)), atol=1e-6)
    assert found.faulty == 0


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
        found = dp.ClippedGradients(network, 0.1)(x, y)
        assert off(flat(found.sums), clip_and_sum(alone, 0.1)) < 1e-5
        assert found.norms.shape == found.losses.shape == (count,)

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
        found = dp.ClippedGradients(network, 0.1)(x[:0], y[:0])
        assert [total.shape for total in found.sums] == [
            variable.shape for variable in network.trainable_variables
        ]
        assert not flat(found.sums).any()
        assert (len(found.norms), len(found.losses), found.faulty) == (0, 0, 0)
        assert found.telemetry(0.1) == {"private/batch_size": 0.0, "private/faulty": 0.0}

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
        found = clipped(tf.constant(spoilt), y)
        assert off(flat(found.sums), expected) < 1e-6
        assert (len(found.norms), found.faulty) == (COUNT, 1)

    def test_none_with_a_finite_gradient_give_zeros(self, tf: Any, dp: Any, network: Any) -> None:
        x, y = examples(tf, network)
        found = dp.ClippedGradients(network, 0.1)(x * np.nan, y)
        assert not flat(found.sums).any()
        assert found.faulty == COUNT

    def test_places_that_cancel_out_are_clipped_by_what_is_left(self, tf: Any, dp: Any) -> None:
        """Norms from products of places ("ghost" norms) would be off by their rounding."""
        model = build(tf, (2, 50), lambda k: k.Dense(1), head=False)
        one = np.random.default_rng(4).normal(0, 100, (3, 1, 50)).astype(np.float32)
        x = tf.constant(np.concatenate([one, one + np.float32(0.01)], 1))

        def difference(y: Any, outputs: Any) -> Any:
            return outputs[:, 1, 0] - outputs[:, 0, 0]

        y = tf.zeros(3)
        alone = plain(tf, model, difference, x, y)
        found = dp.ClippedGradients(model, 0.02, difference)(x, y)
        assert off(flat(found.sums), clip_and_sum(alone, 0.02)) < 1e-5
        assert np.linalg.norm(flat(found.sums)) <= 3 * 0.02

    def test_weights_that_are_frozen_get_no_gradient(self, tf: Any, dp: Any) -> None:
        model = build(tf, (6, 6, 1), lambda k: k.Conv2D(4, 3, activation="tanh"))
        model.layers[0].trainable = False
        x, y = examples(tf, model)
        alone = plain(tf, model, dp.cross_entropy, x, y)
        found = dp.ClippedGradients(model, 0.1)(x, y)
        assert len(found.sums) == 2
        assert off(flat(found.sums), clip_and_sum(alone, 0.1)) < 1e-5

    def test_batches_of_all_sizes_share_two_traces(self, tf: Any, dp: Any, network: Any) -> None:
        clipped = dp.ClippedGradients(network, 0.1, micro_batch=64)
        for count in (70, 1, 64, 33, 130):
            clipped(*examples(tf, network, count))
        assert clipped._part.experimental_get_tracing_count() <= 2


def shared_weights(tf: Any) -> Any:
    layers = tf.keras.layers
    dense = layers.Dense(CLASSES, name="again")
    x = layers.Input((CLASSES,))
    return tf.keras.Model(x, dense(layers.ReLU()(dense(x))))


def branches(tf: Any) -> Any:
    layers = tf.keras.layers
    x = layers.Input((4,))
    return tf.keras.Model(x, layers.Add(name="sum")([layers.Dense(4)(x), x]))


def attention(tf: Any) -> Any:
    layers = tf.keras.layers
    x = layers.Input((4, 2))
    return tf.keras.Model(x, layers.MultiHeadAttention(1, 2, name="look")(x, x))


def residual(tf: Any) -> Any:
    layers = tf.keras.layers
    x = layers.Input((4,))
    return tf.keras.Model(x, layers.Dense(4)(x) + x)


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
    "normalisation with weights": (
        lambda tf: build(tf, (4,), lambda k: k.LayerNormalization(name="norm")),
        r"norm \(LayerNormalization\) .*scale=False",
    ),
    "normalisation across examples": (
        lambda tf: build(tf, (4,), lambda k: k.Softmax(axis=0, name="soft"), lambda k: k.Dense(2)),
        r"soft \(Softmax\) .*axis 0",
    ),
    "embedding": (
        lambda tf: build(tf, (4,), lambda k: k.Embedding(9, 2, name="words")),
        r"words \(Embedding\) .*use one-hot inputs and Dense",
    ),
    "recurrent": (
        lambda tf: build(tf, (4, 2), lambda k: k.LSTM(3, name="memory")),
        r"memory \(LSTM\) .*use Conv2D",
    ),
    "attention": (attention, r"look \(MultiHeadAttention\) .*use Dense or Conv2D"),
    "depthwise": (
        lambda tf: build(tf, (5, 5, 2), lambda k: k.DepthwiseConv2D(3, name="deep")),
        r"deep \(DepthwiseConv2D\) .*use Conv2D",
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
    "branches": (branches, r"sum \(Add\) .*use Dense"),
    "branches without a layer": (residual, r"add \(Add\) "),
    "model in a model": (inner_model, r"\(Sequential\) .*put its layers into the model"),
    "own layer of a known name": (own_layer, r"mine \(Dense\) is no Dense of Keras 3 itself"),
    "any size": (
        lambda tf: build(tf, (None, None, 1), lambda k: k.Conv2D(2, 3, name="free"), head=False),
        r"free \(Conv2D\) has inputs of any size",
    ),
    "not built": (
        lambda tf: tf.keras.Sequential([tf.keras.layers.Dense(2)], name="unbuilt"),
        r"unbuilt \(Sequential\) is not a chain .*Input",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_layer_that_cannot_be_used_is_refused_by_name(tf: Any, dp: Any, name: str) -> None:
    from traindeck.recipes.shared.training.dp.tf_layers import UnsupportedLayer

    make, told = REFUSED[name]
    with pytest.raises(UnsupportedLayer, match=told):
        dp.ClippedGradients(make(tf), 0.1)


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
        found = dp.ClippedGradients(network, 0.1)(x[:0], y[:0])
        first, second = (flat(dp.noisy_mean(found.sums, 1.0, 1, Randomness())) for _ in range(2))
        assert np.std(first) == pytest.approx(1.0, rel=0.3)
        assert not np.isclose(first, second).any()


class Recorder:
    """A run of which a checkpoint is asked, and whose plan is another each time."""

    def __init__(self, folder: Path, noise_multiplier: float = 1.5) -> None:
        self.artifacts = folder
        self.plan = SimpleNamespace(
            mechanism=SimpleNamespace(
                noise_multiplier=noise_multiplier, sampling_rate=0.01, steps=100
            ),
            clipping_norm=0.1,
            seeded=False,
        )
        self.paid = 0

    def artifact(self, path: Path, kind: str) -> None:
        assert (path.parent, kind) == (self.artifacts, "checkpoint")

    def resumed(self, steps: int) -> None:
        self.paid = steps


class TestTraining:
    def model(self, tf: Any) -> Any:
        return build(tf, (3,), lambda k: k.Dense(2), head=False)

    def training(self, tf: Any, run: Any) -> Any:
        from traindeck.recipes.shared.training.dp.tf_state import Training

        return Training(run, self.model(tf), 0.5, 0.9, 0.98)

    def test_a_step_is_that_of_momentum_and_a_running_average(
        self, tf: Any, dp: Any, tmp_path: Path
    ) -> None:
        training = self.training(tf, Recorder(tmp_path))
        weight = average = flat(training.model.weights)
        velocity = np.zeros_like(weight)
        for step in range(3):
            training.update([tf.ones((3, 2)) * (step + 1), tf.ones(2) * (step + 1)])
            velocity = 0.9 * velocity + (step + 1)
            weight = weight - 0.5 * velocity
            keep = (1 + step) / (10 + step)
            average = keep * average + (1 - keep) * weight
        assert training.step == 3
        assert np.allclose(flat(training.model.weights), weight, atol=1e-6)
        assert np.allclose(flat(training.average.weights), average, atol=1e-6)

    def test_a_checkpoint_holds_all_that_the_next_step_needs(
        self, tf: Any, dp: Any, tmp_path: Path
    ) -> None:
        first, run = self.training(tf, Recorder(tmp_path)), Recorder(tmp_path)
        first.update([tf.ones((3, 2)), tf.ones(2)])
        first.save()
        second = self.training(tf, run)
        second.resume(tmp_path / "checkpoint-00000001.npz")
        assert run.paid == second.step == 1
        for one in (first, second):
            one.update([tf.ones((3, 2)), tf.ones(2)])
        assert np.array_equal(flat(first.model.weights), flat(second.model.weights))
        assert np.array_equal(flat(first.average.weights), flat(second.average.weights))

    def test_steps_of_another_kind_are_not_gone_on_with(
        self, tf: Any, dp: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.training(tf, Recorder(tmp_path)).save()
        with pytest.raises(SystemExit) as refused:
            self.training(tf, Recorder(tmp_path, 0.75)).resume(tmp_path / "checkpoint-00000000.npz")
        assert refused.value.code == 2
        assert "noise_multiplier 1.5, not 0.75" in capsys.readouterr().err

    def test_any_other_file_is_no_checkpoint(
        self, tf: Any, dp: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "notes.npz").write_bytes(b"not an archive")
        with pytest.raises(SystemExit) as refused:
            self.training(tf, Recorder(tmp_path)).resume(tmp_path / "notes.npz")
        assert refused.value.code == 4
        assert "not a checkpoint of this recipe" in capsys.readouterr().err


class Ran:
    """A recipe run by hand to its end, in a folder of its own."""

    def __init__(self, home: Path, recipe: str, *flags: object) -> None:
        self.folder = home.parent / f"run-{len(list(home.parent.iterdir()))}"
        outside = {k: v for k, v in os.environ.items() if not k.startswith("TRAINDECK_")}
        done = subprocess.run(
            [sys.executable, str(FOLDER / recipe), f"--run-folder={self.folder}", *map(str, flags)],
            env=outside | {"TRAINDECK_HOME": str(home), "TF_NUM_INTRAOP_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
        self.out = done.stdout
        self.checkpoints = sorted((self.folder / "artifacts").glob("checkpoint-*.npz"))

    def spent(self) -> dict[str, Any]:
        """The last event in which the run said what it has released."""
        lines = (self.folder / "events.jsonl").read_text().splitlines()
        last: dict[str, Any] = [e for e in map(json.loads, lines) if e["type"] == "spend"][-1]
        return last

    def points(self, series: str) -> list[float]:
        tail = PointTail(self.folder)
        record = np.dtype([("t", "<f8"), ("step", "<i8"), ("series", "<u4"), ("value", "<f8")])
        points = np.frombuffer(tail.read().data, record)
        found: list[float] = points[points["series"] == tail.names.index(series)]["value"].tolist()
        return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("private")


@pytest.fixture(scope="module")
def images(folder: Path) -> Path:
    """A folder of 40 training images."""
    return write(folder / "data")


@pytest.fixture(scope="module")
def seeded(folder: Path) -> Ran:
    return Ran(folder / "home", "cancer_dp.py", "--steps=20", "--noise-seed=5", "--audit")


class TestRecipes:
    @pytest.mark.parametrize("name", ["mnist_dp.py", "mnist_scatter_dp.py", "cancer_dp.py"])
    def test_are_planned_and_asked_as_those_of_pytorch(self, name: str) -> None:
        ours, theirs = (
            read_recipe(FOLDER.parent / kind / name) for kind in ("tensorflow", "torch")
        )
        assert ours and theirs
        assert ours.accounting == theirs.accounting
        assert ours.defaults() == theirs.defaults()
        assert list(ours.params) == list(theirs.params)

    def test_a_run_says_what_it_is_and_keeps_what_is_private_apart(self, seeded: Ran) -> None:
        assert "self-test passed: gradients, clipping, noise, sampling" in seeded.out
        assert "at delta 1e-05; seeded noise: not private" in seeded.out
        assert len(seeded.checkpoints) == 10
        names = (seeded.folder / "points.names").read_text().split()
        assert {name for name in names if name.startswith(("private/", "train/"))} == {
            "private/loss",
            "private/gradient_norm_median",
            "private/clip_fraction",
            "private/batch_size",
            "private/faulty",
        }
        assert seeded.points("test/accuracy_low") < seeded.points("test/accuracy")

    def test_canaries_leave_their_scores(self, seeded: Ran) -> None:
        with np.load(seeded.folder / "artifacts" / "audit.npz") as scores:
            assert len(scores["included"]) + len(scores["excluded"]) == 5000
            assert scores["included"].mean() > scores["excluded"].mean()

    def test_a_resumed_run_ends_at_the_same_step_and_epsilon(
        self, folder: Path, seeded: Ran
    ) -> None:
        half = seeded.checkpoints[4]
        rest = Ran(
            folder / "home", "cancer_dp.py", "--steps=20", "--noise-seed=5", f"--resume={half}"
        )
        assert "resuming after step 10 of 20" in rest.out
        assert len(rest.checkpoints) == 5
        for run in (seeded, rest):
            assert run.spent()["event"]["steps"] == 20
            assert run.spent()["event"]["sampling_rate"] == 128 / 569
            assert run.spent()["epsilon"] == pytest.approx(3.0, abs=0.01)

    def test_empty_batches_add_noise_and_count(self, folder: Path, images: Path) -> None:
        """With 40 images of the 60,000 that the plan is for, almost every batch is empty."""
        ran = Ran(
            folder / "home",
            "mnist_dp.py",
            f"--data-dir={images}",
            "--batch-size=64",
            f"--epochs={3.5 * 64 / 60000}",
            "--noise-multiplier=1",
            "--no-self-test",
        )
        assert sum(ran.points("private/batch_size")) < 5
        assert ran.spent()["event"]["steps"] == 3
        with np.load(ran.checkpoints[-1]) as state:
            assert state["step"] == 3
            velocity = flat([state[name] for name in state if name.startswith("velocity/")])
        # Noise of three steps with momentum, over the public batch size: not that of the batch.
        expected = 0.1 / 64 * (1 + 0.9**2 + 0.9**4) ** 0.5
        off = np.sqrt(np.mean(velocity**2)) / expected - 1
        assert abs(off) < 5 / (2 * len(velocity)) ** 0.5 + 1e-3

    def test_scattering_trains(self, folder: Path, images: Path) -> None:
        ran = Ran(
            folder / "home",
            "mnist_scatter_dp.py",
            f"--data-dir={images}",
            f"--epochs={2.5 * 4096 / 60000}",
        )
        assert "self-test passed" in ran.out
        with np.load(ran.checkpoints[-1]) as state:
            assert state["average/0"].shape == (3969, 10)

    @pytest.mark.parametrize("name", ["mnist_dp.py", "mnist_scatter_dp.py", "cancer_dp.py"])
    def test_help_imports_neither_a_framework_nor_numpy(self, name: str) -> None:
        script = (
            "import runpy, sys; sys.argv = sys.argv[1:]\n"
            "try: runpy.run_path(sys.argv[0], run_name='__main__')\n"
            "except SystemExit: print(sorted({'tensorflow', 'scipy', 'numpy'} & set(sys.modules)))"
        )
        words = [sys.executable, "-c", script, str(FOLDER / name), "--help"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
        assert "--epsilon FLOAT" in done.stdout
        assert done.stdout.splitlines()[-1] == "[]"
