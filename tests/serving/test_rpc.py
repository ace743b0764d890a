"""Both APIs over gRPC, with messages of our own table; real clients are in test_clients.py."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from traindeck.recipes.shared.deploy.serving import tensors
from traindeck.recipes.shared.deploy.serving.errors import Refused
from traindeck.recipes.shared.deploy.serving.kinds import KINDS
from traindeck.recipes.shared.deploy.serving.messages import message
from traindeck.recipes.shared.deploy.serving.server import Serving
from traindeck.recipes.shared.deploy.serving.table import SERVICES

IMAGE = np.arange(32, dtype=np.uint8).reshape(2, 4, 4) % 16
PREDICTION = "tensorflow.serving.PredictionService"
MODEL = "tensorflow.serving.ModelService"
V2 = "inference.GRPCInferenceService"


class Caller:
    def __init__(self, port: int) -> None:
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")

    def __call__(self, service: str, method: str, request: Any) -> Any:
        package = service.rpartition(".")[0]
        told = message(f"{package}.{SERVICES[service][method][1]}")
        data = request if isinstance(request, bytes) else request.SerializeToString()
        call = self.channel.unary_unary(f"/{service}/{method}", lambda sent: sent, told.FromString)
        return call(data, timeout=30)


@pytest.fixture(scope="module")
def call(server: Serving) -> Iterator[Caller]:
    made = Caller(server.grpc_port)
    yield made
    made.channel.close()


def predict(**spec: Any) -> Any:
    request = message("tensorflow.serving.PredictRequest")()
    request.model_spec.name = spec.pop("name", "digits")
    if "version" in spec:
        request.model_spec.version.value = spec.pop("version")
    for key, value in spec.items():
        setattr(request.model_spec, key, value)
    tensors.to_proto(IMAGE, request.inputs["image"])
    return request


class TestTensorFlowServing:
    def test_predict(self, call: Caller) -> None:
        told = call(PREDICTION, "Predict", predict())
        assert told.model_spec.version.value == 2
        assert told.model_spec.signature_name == "serving_default"
        values = tensors.to_array(told.outputs["probabilities"])
        assert values.shape == (2, 10)
        assert np.allclose(values.sum(1), 1, atol=1e-6)
        assert call(PREDICTION, "Predict", predict(version_label="stable")) == call(
            PREDICTION, "Predict", predict(version=1)
        )

    def test_what_is_wrong_has_its_code_and_words(self, call: Caller) -> None:
        wrong = predict()
        wrong.inputs["image"].int_val.pop()
        wrong.inputs["image"].int_val.append(3)
        wrong.inputs["more"].CopyFrom(wrong.inputs["image"])
        filtered = predict()
        filtered.output_filter.append("x")
        bomb = predict()
        bomb.inputs["image"].tensor_shape.dim[0].size = 1 << 50
        for request, code, words in (
            (predict(name="none"), "NOT_FOUND", "Servable not found for request: Latest(none)"),
            (predict(name=""), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
            (predict(version=9), "NOT_FOUND", "Specific(digits, 9)"),
            (predict(version_label="x"), "INVALID_ARGUMENT", "Unrecognized servable version"),
            (predict(signature_name="x"), "FAILED_PRECONDITION", 'key "x" not found'),
            (wrong, "INVALID_ARGUMENT", "Sent extra: {more}"),
            (filtered, "INVALID_ARGUMENT", "output tensor alias not found in signature: x"),
            (bomb, "INVALID_ARGUMENT", "has more than"),
            (b"\xff\xff\xff", "INVALID_ARGUMENT", "the request is no message of this method"),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call(PREDICTION, "Predict", request)
            assert caught.value.code().name == code
            assert words in caught.value.details()

    def test_a_message_that_is_too_large(self, call: Caller) -> None:
        huge = predict()
        huge.inputs["image"].tensor_content = bytes(2 << 20)
        with pytest.raises(grpc.RpcError) as caught:
            call(PREDICTION, "Predict", huge)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED

    def test_a_reload_names_no_folder_that_was_not_meant(self, call: Caller) -> None:
        for folder in ("/etc", "/", "relative"):
            request = message("tensorflow.serving.ReloadConfigRequest")()
            request.config.model_config_list.config.add(name="digits", base_path=folder)
            with pytest.raises(grpc.RpcError) as caught:
                call(MODEL, "HandleReloadConfigRequest", request)
            assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
            assert "is no folder that this server was started with" in caught.value.details()
        assert call(PREDICTION, "Predict", predict())

    def test_metadata_and_status(self, call: Caller) -> None:
        request = message("tensorflow.serving.GetModelMetadataRequest")()
        request.model_spec.name = "digits"
        request.metadata_field.append("signature_def")
        packed = call(PREDICTION, "GetModelMetadata", request).metadata["signature_def"]
        signatures = message("tensorflow.serving.SignatureDefMap").FromString(packed.value)
        assert list(signatures.signature_def["serving_default"].inputs) == ["image"]
        status = message("tensorflow.serving.GetModelStatusRequest")()
        status.model_spec.name = "digits"
        told = call(MODEL, "GetModelStatus", status).model_version_status
        assert [(one.version, one.state) for one in told] == [(2, 30), (1, 30)]


class TestOpenInference:
    def request(self, **changes: Any) -> Any:
        made = message("inference.ModelInferRequest")(model_name="digits", id="7")
        one = made.inputs.add(name="image", datatype="UINT8", shape=[2, 4, 4])
        one.contents.uint_contents.extend(IMAGE.ravel().tolist())
        for key, value in changes.items():
            setattr(made, key, value)
        return made

    def test_values_and_bytes_say_the_same(self, call: Caller) -> None:
        told = call(V2, "ModelInfer", self.request())
        assert (told.model_version, told.id) == ("2", "7")
        raw = self.request()
        raw.inputs[0].ClearField("contents")
        raw.raw_input_contents.append(IMAGE.tobytes())
        assert call(V2, "ModelInfer", raw) == told
        values = np.frombuffer(told.raw_output_contents[0], np.float32).reshape(2, 10)
        assert np.allclose(values.sum(1), 1, atol=1e-6)

    def test_what_is_wrong_is_said(self, call: Caller) -> None:
        surplus = self.request()
        surplus.inputs[0].contents.uint_contents.append(1)
        large = self.request()
        large.inputs[0].contents.uint_contents[0] = 300
        raw = self.request()
        raw.raw_input_contents.extend([b"a", b"b"])
        for request, words in (
            (self.request(model_version="x"), "'x' is no version"),
            (surplus, "has 33 values for the shape [2, 4, 4]"),
            (large, "has values that are no UINT8"),
            (raw, "1 inputs, 2 raw_input_contents"),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call(V2, "ModelInfer", request)
            assert words in caught.value.details()

    def test_what_there_is(self, call: Caller) -> None:
        assert call(V2, "ServerLive", b"").live
        assert call(V2, "ServerReady", b"").ready
        ready = message("inference.ModelReadyRequest")
        assert call(V2, "ModelReady", ready(name="digits")).ready
        assert not call(V2, "ModelReady", ready(name="none")).ready
        assert call(V2, "ServerMetadata", b"").name == "traindeck"
        told = call(V2, "ModelMetadata", message("inference.ModelMetadataRequest")(name="digits"))
        assert (told.inputs[0].name, list(told.inputs[0].shape)) == ("image", [-1, 4, 4])


def test_grpcs_own_health(call: Caller) -> None:
    ask = message("grpc.health.v1.HealthCheckRequest")
    assert call("grpc.health.v1.Health", "Check", ask()).status == 1
    assert call("grpc.health.v1.Health", "Check", ask(service="none")).status == 2


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.word)
def test_each_type_survives_the_way_there_and_back(kind: Any) -> None:
    values = [b"a", b"", b"\xff"] if kind.is_text else [0, 1, 1]
    array = np.array(values, kind.dtype).reshape(3, 1)
    proto = message("tensorflow.TensorProto")()
    tensors.to_proto(array, proto)
    assert np.array_equal(tensors.to_array(proto), array)
    if not kind.is_text:
        short = message("tensorflow.TensorProto")(dtype=kind.number)
        short.tensor_content = array.tobytes()
        for size in array.shape:
            short.tensor_shape.dim.add().size = size
        assert np.array_equal(tensors.to_array(short), array)


def test_one_value_stands_for_all_that_follow() -> None:
    proto = message("tensorflow.TensorProto")(dtype=1, float_val=[1, 2])
    proto.tensor_shape.dim.add().size = 4
    assert tensors.to_array(proto).tolist() == [1, 2, 2, 2]
    proto.tensor_shape.dim[0].size = 1 << 23
    with pytest.raises(Refused, match="2 values for the shape"):
        tensors.to_array(proto)


def test_a_server_of_onnx_imports_no_framework() -> None:
    code = (
        "import sys, traindeck.recipes.shared.deploy.serving.server,"
        " traindeck.recipes.shared.deploy.serving.backends.onnx;"
        "print({'tensorflow', 'torch', 'keras', 'ai_edge_litert'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
