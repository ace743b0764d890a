"""What a user's own script names, from the run to a bundle: each kind with a real file."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import wait_for_state
from tests.serving.serving_tools import ask
from traindeck.core.base.home import Home
from traindeck.core.models.bundle import read_bundle
from traindeck.core.run.folder import RunFolder

pytestmark = [pytest.mark.framework, pytest.mark.slow]

Run = Callable[..., subprocess.CompletedProcess[str]]

NET = """\
from dataclasses import dataclass

import torch
from torch import nn

print("the code runs")


@dataclass
class Sizes:
    measures: int = 3
    classes: int = 4


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        sizes = Sizes()
        self.layer = nn.Linear(sizes.measures, sizes.classes)

    def forward(self, x):
        return torch.softmax(self.layer(x), 1)
"""
WEIGHTS = """\
import sys
sys.path.insert(0, {folder!r})
import torch
from net import Net
from safetensors.torch import save_model
from traindeck.core import track

with track.start() as run:
    torch.manual_seed(0)
    save_model(Net(), run.artifacts / "net.safetensors")
    run.servable(
        run.artifacts / "net.safetensors",
        {{"x": {{"dtype": "float32", "shape": [3]}}}},
        {{"probabilities": {{"dtype": "float32", "shape": [4], "labels": list("abcd")}}}},
        code={folder!r} + "/net.py:Net",
    )
"""
KERAS = """\
import keras
from traindeck.core import track

with track.start() as run:
    keras.utils.set_random_seed(0)
    layers = [keras.Input((3,), name="x"), keras.layers.Dense(4, "softmax", name="probabilities")]
    model = keras.Sequential(layers)
    model.save(run.artifacts / "mine.keras")
    run.servable(run.artifacts / "mine.keras")
"""
TFLITE = """\
import tensorflow as tf
from traindeck.core import track

with track.start() as run:
    tf.keras.utils.set_random_seed(0)
    layers = [tf.keras.Input((3,), name="x"), tf.keras.layers.Dense(4, "softmax")]
    converter = tf.lite.TFLiteConverter.from_keras_model(tf.keras.Sequential(layers))
    (run.artifacts / "mine.tflite").write_bytes(converter.convert())
    run.servable(run.artifacts / "mine.tflite")
"""


@pytest.fixture
def records(tmp_path: Path) -> Path:
    x = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    np.savez(tmp_path / "test.npz", x=x, labels=x.argmax(1))
    return tmp_path / "test.npz"


def ran(traindeck: Run, folder: Path, text: str) -> str:
    script = folder / "mine.py"
    script.write_text(text)
    found: str = json.loads(traindeck("run", str(script), "--wait", "--json").stdout)["id"]
    return found


def exported(traindeck: Run, run: str, records: Path, *words: str) -> tuple[Path, Any]:
    done = traindeck("export", run, "--test", str(records), "--as", "own", *words, "--json")
    place = Path(json.loads(done.stdout)["path"])
    return place, read_bundle(place)


def test_weights_and_code_become_a_program_and_onnx_and_are_served(
    traindeck: Run, home: Home, tmp_path: Path, records: Path
) -> None:
    (tmp_path / "net.py").write_text(NET)
    run = ran(traindeck, tmp_path, WEIGHTS.format(folder=str(tmp_path)))
    (tmp_path / "net.py").unlink()  # what the run recorded is what is built
    place, bundle = exported(traindeck, run, records)
    assert set(bundle["formats"]) == {"pt2", "onnx"}
    for form in bundle["formats"].values():
        assert form["parity"]["agreement"] == 1.0 and form["parity"]["largest_error"] < 1e-6
        assert form["parity"]["records"] == 300 and form["latency"]["batched"]
    assert bundle["signature"]["outputs"]["probabilities"]["labels"] == list("abcd")
    assert str(tmp_path).encode() not in (place / "model.pt2").read_bytes()
    for format in ("onnx", "pt2"):  # the .pt2 is by the hash that the export recorded
        words = ("--format", format, "--port", "0", "--grpc-port", "0", "--json")
        told = json.loads(traindeck("serve", "own", *words).stdout)
        port = int(told["http"].rpartition(":")[2])
        status, answer = ask(port, "POST", "/v1/models/own:predict", {"instances": [[1, 2, 3]]})
        assert status == 200 and sum(answer["predictions"][0]) == pytest.approx(1)
        traindeck("stop", told["id"])
        wait_for_state(RunFolder(home.runs / told["id"]), "stopped")


def test_code_that_no_run_recorded_is_never_run(
    traindeck: Run, home: Home, tmp_path: Path, records: Path
) -> None:
    (tmp_path / "net.py").write_text(NET)
    run = ran(traindeck, tmp_path, WEIGHTS.format(folder=str(tmp_path)))
    left = home.runs / run / "artifacts/servable"
    touched = tmp_path / "it ran"
    words = ("export", run, "--test", str(records))
    foreign = f"open({str(touched)!r}, 'w')\n{NET}"
    (left / "model.py").write_text(foreign)
    done = traindeck(*words, code=1)
    assert "nothing of it is loaded" in done.stdout + done.stderr
    done = traindeck(*words, "--file", str(left / "model.safetensors"), code=2)
    assert "weights are no model without code" in done.stdout + done.stderr
    done = traindeck("serve", str(left), "--port", "0", "--grpc-port", "0", code=3)
    assert "nor a model" in done.stderr
    assert not touched.exists()


@pytest.mark.parametrize(
    ("script", "formats"),
    [(KERAS, {"saved_model", "litert", "onnx"}), (TFLITE, {"litert"})],
    ids=["keras", "tflite"],
)
def test_tensorflows_files_are_exported(
    traindeck: Run, tmp_path: Path, records: Path, script: str, formats: set[str]
) -> None:
    run = ran(traindeck, tmp_path, script)
    _, bundle = exported(traindeck, run, records)
    assert set(bundle["formats"]) == formats
    for form in bundle["formats"].values():
        assert form["parity"]["agreement"] == 1.0 and form["parity"]["largest_error"] < 1e-5
    [output] = bundle["signature"]["outputs"].values()
    assert output == {"dtype": "float32", "shape": [4]}
    kind = "mine.keras" if "saved_model" in formats else "mine.tflite"
    _, named = exported(traindeck, run, records, "--file", kind, "--to", "litert")
    assert named["version"] == 2 and set(named["formats"]) == formats - {"onnx"}, "by its name too"
