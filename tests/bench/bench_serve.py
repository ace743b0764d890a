"""What serving a model costs: CPU of a request, its time, memory, start; other servers beside it.

    [TRAINDECK_SERVING_PEERS=FOLDER] python tests/bench/bench_serve.py [--requests N]

A small CNN of 28×28 grey levels, and one that does next to nothing with a 224×224 picture: what is
measured there is the request's way. FOLDER may have the environments `mlserver`, `litserve`,
`bentoml` and `kserve`, each with onnxruntime; they serve the same file on one thread, as
`serve_peers.py` has it. CPU is of the server alone, all its processes; the client is on the same
machine. Before that, new versions come while requests do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

import traindeck.recipes

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.bench.common import head, percentile, row

RECIPE = Path(traindeck.recipes.__file__).parent / "deploy" / "serve.py"
PEERS = Path(os.environ.get("TRAINDECK_SERVING_PEERS", "/nowhere"))
PORT = 18500
CONCURRENCY = (1, 8, 32)
MEGABYTE = 1 << 20
READY = {
    "mlserver": ("/v2/models/m/ready", ("v2 JSON",)),
    "litserve": ("/health", ("lit",)),
    "bentoml": ("/readyz", ("lit",)),
    "kserve": ("/v2/models/m/ready", ("v2 JSON", "v2 bytes")),
}
"""Of each peer: what says that it is ready, and in which ways it is asked.

MLServer 1.7 takes bytes over gRPC alone.
"""


def model(path: Path, size: int, channels: int) -> None:
    """A CNN over pictures, whose first step is `size / 14` wide: little work at any size."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    chance = np.random.default_rng(0)

    def weights(name: str, *shape: int) -> Any:
        values = chance.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
        return numpy_helper.from_array(values.astype(np.float32), name)

    stride = size // 14
    flat = np.array([0, -1], np.int64)
    node = helper.make_node
    grey = channels == 1
    nodes = [
        node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
        node("Unsqueeze", ["floats", "one"], ["planes"])
        if grey
        else node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
        node("Conv", ["planes", "w1"], ["a1"], strides=[stride, stride]),
        node("Relu", ["a1"], ["h1"]),
        node("Conv", ["h1", "w2"], ["a2"], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Relu", ["a2"], ["h2"]),
        node("Reshape", ["h2", "flat"], ["rows"]),
        node("MatMul", ["rows", "w3"], ["logits"]),
        node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    shape = ["batch", size, size] if grey else ["batch", size, size, channels]
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 10])],
        [
            weights("w1", 16, channels, stride, stride),
            weights("w2", 32, 16, 3, 3),
            weights("w3", 32 * 7 * 7, 10),
            numpy_helper.from_array(flat, "flat"),
            numpy_helper.from_array(np.array([1], np.int64), "one"),
        ],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.parent.mkdir(parents=True)
    onnx.save(made, path)


@dataclass
class Server:
    """A server that runs, and what its whole start took."""

    process: psutil.Process
    seconds: float

    def family(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def cpu(self) -> float:
        times = [one.cpu_times() for one in self.family()]
        return sum(one.user + one.system for one in times)

    def memory(self) -> float:
        return sum(one.memory_info().rss for one in self.family()) / MEGABYTE


@contextmanager
def running(command: list[Any], port: int, ready: str) -> Iterator[Server]:
    """Start a server, and wait until this path of it says 200."""
    began = time.perf_counter()
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile() as said:
        started = subprocess.Popen(
            list(map(str, command)), stdout=said, stderr=said, env=env, start_new_session=True
        )
        try:
            while not asyncio.run(answers(port, ready)):
                if started.poll() is not None or time.perf_counter() - began > 60:
                    said.seek(0)
                    raise SystemExit(said.read().decode()[-2000:])
                time.sleep(0.01)
            yield Server(psutil.Process(started.pid), time.perf_counter() - began)
        finally:
            started.terminate()
            with suppress(subprocess.TimeoutExpired):
                started.wait(15)
            with suppress(ProcessLookupError):  # some leave their workers behind
                os.killpg(started.pid, signal.SIGKILL)
            started.wait()


async def answers(port: int, path: str) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        return b" 200 " in (await reader.read(20))
    except OSError:
        return False
    finally:
        writer.close()


def post(path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", *headers, f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def http_client(port: int, request: bytes, left: list[int], times: list[float]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while left[0] > 0:
        left[0] -= 1
        began = time.perf_counter()
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if b" 200 " not in head[:16]:
            raise SystemExit(f"{head!r} {await reader.read(500)!r}")
        length = head.split(b"\r\ncontent-length:")[1].split(b"\r\n")[0]
        await reader.readexactly(int(length))
        times.append(time.perf_counter() - began)
    writer.close()


async def rpc_client(port: int, request: bytes, left: list[int], times: list[float]) -> None:
    import grpc

    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
        while left[0] > 0:
            left[0] -= 1
            began = time.perf_counter()
            await call(request, timeout=60)
            times.append(time.perf_counter() - began)


async def load(client: Any, port: int, request: bytes, count: int, at_once: int) -> list[float]:
    times: list[float] = []
    left = [count]
    await asyncio.gather(*(client(port, request, left, times) for _ in range(at_once)))
    return times


def measure(what: str, server: Server, client: Any, port: int, request: bytes, count: int) -> None:
    asyncio.run(load(client, port, request, min(count, 50), 2))  # warm
    for at_once in CONCURRENCY:
        before = server.cpu()
        times = asyncio.run(load(client, port, request, count, at_once))
        spent = (server.cpu() - before) / len(times) * 1000
        p50, p99 = (percentile(times, share) * 1000 for share in (50, 99))
        row(
            f"{what}, {at_once} at once",
            f"{spent:.2f} CPU ms",
            peer=f"p50 {p50:.2f} ms, p99 {p99:.2f} ms",
        )


def predict_message(image: Any) -> bytes:
    from traindeck.recipes.shared.deploy.serving.messages import message

    request = message("tensorflow.serving.PredictRequest")()
    request.model_spec.name = "m"
    tensor = request.inputs["image"]
    tensor.dtype = 4
    for size in image.shape:
        tensor.tensor_shape.dim.add().size = size
    tensor.tensor_content = image.tobytes()
    return bytes(request.SerializeToString())


def requests(image: Any) -> dict[str, bytes]:
    """The same picture, in each way of asking."""
    rows = json.dumps({"instances": image.tolist()}).encode()
    one = {"name": "image", "datatype": "UINT8", "shape": list(image.shape)}
    flat = json.dumps({"inputs": [{**one, "data": image.ravel().tolist()}]}).encode()
    sized = {"inputs": [{**one, "parameters": {"binary_data_size": image.nbytes}}]}
    head = json.dumps({**sized, "parameters": {"binary_data_output": True}}).encode()
    length = f"Inference-Header-Content-Length: {len(head)}"
    kind = "Content-Type: application/json"
    return {
        "rows": post("/v1/models/m:predict", rows, kind),
        "v2 JSON": post("/v2/models/m/infer", flat, kind),
        "v2 bytes": post("/v2/models/m/infer", head + image.tobytes(), length),
        "lit": post("/predict", rows, kind),  # of LitServe and BentoML
    }


def ours(path: Path, image: Any, count: int) -> None:
    command = [sys.executable, RECIPE, f"--models=m={path.parent.parent}", f"--port={PORT}"]
    options = [f"--grpc-port={PORT + 1}", f"--run-folder={path.parents[2] / 'run'}"]
    with running([*command, *options], PORT, "/readyz") as server:
        row("traindeck: start", f"{server.seconds:.2f} s", "≤ 1.5 s")
        asked = requests(image)
        for name, what in (("rows", "TF Serving's JSON"), ("v2 JSON", "v2 JSON")):
            measure(f"traindeck, {what}", server, http_client, PORT, asked[name], count)
        measure("traindeck, v2 bytes", server, http_client, PORT, asked["v2 bytes"], count)
        measure("traindeck, gRPC", server, rpc_client, PORT + 1, predict_message(image), count)
        row("traindeck: memory", f"{server.memory():.0f} MB")


def peer(name: str, path: Path, image: Any, count: int) -> None:
    python = PEERS / name / "bin/python"
    if not python.exists():
        row(name, "not installed")
        return
    script = Path(__file__).with_name("serve_peers.py")
    ready, ways = READY[name]
    with running([python, script, name, path, PORT], PORT, ready) as server:
        row(f"{name}: start", f"{server.seconds:.2f} s")
        for way in ways:
            what = f"{name}, {way}" if len(ways) > 1 else name
            measure(what, server, http_client, PORT, requests(image)[way], count)
        row(f"{name}: memory", f"{server.memory():.0f} MB")


def swaps(place: Path, requests: int, count: int) -> None:
    """New versions while requests come: none may fail, and memory must not grow."""
    base = place / "swaps/m"
    model(base / "1/model.onnx", 28, 1)
    body = json.dumps({"instances": np.zeros((1, 28, 28), int).tolist()}).encode()
    request = post("/v1/models/m:predict", body)
    command = [sys.executable, RECIPE, f"--models=m={base}", f"--port={PORT}", "--poll=0.05"]
    options = ["--grpc-port=-1", f"--run-folder={place / 'swaps/run'}"]
    answered: list[float] = []
    memory: list[float] = []

    async def change(server: Server) -> None:
        for number in range(2, count + 2):
            while len(answered) < requests * (number - 1) / (count + 1):
                await asyncio.sleep(0.005)
            model(base / f".{number}/model.onnx", 28, 1)
            (base / f".{number}").rename(base / str(number))
            while not await answers(PORT, f"/v2/models/m/versions/{number}/ready"):
                await asyncio.sleep(0.02)
            shutil.rmtree(base / str(number - 1))
            memory.append(server.memory())

    async def both(server: Server) -> None:
        clients = (http_client(PORT, request, [requests // 4], answered) for _ in range(4))
        await asyncio.gather(change(server), *clients)

    head(f"{count} new versions under load")
    with running([*command, *options], PORT, "/readyz") as server:
        asyncio.run(both(server))  # ends at the first request that fails
    row("requests, none failed", len(answered))
    row("memory after each", f"{min(memory):.1f} to {max(memory):.1f} MB", "flat")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, choices=(0, 28, 224), help="one alone; 0: swaps alone")
    parser.add_argument(
        "--swaps", type=int, default=20, help="new versions, while 10,000 requests come"
    )
    parser.add_argument("--requests", type=int, default=2000)
    given = parser.parse_args()
    chance = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as place:
        if not given.size:
            swaps(Path(place), 10_000, given.swaps)
        for size, channels, count in ((28, 1, given.requests), (224, 3, given.requests // 10)):
            if given.size not in (None, size):
                continue
            shape = (1, size, size) if channels == 1 else (1, size, size, channels)
            image = chance.integers(0, 256, shape).astype(np.uint8)
            path = Path(place) / str(size) / "m/1/model.onnx"
            model(path, size, channels)
            head(f"a picture of {size}×{size}×{channels}, {count} requests")
            ours(path, image, count)
            for name in READY:
                peer(name, path, image, count)


if __name__ == "__main__":
    main()
