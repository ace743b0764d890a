"""A small transformer trains privately in each framework, and the self-test looks at it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.private_steps import Run
from traindeck.recipes.shared.training.dp.loop import PrivateStep, private_steps
from traindeck.recipes.shared.training.dp.randomness import Randomness
from traindeck.recipes.shared.training.loop import Tested as Outcome

pytestmark = [pytest.mark.framework, pytest.mark.slow]
RECORDS, WORDS, LENGTH, SIZE, BATCH, STEPS = 200, 12, 5, 8, 20, 3
PASSED = "self-test passed: gradients, clipping, noise, sampling; the recipe's own step taken 136"


class Kept(Run):
    """A run that keeps its checkpoints in a folder."""

    def __init__(self, folder: Path, noise: float = 1.1) -> None:
        super().__init__(noise, BATCH / RECORDS, STEPS)
        self.artifacts, self.folder = folder, None

    def seal(self, path: Path) -> None: ...

    def artifact(self, path: Path, kind: str) -> None: ...


def records() -> tuple[Any, Any]:
    """Sequences of words, and whether the first word comes again."""
    ids = np.random.default_rng(0).integers(0, WORDS, (RECORDS, LENGTH))
    return ids, (ids[:, 1:] == ids[:, :1]).any(1).astype(np.int64)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Steps this small gain nothing from a second core."""
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def torch_classifier() -> Any:
    import torch
    from torch import nn

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.places = nn.Embedding(WORDS, SIZE), nn.Embedding(LENGTH, SIZE)
            layer = nn.TransformerEncoderLayer(SIZE, 2, 16, dropout=0.0, batch_first=True)
            self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            self.last = nn.Linear(SIZE, 2)

        def forward(self, ids: Any) -> Any:
            places = torch.arange(LENGTH, device=ids.device).expand(len(ids), -1)
            return self.last(self.body(self.words(ids) + self.places(places)).mean(1))

    torch.manual_seed(0)
    return Classifier()


def torch_training(run: Any, model: Any, way: str) -> Any:
    import torch

    from traindeck.recipes.shared.training.dp.torch_adam import AdamBC
    from traindeck.recipes.shared.training.dp.torch_state import Optimized, Training

    if way == "SGD":
        return Training(run, model, 0.5, 0.9, 0.95)
    trained = [p for p in model.parameters() if p.requires_grad]
    plan = run.plan
    noise = plan.mechanism.noise_multiplier * plan.clipping_norm / plan.batch_size
    adam = AdamBC(trained, noise, lr=0.01) if way == "AdamBC" else torch.optim.Adam(trained, 0.01)
    return Optimized(run, model, adam, 0.95)


def trained_in_torch(folder: Path, model: Any, way: str) -> Any:
    import torch

    from traindeck.recipes.shared.training.dp import torch as dp_torch

    run: Any = Kept(folder)
    ids, y = map(torch.from_numpy, records())

    def examples(chosen: Sequence[int]) -> tuple[Any, Any]:
        indices = torch.as_tensor(chosen, dtype=torch.long)
        return ids[indices], y[indices]

    training = torch_training(run, model, way)
    clipped = dp_torch.ClippedGradients(model, run.plan.clipping_norm)
    test = dp_torch.self_test(clipped, RECORDS, examples)

    def take(step: PrivateStep) -> None:
        result = clipped(*examples(step.randomness.poisson_batch(RECORDS, step.rate)))
        training.update(dp_torch.noisy_mean(result.sums, step.noise, BATCH, step.randomness))
        step.gave(result)

    for step in private_steps(run, training, Randomness(), lambda: Outcome(0.0, 0.0), test):
        take(step)
    return training


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("way", ["SGD", "Adam", "AdamBC"])
def test_in_pytorch(tmp_path: Path, way: str, capsys: pytest.CaptureFixture[str]) -> None:
    training = trained_in_torch(tmp_path, torch_classifier(), way)
    assert training.step == STEPS
    assert PASSED in capsys.readouterr().out
    assert len(list(tmp_path.iterdir())) == STEPS


@pytest.mark.usefixtures("one_thread")
def test_in_pytorch_by_adapters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    from traindeck.recipes.shared.training.dp.torch_lora import lora

    model = torch_classifier()
    lora(model, 2, 4.0, ["linear1", "linear2"])
    before = {name: p.clone() for name, p in model.named_parameters()}
    training = trained_in_torch(tmp_path, model, "SGD")
    assert PASSED in capsys.readouterr().out
    for name, parameter in training.model.named_parameters():
        assert torch.equal(parameter, before[name]) != parameter.requires_grad


@pytest.mark.usefixtures("one_thread")
def test_weights_that_are_used_beside_their_layer_are_seen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a classifier of words by the embedding's own table, which no layer is called for."""
    from torch import nn

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(WORDS, SIZE)

        def forward(self, ids: Any) -> Any:
            return self.words(ids).mean(1) @ self.words.weight[:2].T

    with pytest.raises(SystemExit):
        trained_in_torch(tmp_path, Tied(), "SGD")
    assert "self-test: per-example gradients: the clipped sum" in capsys.readouterr().err


def keras_classifier(tf: Any) -> Any:
    k, ops = tf.keras.layers, tf.keras.ops
    tf.keras.utils.set_random_seed(0)
    ids = k.Input((LENGTH,), dtype="int32")
    places = ops.cumsum(ops.ones_like(ids), axis=1) - 1
    x = k.Embedding(WORDS, SIZE)(ids) + k.Embedding(LENGTH, SIZE)(places)
    h = k.LayerNormalization()(x)
    x = x + k.MultiHeadAttention(2, SIZE // 2)(h, h)
    h = k.Dense(2 * SIZE, activation="gelu")(k.LayerNormalization()(x))
    x = x + k.Dense(SIZE)(h)
    return tf.keras.Model(ids, k.Dense(2)(k.GlobalAveragePooling1D()(x)))


def test_in_tensorflow(
    tmp_path: Path, tf: Any, dp: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    from traindeck.recipes.shared.training.dp.tf_state import Training

    run: Any = Kept(tmp_path)
    ids, y = map(tf.constant, records())

    def examples(chosen: Sequence[int]) -> tuple[Any, Any]:
        indices = tf.constant(chosen, tf.int32)
        return tf.gather(ids, indices), tf.gather(y, indices)

    model = keras_classifier(tf)
    training = Training(run, model, 0.5, 0.9, 0.95)
    clipped = dp.ClippedGradients(model, run.plan.clipping_norm)
    test = dp.self_test(clipped, RECORDS, examples)
    for step in private_steps(run, training, Randomness(), lambda: Outcome(0.0, 0.0), test):
        result = clipped(*examples(step.randomness.poisson_batch(RECORDS, step.rate)))
        training.update(dp.noisy_mean(result.sums, step.noise, BATCH, step.randomness))
        step.gave(result)
    assert training.step == STEPS
    assert PASSED in capsys.readouterr().out
    assert len(list(tmp_path.iterdir())) == STEPS
