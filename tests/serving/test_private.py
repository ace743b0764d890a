"""Linear models asked by ciphertexts: as exact as in the clear, and nothing else gets through."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.serving.serving_tools import ask as plain
from tests.serving.serving_tools import error, measures, serving
from traindeck.core.base.errors import TraindeckError, UsageError
from traindeck.core.models import private
from traindeck.core.models.client import Client
from traindeck.recipes.shared.deploy.private import linear
from traindeck.recipes.shared.deploy.serving.server import Serving
from traindeck.recipes.shared.deploy.serving.store import Model

tenseal = pytest.importorskip("tenseal")
pytestmark = pytest.mark.slow

ROWS = np.array([[1, 2, 3], [-1, 0.5, 0]], np.float32)
KEYS = "/v1/models/m/private/keys"


def patients(folder: Path) -> None:
    """Logistic regression, scaled and clipped before, two classes after: as PyTorch exports it."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    node, tensor = helper.make_node, numpy_helper.from_array
    constants = {
        "low": np.float32([-2, -2, -2]),
        "half": np.float32([2, 2, 2]),
        "one": np.float32(1),
        "minus": np.float32(-1),
        "weights": np.float32([[0.7, -1.3, 2.1]]),
        "bias": np.float32([0.4]),
    }
    graph = helper.make_graph(
        [
            node("Sub", ["measures", "low"], ["a"]),
            node("Div", ["a", "half"], ["b"]),
            node("Sub", ["b", "one"], ["c"]),
            node("Clip", ["c", "minus", "one"], ["x"]),
            node("Gemm", ["x", "weights", "bias"], ["logit"], transB=1),
            node("Sigmoid", ["logit"], ["second"]),
            node("Sub", ["one", "second"], ["first"]),
            node("Concat", ["first", "second"], ["probabilities"], axis=1),
        ],
        "patients",
        [helper.make_tensor_value_info("measures", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 2])],
        [tensor(np.asarray(value), name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    folder.mkdir(parents=True)
    onnx.save(made, folder / "model.onnx")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    base = tmp_path_factory.mktemp("private")
    patients(base / "m/1")
    measures(base / "ten/1")
    models = (Model("m", base / "m"), Model("ten", base / "ten"))
    with serving(base, *models, private=True) as one:
        yield one


def test_the_answer_is_that_of_the_open_way(desk: Serving) -> None:
    client = Client(f"http://127.0.0.1:{desk.port}")
    for name, key in (("m", "measures"), ("ten", "measures")):
        hidden = private.ask(client, name, ROWS)["probabilities"]
        seen = client.infer(name, {key: ROWS})["probabilities"]
        assert hidden.shape == seen.shape
        assert np.abs(hidden - seen).max() < 1e-5


def test_what_the_client_gets_holds_no_weights(desk: Serving, tmp_path: Path) -> None:
    patients(tmp_path / "1")
    parts = linear.read(tmp_path / "1/model.onnx")
    assert np.allclose(parts.weights.ravel(), [0.7, -1.3, 2.1])
    assert np.allclose(parts.bias, 0.4)
    for part in (parts.before, parts.after):
        assert part
        assert np.float32([0.7, -1.3, 2.1]).tobytes() not in part
        assert np.float32(0.4).tobytes() not in part


def context(scale: float = private.SCALE, bits: Any = private.BITS, public: bool = True) -> bytes:
    made = tenseal.context(tenseal.SCHEME_TYPE.CKKS, private.DEGREE, -1, list(bits))
    made.global_scale = scale
    made.generate_galois_keys()
    if public:
        made.make_context_public()
    return bytes(made.serialize(save_secret_key=not public, save_relin_keys=False))


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda: context(scale=2.0**21), "the key has scale 2^21; it must be 2^40"),
        (lambda: context(public=False), "it stays with the client"),
        (lambda: context(bits=(60, 40, 40, 60)), "the key needs ring degree 8192"),
        (lambda: b"nonsense", ""),
        (lambda: context()[: 1 << 20], ""),
    ],
    ids=["small scale", "secret", "other modulus", "nonsense", "torn"],
)
def test_other_keys_are_refused(desk: Serving, made: Any, words: str) -> None:
    status, said = error(desk.port, KEYS, made())
    assert status == 400
    assert words in said


def test_what_breaks_the_sums_process_does_not_break_the_server(desk: Serving) -> None:
    key = plain(desk.port, "POST", KEYS, context())[1]
    path = "/v1/models/m/private"
    for query in (b"x", b"\x0a\x02\x80\x10\x12" + bytes(1000), b"\xff" * 100):
        status, _ = error(desk.port, path, private.joined([key, query]))
        assert status == 400
    assert "torn" in error(desk.port, path, b"\xff\xff\xff\xff")[1]
    assert "a query is" in error(desk.port, path, private.joined([key]))[1]
    unknown = private.joined([b"0" * 64, b"x"])
    assert "send it again" in error(desk.port, path, unknown)[1]
    assert private.ask(Client(f"http://127.0.0.1:{desk.port}"), "m", ROWS)


def test_a_model_that_is_not_linear_says_so(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    two = numpy_helper.from_array(np.eye(3, dtype=np.float32), "w")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("MatMul", ["h", "w"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in "xy"]
    graph = helper.make_graph(nodes, "m", ends[:1], ends[1:], [two])
    onnx.save(helper.make_model(graph), tmp_path / "model.onnx")
    with pytest.raises(UsageError, match="is not linear: it has 2 layers with weights"):
        linear.read(tmp_path / "model.onnx")


def test_a_server_without_it_says_so(server: Serving) -> None:
    with pytest.raises(TraindeckError):
        private.ask(Client(f"http://127.0.0.1:{server.port}"), "digits", ROWS)
