"""Run by tensorflow-serving-api's environment: all six calls by the official stubs.

TensorFlow itself is kept out: the stubs need its messages alone.
"""

import importlib.util
import json
import sys
import types

import numpy as np

known = importlib.util.find_spec("tensorflow")
stand_in = types.ModuleType("tensorflow")
stand_in.__path__ = list(known.submodule_search_locations)
sys.modules["tensorflow"] = stand_in

import grpc  # noqa: E402
from tensorflow_serving.apis import (  # noqa: E402
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

port, base = sys.argv[1:3]
channel = grpc.insecure_channel(f"127.0.0.1:{port}")
prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
models = model_service_pb2_grpc.ModelServiceStub(channel)


def refused(call, request):
    try:
        call(request, 30)
    except grpc.RpcError as error:
        return [error.code().name, error.details()]
    raise SystemExit("it was not refused")


image = np.arange(32, dtype=np.uint8).reshape(2, 4, 4) % 16
request = predict_pb2.PredictRequest()
request.model_spec.name = "digits"
tensor = request.inputs["image"]
tensor.dtype = 4
for size in image.shape:
    tensor.tensor_shape.dim.add(size=size)
tensor.tensor_content = image.tobytes()
told = {"predict": len(prediction.Predict(request, 30).outputs["probabilities"].float_val)}

metadata = get_model_metadata_pb2.GetModelMetadataRequest()
metadata.model_spec.name = "digits"
metadata.metadata_field.append("signature_def")
packed = prediction.GetModelMetadata(metadata, 30).metadata["signature_def"]
signatures = get_model_metadata_pb2.SignatureDefMap()
assert packed.Unpack(signatures)
told["inputs"] = list(signatures.signature_def["serving_default"].inputs)

status = get_model_status_pb2.GetModelStatusRequest()
status.model_spec.name = "digits"
told["status"] = [
    [one.version, get_model_status_pb2.ModelVersionStatus.State.Name(one.state)]
    for one in models.GetModelStatus(status, 30).model_version_status
]

classify = classification_pb2.ClassificationRequest()
classify.model_spec.name = "digits"
classify.input.example_list.examples.add()
told["classify"] = refused(prediction.Classify, classify)
regress = regression_pb2.RegressionRequest()
regress.model_spec.name = "digits"
told["regress"] = refused(prediction.Regress, regress)
several = inference_pb2.MultiInferenceRequest()
several.tasks.add(method_name="x").model_spec.name = "digits"
told["several"] = refused(prediction.MultiInference, several)

config = model_management_pb2.ReloadConfigRequest()
one = config.config.model_config_list.config.add(name="digits", base_path=base)
one.version_labels["canary"] = 1
one.model_version_policy.all.SetInParent()
told["reload"] = models.HandleReloadConfigRequest(config, 30).status.error_code
request.model_spec.version_label = "canary"
told["label"] = prediction.Predict(request, 30).model_spec.version.value
request.model_spec.version_label = "gone"
told["no label"] = refused(prediction.Predict, request)
print(json.dumps(told))
