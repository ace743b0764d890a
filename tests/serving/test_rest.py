"""TensorFlow Serving's REST API, in its words."""

from __future__ import annotations

import base64
import gzip
import json

import numpy as np
import pytest

from tests.serving.serving_tools import ask, error
from traindeck.recipes.shared.deploy.serving.server import Serving

ROW = [[1, 2, 3, 4]] * 4
DIGITS = "/v1/models/digits"
PATIENTS = "/v1/models/patients"


class TestPredict:
    def test_rows_plain_or_named_and_columns_say_the_same(self, server: Serving) -> None:
        status, plain = ask(server.port, "POST", f"{DIGITS}:predict", {"instances": [ROW, ROW]})
        assert status == 200
        assert np.shape(plain["predictions"]) == (2, 10)
        assert np.allclose(np.sum(plain["predictions"], axis=1), 1, atol=1e-6)
        named = {"instances": [{"image": ROW}, {"image": ROW}]}
        assert ask(server.port, "POST", f"{DIGITS}:predict", named)[1] == plain
        for columns in ({"inputs": [ROW, ROW]}, {"inputs": {"image": [ROW, ROW]}}):
            _, told = ask(server.port, "POST", f"{DIGITS}:predict", columns)
            assert told == {"outputs": plain["predictions"]}

    def test_a_version_a_label_and_the_latest(self, server: Serving) -> None:
        body = {"instances": [ROW]}
        told = {
            path: ask(server.port, "POST", f"{DIGITS}{path}:predict", body)[1]["predictions"]
            for path in ("", "/versions/1", "/versions/2", "/labels/stable", "/labels/canary")
        }
        assert told[""] == told["/versions/2"] == told["/labels/canary"]
        assert told["/versions/1"] == told["/labels/stable"] != told[""]

    def test_a_signature_is_named_by_signature_name(self, server: Serving) -> None:
        body = {"instances": [ROW], "signature_name": "serving_default"}
        assert ask(server.port, "POST", f"{DIGITS}:predict", body)[0] == 200
        assert error(server.port, f"{DIGITS}:predict", {**body, "signature_name": "other"}) == (
            400,
            'Serving signature name: "other" not found in signature def',
        )

    def test_a_body_may_be_packed(self, server: Serving) -> None:
        body = gzip.compress(json.dumps({"instances": [ROW]}).encode())
        path, packed = f"{DIGITS}:predict", {"Content-Encoding": "gzip"}
        assert ask(server.port, "POST", path, body, packed)[0] == 200
        assert ask(server.port, "POST", path, body[:-4], packed)[0] == 400

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            (b"", "JSON Parse error: The document is empty"),
            (b"{", "JSON Parse error: Invalid value. at offset: 1"),
            (b"[]", "JSON Value: [] Is not object"),
            (b"[" * 100_000, "JSON Parse error: Invalid value. at offset: 0"),
            ({}, "Missing 'inputs' or 'instances' key"),
            ({"instances": []}, 'JSON Value: {"instances": []} No values in'),
            ({"instances": 1}, "Expecting 'instances' to be an list/array"),
            ({"instances": [1], "inputs": [1]}, "expecting only one of 'inputs' or 'instances'"),
            ({"inputs": {"wrong": [ROW]}}, "Missing named input: image in 'inputs' object."),
            ({"instances": [{"wrong": ROW}]}, "does not have named input: wrong"),
            ({"instances": [[1, 2]]}, "input 'image' has shape [1,2], the signature says [?,4,4]"),
            ({"instances": [ROW, ROW[:3]]}, "Expecting tensor size: 16 but got: 12"),
            ({"instances": [[["a"] * 4] * 4]}, "Type: String is not of expected type: uint8"),
            ({"instances": [[[1.5] * 4] * 4]}, "Type: Number is not of expected type: uint8"),
            ({"instances": [[[300] * 4] * 4]}, "Type: Number is not of expected type: uint8"),
            ({"instances": [[[True] * 4] * 4]}, "Type: True is not of expected type: uint8"),
            ({"instances": [[[None] * 4] * 4]}, "Type: Null is not of expected type: uint8"),
            ({"instances": [{"b64": "AA"}]}, "Type: Object is not of expected type: uint8"),
            ({"instances": [[]]}, "has shape [1,0], the signature says"),
            ({"instances": [ROW] * 65}, "has 65 rows; 64 are taken at once"),
        ],
    )
    def test_what_is_wrong_is_said(self, server: Serving, body: object, words: str) -> None:
        status, said = error(server.port, f"{DIGITS}:predict", body)
        assert status in (400, 413)
        assert words in said

    def test_what_cannot_be_measured_is_refused_with_its_place(self, server: Serving) -> None:
        for value in ("NaN", "Infinity"):
            body = f'{{"instances": [[1, 2, 3], [1, {value}, 3]]}}'.encode()
            status, said = error(server.port, f"{PATIENTS}:predict", body)
            assert status == 400
            assert "input 'measures' holds" in said
            assert "at [1, 1]" in said


class TestWhatElseIsTold:
    def test_status(self, server: Serving) -> None:
        _, told = ask(server.port, "GET", DIGITS)
        assert told == {
            "model_version_status": [
                {
                    "version": version,
                    "state": "AVAILABLE",
                    "status": {"error_code": "OK", "error_message": ""},
                }
                for version in ("2", "1")
            ]
        }
        assert ask(server.port, "GET", f"{DIGITS}/versions/1")[0] == 200
        assert ask(server.port, "GET", f"{DIGITS}/versions/3") == (
            404,
            {"error": "Could not find version 3 of model digits"},
        )

    def test_metadata(self, server: Serving) -> None:
        _, told = ask(server.port, "GET", f"{DIGITS}/versions/1/metadata")
        assert told["model_spec"] == {"name": "digits", "version": "1", "signature_name": ""}
        signature = told["metadata"]["signature_def"]["signature_def"]["serving_default"]
        image = signature["inputs"]["image"]
        assert image["dtype"] == "DT_UINT8"
        assert [dim["size"] for dim in image["tensor_shape"]["dim"]] == ["-1", "4", "4"]
        assert signature["method_name"] == "tensorflow/serving/predict"

    def test_what_is_no_path_is_said_to_be_none(self, server: Serving) -> None:
        for method, path in (("GET", "/v1/models/a/b"), ("PUT", DIGITS), ("POST", DIGITS)):
            status, told = ask(server.port, method, path, b"" if method == "POST" else None)
            assert (status, told) == (400, {"error": f"Malformed request: {method} {path}"})
        assert ask(server.port, "GET", "/other")[0] == 404
        assert error(server.port, "/v1/models/none:predict", {"instances": [1]}) == (
            404,
            "Servable not found for request: Latest(none)",
        )
        assert (
            "Unrecognized servable version label: x"
            in (error(server.port, f"{DIGITS}/labels/x:predict", {"instances": [ROW]})[1])
        )

    def test_models_without_examples_say_so_to_classify_and_regress(self, server: Serving) -> None:
        for verb, word in (("classify", "classification"), ("regress", "regression")):
            status, said = error(server.port, f"{DIGITS}:{verb}", {"examples": [{"a": 1.0}]})
            assert (status, said) == (
                400,
                f"No {word} inputs found in SignatureDef: serving_default",
            )
        assert "'examples' is expected" in error(server.port, f"{DIGITS}:classify", {})[1]

    def test_ready_health_and_metrics(self, server: Serving) -> None:
        for path in ("/healthz", "/readyz", "/v1/ready", f"{DIGITS}/ready"):
            assert ask(server.port, "GET", path)[0] == 200
        assert ask(server.port, "GET", "/v1/models/none/ready")[0] == 503
        ask(server.port, "POST", f"{DIGITS}:predict", {"instances": [ROW]})
        _, page = ask(server.port, "GET", "/metrics")
        assert b'traindeck_requests_total{api="tfs-rest",code="OK"}' in page
        assert b'traindeck_model_state{model="digits",version="2"} 30.0' in page

    def test_units_and_labels_of_what_serves(self, server: Serving) -> None:
        _, told = ask(server.port, "GET", f"{DIGITS}/signature")
        assert told["outputs"]["probabilities"]["labels"][3] == "three"
        assert ask(server.port, "GET", f"{PATIENTS}/signature")[0] == 404


def test_texts_are_given_as_they_are_or_in_base64(server: Serving) -> None:
    from traindeck.recipes.shared.deploy.serving import jsonrequest
    from traindeck.recipes.shared.deploy.serving.kinds import BY_V2, Port

    ports = {"text": Port("text", BY_V2["BYTES"], (-1,))}
    given = {"instances": ["häh", {"b64": base64.b64encode(b"\xff\x00").decode()}]}
    arrays, _ = jsonrequest.predict_inputs(given, ports)
    assert list(arrays["text"]) == ["häh".encode(), b"\xff\x00"]


def test_an_empty_list_among_many_of_one_number_is_refused(server: Serving) -> None:
    rows = [*([[0]] * 3000), []]
    status, said = error(server.port, "/v1/models/digits:predict", {"instances": rows})
    assert status == 400 and said
