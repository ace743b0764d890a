"""The other formats, made by the frameworks themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.serving.serving_tools import ask, serving
from traindeck.core.base.home import Home
from traindeck.core.models.bundle import write_signature
from traindeck.core.run import events
from traindeck.recipes.shared.deploy.serving.backends import choose, own
from traindeck.recipes.shared.deploy.serving.errors import Refused
from traindeck.recipes.shared.deploy.serving.messages import message
from traindeck.recipes.shared.deploy.serving.store import Model

pytestmark = pytest.mark.framework

ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)


def saved_model(folder: Path) -> None:
    """`serving_default` doubles rows of three; `parsed` takes tf.Example for the old verbs."""
    import tensorflow as tf

    class Doubles(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
        def double(self, x):  # type: ignore[no-untyped-def]
            return {"y": 2 * x, "sum": tf.reduce_sum(x, axis=1)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
        def parse(self, inputs):  # type: ignore[no-untyped-def]
            spec = {"x": tf.io.FixedLenFeature([3], tf.float32)}
            x = tf.io.parse_example(inputs, spec)["x"]
            classes = tf.tile(tf.constant([["a", "b", "c"]]), [tf.shape(x)[0], 1])
            return {"scores": x, "classes": classes, "outputs": tf.reduce_sum(x, axis=1)}

    module = Doubles()
    signatures = {"serving_default": module.double, "parsed": module.parse}
    tf.saved_model.save(module, str(folder), signatures=signatures)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("saved")
    saved_model(made / "m/1")
    return made


def test_a_saved_model_and_all_its_signatures(base: Path, tmp_path: Path) -> None:
    with serving(tmp_path, Model("m", base / "m")) as server:
        path = "/v1/models/m"
        _, told = ask(server.port, "POST", f"{path}:predict", {"instances": ROWS.tolist()})
        assert told["predictions"][1] == {"y": [6.0, 8.0, 10.0], "sum": 12.0}
        _, told = ask(server.port, "GET", f"{path}/metadata")
        signatures = told["metadata"]["signature_def"]["signature_def"]
        assert signatures["serving_default"]["inputs"]["x"]["name"] == "serving_default_x:0"
        body = {"signature_name": "parsed", "examples": [{"x": [1.0, 2.0, 3.0]}]}
        assert ask(server.port, "POST", f"{path}:classify", body) == (
            200,
            {"results": [[["a", 1.0], ["b", 2.0], ["c", 3.0]]]},
        )
        assert ask(server.port, "POST", f"{path}:regress", body) == (200, {"results": [6.0]})
        shared = {"signature_name": "parsed", "context": {"x": [1.0, 2.0, 3.0]}, "examples": [{}]}
        assert ask(server.port, "POST", f"{path}:regress", shared) == (200, {"results": [6.0]})
        status, told = ask(server.port, "POST", f"{path}:regress", {**body, "examples": [{"z": 1}]})
        assert status == 400
        assert "Feature: x" in told["error"]
        _, told = ask(server.port, "GET", "/v2/models/m")
        assert told["platform"] == "tensorflow"


def test_several_tasks_over_the_same_examples(base: Path, tmp_path: Path) -> None:
    import grpc

    request = message("tensorflow.serving.MultiInferenceRequest")()
    for method in ("classify", "regress"):
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name, task.model_spec.signature_name = "m", "parsed"
    example = request.input.example_list.examples.add()
    example.features.feature["x"].float_list.value.extend([1, 2, 3])
    response = message("tensorflow.serving.MultiInferenceResponse")
    with (
        serving(tmp_path, Model("m", base / "m")) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
    ):
        method = "/tensorflow.serving.PredictionService/MultiInference"
        call = channel.unary_unary(method, response_deserializer=response.FromString)
        told = call(request.SerializeToString(), timeout=60)
    classes, regression = told.results
    assert classes.classification_result.classifications[0].classes[2].label == "c"
    assert regression.regression_result.regressions[0].value == 6.0


@pytest.mark.parametrize("fixed", [False, True], ids=["any batch", "one record"])
def test_litert(base: Path, tmp_path: Path, fixed: bool) -> None:
    import tensorflow as tf

    if fixed:

        @tf.function(input_signature=[tf.TensorSpec([1, 3], tf.float32, name="x")])
        def double(x):  # type: ignore[no-untyped-def]
            return {"y": 2 * x}

        module = tf.Module()
        converter = tf.lite.TFLiteConverter.from_concrete_functions(
            [double.get_concrete_function()], module
        )
    else:
        converter = tf.lite.TFLiteConverter.from_saved_model(
            str(base / "m/1"), signature_keys=["serving_default"]
        )
    (tmp_path / "model.tflite").write_bytes(converter.convert())
    backend = choose.load(tmp_path)
    assert backend.kind == "litert"
    [name] = backend.signatures["serving_default"].inputs
    assert backend.signatures["serving_default"].inputs[name].shape == (-1, 3)
    for rows in (ROWS, ROWS[:1], ROWS):
        made = backend.run("serving_default", {name: rows})
        assert any(np.array_equal(array, 2 * rows) for array in made.values())


def test_a_pt2_of_an_own_run(tmp_path: Path) -> None:
    import torch

    class Doubles(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"y": 2 * x}

    home = Home(tmp_path / "home")
    folder = home.runs / "2abc/artifacts/servable"
    folder.mkdir(parents=True)
    batch = torch.export.Dim("batch")
    program = torch.export.export(
        Doubles(), (), {"x": torch.zeros(2, 3)}, dynamic_shapes={"x": {0: batch}}
    )
    torch.export.save(program, folder / "model.pt2")
    three = {"dtype": "float32", "shape": [3]}
    write_signature(folder, {"x": three}, {"y": three})  # type: ignore[dict-item]
    with pytest.raises(Refused, match="runs code"):
        choose.load(folder, home=home)
    digest = own.sha256(folder / "model.pt2")
    log = home.runs / "2abc/events.jsonl"
    events.append(log, "artifact", path="x", kind="servable", sha256={"model.pt2": digest})
    backend = choose.load(folder, home=home)
    assert backend.kind == "torch"
    assert np.array_equal(backend.run("serving_default", {"x": ROWS})["y"], 2 * ROWS)
