"""KServe v2, the Open Inference Protocol, over REST: JSON and binary tensors."""

from __future__ import annotations

import http.client
import json
from typing import Any

import numpy as np
import pytest

from tests.serving.serving_tools import ask, error
from traindeck.recipes.shared.deploy.serving import v2
from traindeck.recipes.shared.deploy.serving.errors import Refused
from traindeck.recipes.shared.deploy.serving.kinds import BY_V2
from traindeck.recipes.shared.deploy.serving.server import Serving

IMAGE = np.arange(32, dtype=np.uint8).reshape(2, 4, 4) % 16
INFER = "/v2/models/digits/infer"


def given(**changes: Any) -> dict[str, Any]:
    one = {"name": "image", "datatype": "UINT8", "shape": [2, 4, 4], "data": IMAGE.tolist()}
    return {"inputs": [{**one, **changes}]}


def binary(port: int, document: dict[str, Any], tail: bytes) -> tuple[int, dict[str, str], bytes]:
    head = json.dumps(document).encode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Inference-Header-Content-Length": str(len(head))}
    connection.request("POST", INFER, head + tail, headers)
    answer = connection.getresponse()
    got = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, got


def test_json_and_bytes_say_the_same_as_tensorflow_servings_api(server: Serving) -> None:
    _, rows = ask(server.port, "POST", "/v1/models/digits:predict", {"instances": IMAGE.tolist()})
    status, told = ask(server.port, "POST", INFER, {**given(), "id": "7"})
    assert status == 200
    assert (told["model_name"], told["model_version"], told["id"]) == ("digits", "2", "7")
    [out] = told["outputs"]
    assert (out["name"], out["datatype"], out["shape"]) == ("probabilities", "FP32", [2, 10])
    assert np.allclose(np.reshape(out["data"], (2, 10)), rows["predictions"], atol=1e-6)

    sized = {"binary_data_size": 32}
    document = {
        "inputs": [{"name": "image", "datatype": "UINT8", "shape": [2, 4, 4], "parameters": sized}],
        "outputs": [{"name": "probabilities", "parameters": {"binary_data": True}}],
    }
    status, headers, body = binary(server.port, document, IMAGE.tobytes())
    assert status == 200
    length = int(headers["inference-header-content-length"])
    [out] = json.loads(body[:length])["outputs"]
    assert out["parameters"] == {"binary_data_size": 80}
    values = np.frombuffer(body[length:], np.float32).reshape(2, 10)
    assert np.allclose(values, rows["predictions"], atol=1e-6)


def test_data_may_be_flat_or_nested(server: Serving) -> None:
    flat = ask(server.port, "POST", INFER, given(data=IMAGE.ravel().tolist()))
    assert flat == ask(server.port, "POST", INFER, given())


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "the request has no list of 'inputs'"),
        ({"inputs": [3]}, "each of 'inputs' is an object"),
        (given(shape=[2, -4, 4]), "has a negative size"),
        (given(shape=[1 << 40, 4, 4]), "values"),
        (given(shape="2"), "has no shape"),
        (given(datatype="UINT3"), "has datatype 'UINT3'; known are FP32"),
        (given(datatype=["a"]), "has datatype"),
        (given(datatype="FP32"), "is float32, the signature says uint8"),
        (given(data=[1, 2]), "has 2 values for the shape"),
        (given(data=[[[300] * 4] * 4] * 2), "is not of expected type: uint8"),
        (given(parameters={"binary_data_size": 32}), "says that it has 32 bytes; 0 are left"),
        (given(parameters={"binary_data_size": -1}), "says that it has -1 bytes"),
        (given(name="wrong"), "Missing but required: {image}"),
        ({**given(), "outputs": [{"name": "x"}]}, "output tensor alias not found"),
        ({**given(), "outputs": 3}, "'outputs' is a list"),
    ],
)
def test_what_is_wrong_is_said(server: Serving, document: Any, words: str) -> None:
    status, said = error(server.port, INFER, document)
    assert status == 400
    assert words in said


def test_torn_and_surplus_bytes_are_refused(server: Serving) -> None:
    one = {"name": "image", "datatype": "UINT8", "shape": [2, 4, 4]}
    document = {"inputs": [{**one, "parameters": {"binary_data_size": 31}}]}
    status, _, body = binary(server.port, document, IMAGE.tobytes()[:31])
    assert (status, json.loads(body)["error"][:25]) == (400, "input 'image' has 31 byte")
    document = {"inputs": [{**one, "parameters": {"binary_data_size": 32}}]}
    _, _, body = binary(server.port, document, IMAGE.tobytes() + b"more")
    assert json.loads(body)["error"] == "4 bytes behind the last input belong to none"
    headers = {"Inference-Header-Content-Length": "999"}
    assert "the body has 2 bytes" in error(server.port, INFER, b"{}", **headers)[1]


def test_texts_in_bytes_are_read_to_the_last() -> None:
    kind = BY_V2["BYTES"]
    data = b"\x02\x00\x00\x00ab\x00\x00\x00\x00"
    assert v2.from_bytes(data, kind, [2], "t").tolist() == [b"ab", b""]
    assert v2.to_bytes(v2.from_bytes(data, kind, [2], "t")) == data
    for torn in (data[:-1], data + b"\x01", b"\xff\xff\xff\xff"):
        with pytest.raises(Refused, match="does not hold the 2 texts"):
            v2.from_bytes(torn, kind, [2], "t")


def test_what_there_is(server: Serving) -> None:
    assert ask(server.port, "GET", "/v2")[1]["name"] == "traindeck"
    assert ask(server.port, "GET", "/v2/health/live")[0] == 200
    assert ask(server.port, "GET", "/v2/health/ready")[0] == 200
    assert ask(server.port, "GET", "/v2/models/digits/ready")[0] == 200
    assert ask(server.port, "GET", "/v2/models/none/ready")[0] == 503
    _, told = ask(server.port, "GET", "/v2/models/digits/versions/1")
    assert sorted(told["versions"]) == ["1", "2"]
    assert told["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 4, 4]}]
    for path in ("/v2/models/none", "/v2/other", "/v2/models/digits/other"):
        assert ask(server.port, "GET", path)[0] == 404
    assert ask(server.port, "GET", "/v2/models/digits/versions/x")[0] == 400
