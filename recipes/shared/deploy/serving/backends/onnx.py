"""ONNX models through onnxruntime: a seventh of PyTorch's memory, and a tenth of its start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from traindeck.recipes.shared.deploy.serving.errors import brief, invalid
from traindeck.recipes.shared.deploy.serving.kinds import (
    BY_DTYPE,
    DEFAULT,
    Array,
    Port,
    Signature,
)
from traindeck.recipes.shared.deploy.serving.meters import memory

_TYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(string)": object,
    "tensor(bool)": np.bool_,
    **{f"tensor({name})": np.dtype(name) for name in ("int8", "int16", "int32", "int64")},
    **{f"tensor({name})": np.dtype(name) for name in ("uint8", "uint16", "uint32", "uint64")},
}


class Onnx:
    kind = "onnxruntime"

    def __init__(self, path: Path, threads: int = 1) -> None:
        self.memory = memory()
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.enable_cpu_mem_arena = False  # what a large batch took is given back
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        inputs = {one.name: _port(one) for one in self._session.get_inputs()}
        outputs = {one.name: _port(one) for one in self._session.get_outputs()}
        self._names = list(outputs)
        self.signatures = {DEFAULT: Signature.of(inputs, outputs)}

    def run(
        self, signature: str, inputs: Mapping[str, Array], outputs: Sequence[str] = ()
    ) -> dict[str, Array]:
        wanted = [name for name in self._names if not outputs or name in outputs]
        given = {name: np.ascontiguousarray(array) for name, array in inputs.items()}
        try:
            made = self._session.run(wanted, given)
        except Exception as error:  # onnxruntime has many, none with a common base
            raise invalid(brief(error)) from None
        return dict(zip(wanted, made, strict=True))


def _port(one: Any) -> Port:
    if one.type not in _TYPES:
        raise ValueError(f"{one.name} is a {one.type}, which no request can hold")
    shape = tuple(size if isinstance(size, int) and size >= 0 else -1 for size in one.shape)
    return Port(one.name, BY_DTYPE[np.dtype(_TYPES[one.type])], shape)
