"""Run by ovmsclient's environment: TensorFlow Serving's API over gRPC and REST."""

import json
import sys

import numpy as np
from ovmsclient import make_grpc_client, make_http_client

http, rpc = sys.argv[1:3]
image = np.arange(32, dtype=np.uint8).reshape(2, 4, 4) % 16
told = {"values": [], "errors": []}
for client in (
    make_grpc_client(f"127.0.0.1:{rpc}"),
    make_http_client(f"127.0.0.1:{http}"),
):
    assert client.get_model_status("digits")[2]["state"] == "AVAILABLE"
    assert client.get_model_metadata("digits")
    answer = client.predict({"image": image}, "digits")
    answer = answer if isinstance(answer, np.ndarray) else answer["probabilities"]
    told["values"].append(answer.tolist())
    try:
        client.predict({"wrong": image}, "digits")
    except Exception as error:
        told["errors"].append(type(error).__name__)
print(json.dumps(told))
