"""Numbers read the fast way are what the slow way reads, or are left to it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from traindeck.recipes.shared.deploy.serving import jsonfast, jsonrequest
from traindeck.recipes.shared.deploy.serving.kinds import BY_V2, Port


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonfast, "LEAST", 0)


def nested(leaf: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaf, lambda inner: st.lists(inner, max_size=3) | inner.map(lambda x: [x, x]), max_leaves=12
    )


NUMBERS = st.integers(-300, 300) | st.floats(width=32) | st.integers() | st.floats()
ANYTHING = NUMBERS | st.booleans() | st.none() | st.text(max_size=3) | st.just({"b64": "AA"})


@example("instances", [[0], []], "UINT8", None)
@example("inputs", [[[0]], [[]]], "FP32", None)
@given(
    st.sampled_from(["instances", "inputs"]),
    nested(st.integers(0, 255)) | nested(NUMBERS) | nested(ANYTHING),
    st.sampled_from(["UINT8", "INT64", "FP32", "FP64", "INT8"]),
    st.sampled_from([None, 1]),
)
def test_either_way(key: str, value: Any, kind: str, indent: int | None) -> None:
    ports = {"x": Port("x", BY_V2[kind], None)}
    body = json.dumps({key: value}, indent=indent).encode()
    fast = jsonfast.predict_inputs(body, ports)
    if fast is None:
        return
    document, name = jsonrequest.parse(body)
    arrays, rows = jsonrequest.predict_inputs(document, ports)
    assert (fast[0], fast[2]) == (name, rows)
    assert fast[1]["x"].dtype == arrays["x"].dtype
    assert np.array_equal(fast[1]["x"], arrays["x"])


@given(
    nested(st.integers(0, 255)) | nested(ANYTHING), st.sampled_from(["UINT8", "FP32", "X", "BYTES"])
)
def test_either_way_in_v2(value: Any, kind: str) -> None:
    one = {"name": "x", "datatype": kind, "shape": [1], "data": value}
    asked = {"id": "7", "inputs": [one], "outputs": [{"name": "y", "parameters": {"a": True}}]}
    found = jsonfast.infer_request(json.dumps(asked).encode())
    if found is None:
        return
    data = found["inputs"][0].pop("data")
    assert data.dtype == BY_V2[kind].dtype
    assert np.array_equal(data, np.array(value, data.dtype).ravel())
    del one["data"]
    assert found == asked


@pytest.mark.parametrize("value", [[[], [0, 0]], [0, [1, 2], []], [[1, 2]]])
def test_nested_lists_of_as_many_are_left_to_the_slow_way(value: Any) -> None:
    one = {"name": "x", "datatype": "UINT8", "shape": [1], "data": value}
    assert jsonfast.infer_request(json.dumps({"inputs": [one]}).encode()) is None


def test_a_picture_goes_the_fast_way() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 3))
    ports = {"x": Port("x", BY_V2["UINT8"], (-1, 8, 8, 3))}
    found = jsonfast.predict_inputs(json.dumps({"instances": picture.tolist()}).encode(), ports)
    assert found is not None
    flat = {"name": "x", "datatype": "UINT8", "shape": [1], "data": picture.ravel().tolist()}
    assert jsonfast.infer_request(json.dumps({"inputs": [flat]}).encode()) is not None
    assert np.array_equal(found[1]["x"], picture)


@pytest.mark.parametrize(
    "body",
    [
        b'{"instances": [[1, 2], [3]]}',
        b'{"instances": [[1, 2], [3, 4], 5]}',
        b'{"instances": [[1, 2], [3, [4]]]}',
        b'{"instances": [[1], [{}]]}',
        b'{"instances": [[]]}',
        b'{"instances": [256]}',
        b'{"instances": [1.5]}',
        b'{"instances": [true]}',
        b'{"instances": [1], "inputs": [2]}',
        b'{"other": [1]}',
        b'{"instances": [1]',
        b'{"instances": 1}',
        b"[1]",
        b'"x"',
    ],
)
def test_what_is_odd_is_left_to_the_slow_way(body: bytes) -> None:
    ports = {"x": Port("x", BY_V2["UINT8"], None)}
    found = jsonfast.predict_inputs(body, ports)
    if found is not None:  # a single number is one either way
        document, _ = jsonrequest.parse(body)
        assert np.array_equal(found[1]["x"], jsonrequest.predict_inputs(document, ports)[0]["x"])
