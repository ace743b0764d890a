"""Small models, and a server of them in this process."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tests.conftest import until
from traindeck.core.base.home import Home
from traindeck.recipes.shared.deploy.serving.server import Options, Serving
from traindeck.recipes.shared.deploy.serving.store import Model

DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def onnx_model(folder: Path, name: str, kind: int, shape: list[Any], scale: float = 1.0) -> Path:
    """Rows of `shape`, as numbers of the ONNX type `kind`, to ten probabilities.

    `scale` tells versions apart.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    size = int(np.prod(shape))
    chance = np.random.default_rng(0)
    weights = (chance.normal(size=(size, 10)) / size * scale).astype(np.float32)
    node = helper.make_node
    graph = helper.make_graph(
        [
            node("Cast", [name], ["floats"], to=TensorProto.FLOAT),
            node("Reshape", ["floats", "rows"], ["flat"]),
            node("MatMul", ["flat", "weights"], ["logits"]),
            node("Softmax", ["logits"], ["probabilities"], axis=1),
        ],
        "model",
        [helper.make_tensor_value_info(name, kind, ["batch", *shape])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 10])],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.array([-1, size], np.int64), "rows"),
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "model.onnx"
    onnx.save(made, path)
    return path


def pictures(folder: Path, scale: float = 1.0) -> Path:
    """A model of 4×4 grey levels (uint8) called `image`."""
    return onnx_model(folder, "image", 2, [4, 4], scale)


def measures(folder: Path) -> Path:
    """A model of three float32 measures called `measures`."""
    return onnx_model(folder, "measures", 1, [3])


@contextmanager
def serving(tmp_path: Path, *models: Model, **options: Any) -> Iterator[Serving]:
    """A server of these models, on ports of its own, ready."""
    ready = options.pop("ready", True)
    made = Options(
        list(models), Home(tmp_path / "home"), **{"port": 0, "grpc_port": 0, "poll": 0.02} | options
    )
    server: list[Serving] = []
    stop = threading.Event()

    async def main() -> None:
        one = Serving(made)
        await one.start()
        server.append(one)
        while not stop.is_set():
            await asyncio.sleep(0.01)
        await one.stop()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    try:
        until(lambda: server or not thread.is_alive(), "the server")
        if ready:
            until(lambda: server[0].store.ready(), "a version that serves")
        yield server[0]
    finally:
        stop.set()
        thread.join()


def ask(
    port: int, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    """The status, and the JSON that was answered; bytes where it is none."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request(method, path, data, headers or {})
        answer = connection.getresponse()
        got = answer.read()
    try:
        return answer.status, json.loads(got)
    except ValueError:
        return answer.status, got


def error(port: int, path: str, body: Any, **headers: str) -> tuple[int, str]:
    """The status and the words by which a request is refused."""
    status, said = ask(port, "POST", path, body, headers)
    assert set(said) == {"error"}
    return status, said["error"]
