"""One format of a model in a process of its own: what it answers to all records, and how fast.

    python trial.py FORMAT MODEL RECORDS OUT

RECORDS holds an array `.npy` for each input, named as it; OUT gets one for each output and
`trial.json`: milliseconds by batch (p50, one thread), peak memory. It imports the format's runtime
and nothing of traindeck, so that it runs in another environment too, and measures that alone.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

CHUNK = 100  # records that are asked for at once
BATCHES = (1, 32)
CALLS, WARM = 60, 5  # at most
SECONDS = 2.0  # of each batch size
FACTS: dict[str, Any] = {}
"""What a runtime tells besides."""
Arrays = dict[str, Any]
Answer = Callable[[Arrays], Arrays]


def saved_model(path: str) -> tuple[Answer, bool]:
    import tensorflow as tf

    signature = tf.saved_model.load(path).signatures["serving_default"]
    specs = signature.structured_input_signature[1]

    def answer(inputs: Arrays) -> Arrays:
        given = _named(inputs, list(specs))
        tensors = {name: tf.constant(value, specs[name].dtype) for name, value in given.items()}
        return {name: value.numpy() for name, value in signature(**tensors).items()}

    return answer, True


def keras(path: str) -> tuple[Answer, bool]:
    import tensorflow as tf

    model = tf.keras.models.load_model(path, compile=False)
    names = [one.name for one in model.inputs]

    def answer(inputs: Arrays) -> Arrays:
        given = _named(inputs, names)
        out = model(given if len(given) > 1 else next(iter(given.values())), training=False)
        if not isinstance(out, dict):
            out = {f"output_{k}": v for k, v in enumerate(out if isinstance(out, list) else [out])}
        return {name: value.numpy() for name, value in out.items()}

    return answer, True


def pt2(path: str) -> tuple[Answer, bool]:
    import torch

    torch.set_num_threads(1)
    program = torch.export.load(path)
    module = program.module()
    args, kwargs = program.example_inputs or ((), {})

    @torch.inference_mode()
    def answer(inputs: Arrays) -> Arrays:
        given = _named(inputs, [*(f"args_{k}" for k in range(len(args))), *kwargs])
        tensors = {name: torch.from_numpy(value) for name, value in given.items()}
        positional = [tensors.pop(f"args_{k}") for k in range(len(args))]
        out = module(*positional, **tensors)
        if not isinstance(out, dict):
            out = {f"output_{k}": v for k, v in enumerate([out] if torch.is_tensor(out) else out)}
        return {name: value.numpy() for name, value in out.items()}

    return answer, True


def safetensors(path: str) -> tuple[Answer, bool]:
    import torch

    torch.set_num_threads(1)
    module = coded(Path(path))

    @torch.inference_mode()
    def answer(inputs: Arrays) -> Arrays:
        tensors = {name: torch.from_numpy(value) for name, value in inputs.items()}
        out = module(**tensors) if len(tensors) > 1 else module(*tensors.values())
        if not isinstance(out, dict):
            out = {f"output_{k}": v for k, v in enumerate([out] if torch.is_tensor(out) else out)}
        return {name: value.numpy() for name, value in out.items()}

    return answer, True


def coded(weights: Path) -> Any:
    """The module that the code beside the weights builds, holding them. Runs that code.

    What it gives is by name where the signature beside it says names.
    """
    from safetensors.torch import load_model

    code, builder = weights.with_name("model.py"), weights.with_name("builder.txt").read_text()
    built = sys.modules["traindeck_servable"] = types.ModuleType("traindeck_servable")
    exec(compile(code.read_bytes(), code.name, "exec"), built.__dict__)
    module = getattr(built, builder)().cpu().eval()
    load_model(module, weights, strict=True, device="cpu")
    said = weights.with_name("signature.json")
    names = list(json.loads(said.read_text())["outputs"]) if said.exists() else []

    def named(_: Any, __: Any, out: Any) -> Any:
        values = out if isinstance(out, tuple | list) else [out]
        return out if isinstance(out, dict) else dict(zip(names, values, strict=True))

    if names:
        module.register_forward_hook(named)
    return module


def onnx(path: str) -> tuple[Answer, bool]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    outputs = [one.name for one in session.get_outputs()]
    free = all(not isinstance(one.shape[0], int) for one in session.get_inputs() if one.shape)

    def answer(inputs: Arrays) -> Arrays:
        return dict(zip(outputs, session.run(None, _named(inputs, names)), strict=True))

    return answer, free


def litert(path: str) -> tuple[Answer, bool]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(path, num_threads=1)
    given = {one["index"]: one for one in interpreter.get_input_details()}
    made = {one["index"]: one for one in interpreter.get_output_details()}
    signatures = interpreter.get_signature_list()
    inputs = {one["name"]: one["index"] for one in given.values()}
    outputs = {one["name"]: one["index"] for one in made.values()}
    if signatures:
        key = next(iter(signatures))
        runner = interpreter.get_signature_runner(key)
        inputs = {name: one["index"] for name, one in runner.get_input_details().items()}
        outputs = {name: one["index"] for name, one in runner.get_output_details().items()}
    free = all(
        len(one["shape_signature"]) and one["shape_signature"][0] == -1 for one in given.values()
    )
    batch = 0

    def answer(arrays: Arrays) -> Arrays:
        nonlocal batch
        named = _named(arrays, list(inputs))
        size = len(next(iter(named.values())))
        if size != batch:
            if free:
                for name, value in named.items():
                    interpreter.resize_tensor_input(inputs[name], value.shape)
            interpreter.allocate_tensors()
            batch = size
        for name, value in named.items():
            interpreter.set_tensor(inputs[name], _quantized(value, given[inputs[name]]))
        interpreter.invoke()
        return {n: _whole(interpreter.get_tensor(i), made[i]) for n, i in outputs.items()}

    return answer, free


def micro(path: str) -> tuple[Answer, bool]:
    """The interpreter of microcontrollers: integers in, integers out, no other operators."""
    from ai_edge_litert.interpreter import Interpreter
    from tflite_micro.python.tflite_micro import runtime

    interpreter = runtime.Interpreter.from_file(path)
    given, made = interpreter.get_input_details(0), interpreter.get_output_details(0)
    for detail in (given, made):
        scales = detail["quantization_parameters"]
        detail["quantization"] = scales["scales"][0], scales["zero_points"][0]

    said = _printed(interpreter.print_allocations)
    if arena := re.search(r"Arena allocation total (\d+) bytes", said):
        FACTS["arena_bytes"] = int(arena[1])
    FACTS["operators"] = sorted({one["op_name"] for one in Interpreter(path)._get_ops_details()})

    def answer(inputs: Arrays) -> Arrays:
        [value] = inputs.values()
        interpreter.set_input(_quantized(value, given), 0)
        interpreter.invoke()
        return {"output_0": _whole(interpreter.get_output(0), made)}

    return answer, False


def executorch(path: str) -> tuple[Answer, bool]:
    import torch
    from executorch.runtime import Runtime

    method = Runtime.get().load_program(path).load_method("forward")

    def answer(inputs: Arrays) -> Arrays:
        out = method.execute([torch.from_numpy(np.array(value)) for value in inputs.values()])
        return {f"output_{k}": value.numpy() for k, value in enumerate(out)}

    return answer, False


def _printed(call: Callable[[], object]) -> str:
    """What a call prints, from below Python too."""
    with tempfile.TemporaryFile() as file:
        kept = os.dup(1), os.dup(2)
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        try:
            call()
        finally:
            for number, old in zip((1, 2), kept, strict=True):
                os.dup2(old, number)
                os.close(old)
        file.seek(0)
        return file.read().decode("utf-8", "replace")


def _named(inputs: Arrays, names: list[str]) -> Arrays:
    """The arrays by the model's own names; a single one has whatever name there is."""
    if len(inputs) == len(names) == 1:
        return {names[0]: next(iter(inputs.values()))}
    if set(inputs) != set(names):
        raise SystemExit(f"the records are {', '.join(inputs)}; the model takes {', '.join(names)}")
    return inputs


def _quantized(value: Any, detail: dict[str, Any]) -> Any:
    scale, zero = detail["quantization"]
    kind = detail["dtype"]
    if not scale or kind == value.dtype or kind not in (np.int8, np.uint8, np.int16):
        return np.asarray(value, kind)
    ends = np.iinfo(kind)
    return np.clip(np.round(value / scale + zero), ends.min, ends.max).astype(kind)


def _whole(value: Any, detail: dict[str, Any]) -> Any:
    scale, zero = detail["quantization"]
    if not scale or detail["dtype"] == np.float32:
        return value.copy()
    return (value.astype(np.float32) - zero) * np.float32(scale)


def median_ms(call: Callable[[], object]) -> float:
    """Of a call's wall clock, after some that warm it up."""
    began = time.perf_counter()
    for _ in range(WARM):
        call()
        if time.perf_counter() - began > SECONDS:
            break
    took: list[float] = []
    began = time.perf_counter()
    while len(took) < CALLS and (len(took) < 3 or time.perf_counter() - began < SECONDS):
        at = time.perf_counter()
        call()
        took.append(time.perf_counter() - at)
    return sorted(took)[len(took) // 2] * 1e3


def peak_mb() -> float | None:
    """The most memory that this process has had resident, in 10⁶ bytes; None where none says."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    high = next((line.split()[1] for line in lines if line.startswith("VmHWM:")), None)
    return int(high) * 1024 / 1e6 if high else None


def main(format: str, model: str, records: Path, out: Path) -> None:
    began = time.perf_counter()
    inputs = {p.stem: np.load(p, mmap_mode="r") for p in sorted(records.glob("*.npy"))}
    answer, free = RUNTIMES[format](model)
    count = len(next(iter(inputs.values())))

    def ask(low: int, high: int) -> Arrays:
        part = {name: np.array(array[low:high]) for name, array in inputs.items()}
        if free or high - low == 1:
            return answer(part)
        answers = [answer({n: a[k : k + 1] for n, a in part.items()}) for k in range(high - low)]
        return {name: np.concatenate([one[name] for one in answers]) for name in answers[0]}

    ask(0, 1)
    loaded = time.perf_counter() - began
    latency: dict[str, Any] = {}
    for batch in BATCHES:
        size = min(batch, count)
        latency[str(batch)] = {"p50": round(median_ms(lambda size=size: ask(0, size)), 4)}  # type: ignore[misc]
    latency |= {"threads": 1, "load_ms": round(loaded * 1e3, 1), "batched": free}
    if memory := peak_mb():
        latency["peak_mb"] = round(memory, 1)
    latency["facts"] = FACTS
    step = CHUNK if free else 1
    answers = [ask(low, min(low + step, count)) for low in range(0, count, step)]
    for number, name in enumerate(answers[0]):
        whole = np.concatenate([one[name] for one in answers])
        np.save(out / f"{number}.npy", whole)
        latency.setdefault("outputs", []).append(name)
    (out / "trial.json").write_text(json.dumps(latency))


RUNTIMES = {
    "saved_model": saved_model,
    "keras": keras,
    "pt2": pt2,
    "safetensors": safetensors,
    "onnx": onnx,
    "litert": litert,
    "micro": micro,
    "executorch": executorch,
}

if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
