"""Run by tritonclient's environment: KServe v2 over HTTP, with and without bytes, and gRPC."""

import json
import sys

import numpy as np
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

http, rpc = sys.argv[1:3]
image = np.arange(32, dtype=np.uint8).reshape(2, 4, 4) % 16
told = {"values": [], "errors": []}
for module, address in ((tritonclient.http, http), (tritonclient.grpc, rpc)):
    client = module.InferenceServerClient(f"127.0.0.1:{address}")
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("digits")
    assert not client.is_model_ready("none")
    given = module.InferInput("image", list(image.shape), "UINT8")
    given.set_data_from_numpy(image)
    ways = [{"binary_data": True}, {"binary_data": False}] if address == http else [{}]
    for way in ways:
        wanted = [module.InferRequestedOutput("probabilities", **way)]
        answer = client.infer("digits", [given], outputs=wanted, request_id="7")
        told["values"].append(answer.as_numpy("probabilities").tolist())
    if address == http:
        given.set_data_from_numpy(image, binary_data=False)
        answer = client.infer("digits", [given])
        told["values"].append(answer.as_numpy("probabilities").tolist())
    try:
        client.infer("none", [given])
    except InferenceServerException as error:
        told["errors"].append([error.status(), error.message()])
    client.close()
print(json.dumps(told))
