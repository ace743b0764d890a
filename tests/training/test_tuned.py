"""EfficientNet-Lite0 trained itself, in both frameworks: what learns, what stays, its gradients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.recipes.random_weights import lite0_tensors, safetensors
from tests.training.dp_tf_models import clip_and_sum, flat, off
from traindeck.recipes.shared.training.pretrained import lite0, weights

pytestmark = pytest.mark.framework
SIZE, COUNT = 28, 3


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> lite0.Network:
    path = safetensors(tmp_path_factory.mktemp("tuned") / "lite0.safetensors", lite0_tensors())
    return lite0.network(weights.find(lite0.PUBLISHED, str(path), None))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small parts on many threads wait for each other, and longer where others work."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def batch() -> tuple[Any, Any]:
    chance = np.random.default_rng(0)
    return chance.integers(0, 256, (COUNT, SIZE, SIZE)).astype(np.float32), np.arange(COUNT)


def stir(values: Any) -> Any:
    """What else is zero at first, so that no mistake hides behind it."""
    return np.random.default_rng(values.size).normal(0, 0.05, values.shape).astype(np.float32)


class TestTorch:
    def test_adapters_leave_logits_as_they_were_and_alone_learn(self, net: lite0.Network) -> None:
        torch = pytest.importorskip("torch")
        from traindeck.recipes.shared.training.pretrained import head_torch
        from traindeck.recipes.shared.training.pretrained.lite0_torch import Features
        from traindeck.recipes.shared.training.pretrained.tuned_torch import Tuned

        model = Tuned(net, "lora", SIZE, seed=1)
        x, y = map(torch.from_numpy, batch())
        with torch.no_grad():
            wanted = model.classes(lite0.LENGTH * Features(net, SIZE)(x))
            assert float((model(x) - wanted).abs().max()) < 1e-5
        was = {name: p.detach().clone() for name, p in model.named_parameters()}
        learns = {name for name, p in model.named_parameters() if p.requires_grad}
        assert all(".up." in n or ".down." in n or n.startswith("classes.") for n in learns)
        optimizer = torch.optim.SGD(head_torch.trained(model), 0.1)
        for _ in range(2):  # `down` learns once `up` is no longer zero
            head_torch.descend(model, optimizer, x, y, part=2)
        moved = {n for n, p in model.named_parameters() if not torch.equal(p, was[n])}
        assert moved == learns

    @pytest.mark.parametrize("chosen", ["lora", "all"])
    def test_clipped_sums_are_those_of_one_by_one(self, net: lite0.Network, chosen: str) -> None:
        torch = pytest.importorskip("torch")
        from traindeck.recipes.shared.training.dp import torch as dp_torch
        from traindeck.recipes.shared.training.pretrained import head_torch
        from traindeck.recipes.shared.training.pretrained.tuned_torch import Tuned

        model = Tuned(net, chosen, SIZE, seed=1)
        parameters = head_torch.trained(model)
        for parameter in parameters:
            if not parameter.any():
                parameter.data.copy_(torch.from_numpy(stir(parameter.detach().numpy())))
        x, y = map(torch.from_numpy, batch())

        def alone(place: int) -> Any:
            # Of a batch of as many, as the parts of `alike` are: a last bit may turn a ReLU.
            logits = model(x[place : place + 1].repeat(4, 1, 1))[:1]
            loss = torch.nn.functional.cross_entropy(logits, y[place : place + 1])
            return flat(torch.autograd.grad(loss, parameters))

        gradients = [alone(place) for place in range(COUNT)]
        norm = float(np.median([np.linalg.norm(g) for g in gradients]))
        clipped = dp_torch.ClippedGradients(model, norm, micro_batch=4, alike=True)
        got = clipped(x, y)
        assert off(flat(got.sums), clip_and_sum(gradients, norm)) < 1e-5
        assert len(got.norms) == COUNT and got.faulty == 0

    def test_an_example_gives_the_same_whoever_is_beside_it(self, net: lite0.Network) -> None:
        torch = pytest.importorskip("torch")
        from traindeck.recipes.shared.training.dp import torch as dp_torch
        from traindeck.recipes.shared.training.pretrained.tuned_torch import Tuned

        x, y = map(torch.from_numpy, batch())
        clipped = dp_torch.ClippedGradients(
            Tuned(net, "all", SIZE, seed=1), 1.0, micro_batch=4, alike=True
        )
        together, others = clipped(x, y), clipped(x[1:], y[1:])
        assert torch.equal(together.norms[1:], others.norms)


class TestTensorFlow:
    def test_adapters_leave_logits_as_they_were_and_alone_learn(
        self, net: lite0.Network, tf: Any
    ) -> None:
        from traindeck.recipes.shared.training.pretrained import head_tf, lite0_tf
        from traindeck.recipes.shared.training.pretrained.tuned_tf import tuned

        model = tuned(net, "lora", SIZE, seed=1)
        x, y = map(tf.constant, batch())
        seen = lite0_tf.features_model(net, SIZE)(x)
        wanted = model.layers[-1](lite0.LENGTH * seen)
        assert np.abs(model(x) - wanted).max() < 1e-5
        model.compile(tf.keras.optimizers.SGD(0.1))
        was = [np.asarray(v).copy() for v in model.weights]
        descend = head_tf.descending(model, part=2)
        for _ in range(2):
            descend(x, tf.cast(y, tf.int32))
        learns = {id(v) for v in model.trainable_variables}
        for before, variable in zip(was, model.weights, strict=True):
            assert (before == np.asarray(variable)).all() == (id(variable) not in learns)
        assert len(learns) == 2 + 2 * len(singles(net))

    @pytest.mark.parametrize("chosen", ["lora", "all"])
    def test_clipped_sums_are_those_of_one_by_one(
        self, net: lite0.Network, tf: Any, chosen: str
    ) -> None:
        from traindeck.recipes.shared.training.dp import tf as dp_tf
        from traindeck.recipes.shared.training.pretrained.tuned_tf import tuned

        model = tuned(net, chosen, SIZE, seed=1)
        for variable in model.trainable_variables:
            if not np.any(variable):
                variable.assign(stir(np.asarray(variable)))
        x, y = map(tf.constant, batch())
        y = tf.cast(y, tf.int32)

        @tf.function
        def alone(one: Any, label: Any) -> Any:
            with tf.GradientTape() as tape:
                logits = model(tf.repeat(one, 4, 0), training=True)[:1]
                loss = dp_tf.cross_entropy(label, logits)
            return tape.gradient(loss, model.trainable_variables)

        places = [slice(place, place + 1) for place in range(COUNT)]
        gradients = [flat(alone(x[place], y[place])) for place in places]
        norm = float(np.median([np.linalg.norm(g) for g in gradients]))
        clipped = dp_tf.ClippedGradients(model, norm, micro_batch=4, alike=True)
        assert off(flat(clipped(x, y).sums), clip_and_sum(gradients, norm)) < 1e-5


def singles(net: lite0.Network) -> list[lite0.Convolution]:
    blocks = net.blocks[: max(lite0.TAKEN) + 1]
    return [one for block in blocks for one in block.convolutions if one.single]


def test_both_frameworks_begin_alike(net: lite0.Network, tf: Any) -> None:
    torch = pytest.importorskip("torch")
    from traindeck.recipes.shared.training.pretrained.tuned_tf import tuned
    from traindeck.recipes.shared.training.pretrained.tuned_torch import Tuned

    x, _ = batch()
    ours, theirs = Tuned(net, "lora", SIZE, seed=3), tuned(net, "lora", SIZE, seed=3)
    with torch.no_grad():
        assert np.abs(ours(torch.from_numpy(x)).numpy() - theirs(x).numpy()).max() < 1e-4
    downs = [layer.down.weight.detach().numpy() for layer in ours.modules() if hasattr(layer, "up")]
    shape = (1, 1, downs[0].shape[1], lite0.RANK)
    first = next(np.asarray(v) for v in theirs.trainable_variables if v.shape == shape)
    assert (downs[0][:, :, 0, 0] == first[0, 0].T).all()
