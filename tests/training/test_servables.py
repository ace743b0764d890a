"""What is published gives what was trained: raw measures in, the same decisions out."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.training.idxfiles import drawings
from traindeck.core import track
from traindeck.core.models import servable
from traindeck.recipes.shared.deploy import trial
from traindeck.recipes.shared.federated.job import mlp
from traindeck.recipes.shared.federated.scientist import publishing
from traindeck.recipes.shared.training import servable_torch
from traindeck.recipes.shared.training.data import cancer, digits, products, scattering

pytestmark = pytest.mark.framework


@pytest.fixture
def run(tmp_path: Path) -> track.Run:
    return track.Run(folder=tmp_path / "runs" / "abc")


def answers(run: track.Run, **inputs: Any) -> Any:
    """The probabilities that the run's servable gives."""
    assert run.folder is not None
    found = servable.find(run.folder)
    ask, free = trial.RUNTIMES[found.kind](str(found.model))
    assert free
    given = ask(inputs)
    assert list(given) == ["probabilities"]
    return given["probabilities"]


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_features_by_products_are_those_of_training(framework: str, tf: Any) -> None:
    images = drawings(20)[0]
    wanted = scattering.normalised(scattering.scatter(images))
    halves = scattering.normalised(scattering.scatter(images).astype(np.float16))
    floats = images.astype(np.float32)
    if framework == "torch":
        made = products.features(torch, torch.from_numpy)(torch.from_numpy(floats)).numpy()
    else:
        made = products.features(tf, tf.constant)(tf.constant(floats)).numpy()
    assert made.shape == (20, products.FEATURES)
    assert np.abs(made - wanted).max() < 2e-4
    # What training reads was rounded: that differs by more than the products do.
    assert np.abs(made - halves).max() < 2e-2


def test_a_pt2_takes_any_number_of_records_and_keeps_no_example_and_no_path(
    run: track.Run,
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    servable_torch.leave(run, model, lambda x: x.flatten(1) / 16, digits.SERVED)
    images = digits.load().test_x
    with torch.no_grad():
        logits = model(torch.from_numpy(images).flatten(1).float() / 16)
        wanted = torch.softmax(logits, 1).numpy()
    for count in (1, 2, 359):
        assert np.abs(answers(run, image=images[:count]) - wanted[:count]).max() < 1e-6
    [path] = run.artifacts.glob("servable/*.pt2")
    program = torch.export.load(path)
    assert not program.example_inputs[1]["image"].any()
    with zipfile.ZipFile(path) as archive:
        whole = b"".join(archive.read(name) for name in archive.namelist())
    assert b"test_servables" not in whole and b"servable_torch.py" not in whole


def test_a_saved_model_can_be_asked_with_bytes_and_with_floats(run: track.Run, tf: Any) -> None:
    from traindeck.recipes.shared.training import servable_tf

    layers = tf.keras.layers
    model = tf.keras.Sequential([layers.Input((64,)), layers.Dense(10)])
    servable_tf.leave(run, model, lambda x: tf.reshape(x, (-1, 64)) / 16, digits.SERVED)
    images = digits.load().test_x
    wanted = tf.nn.softmax(model(images.reshape(-1, 64).astype(np.float32) / 16)).numpy()
    for count in (1, 359):
        assert np.abs(answers(run, image=images[:count]) - wanted[:count]).max() < 1e-6
    loaded = tf.saved_model.load(str(run.artifacts / "servable"))
    floats = loaded.signatures["float"](image=tf.constant(images[:5], tf.float32))
    assert np.abs(floats["probabilities"].numpy() - wanted[:5]).max() < 1e-6


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
def test_a_federations_network_is_its_row_of_weights(
    framework: str, run: track.Run, tf: Any
) -> None:
    row = mlp.first(64, seed=3)
    publishing.network(run, row, "digits", framework)
    data = digits.load()
    _, accuracy = mlp.evaluate(row, data.test_x.reshape(-1, 64) / 16.0, data.test_y)
    said = answers(run, image=data.test_x).argmax(1)
    assert float((said == data.test_y).mean()) == pytest.approx(accuracy)


def test_a_federation_whose_framework_is_not_here_is_not_lost(
    run: track.Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    publishing.network(run, mlp.first(64, seed=3), "digits", "torch")
    assert "warning: no servable: ModuleNotFoundError" in capsys.readouterr().out


def test_a_logistic_regression_of_shares_takes_raw_measures(run: track.Run) -> None:
    weights = np.random.default_rng(0).normal(size=31)
    publishing.logistic(run, weights, "cancer")
    raw, _ = cancer.measured()
    patients = cancer.load()
    wanted = patients.test_x @ weights[:-1] + weights[-1] > 0
    said = answers(run, measures=raw[: len(wanted)].astype(np.float32))
    assert said.shape == (len(wanted), 2)
    assert (said.argmax(1) == wanted).mean() > 0.99
