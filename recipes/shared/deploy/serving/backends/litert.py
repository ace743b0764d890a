"""LiteRT (TensorFlow Lite) models through its interpreter: the smallest of all in memory."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from traindeck.recipes.shared.deploy.serving.errors import brief, invalid
from traindeck.recipes.shared.deploy.serving.kinds import (
    BY_DTYPE,
    DEFAULT,
    Array,
    Port,
    Signature,
)
from traindeck.recipes.shared.deploy.serving.meters import memory


class LiteRT:
    """Two interpreters: one runs one request at a time."""

    kind = "litert"

    def __init__(self, path: Path, threads: int = 1, pool: int = 2) -> None:
        self.memory = memory()
        self._free = [
            Interpreter(str(path), num_threads=threads, experimental_preserve_all_tensors=0)
            for _ in range(pool)
        ]
        self._shapes: dict[int, dict[str, tuple[int, ...]]] = {}
        self._change = threading.Condition()
        first = self._free[0]
        self._inputs, self._outputs = _ends(first)
        ports = [
            {name: _port(name, end) for name, end in side.items()}
            for side in (self._inputs, self._outputs)
        ]
        self._loops = all(port.shape and port.shape[0] == 1 for port in ports[0].values())
        if self._loops:  # converted for one record: the batch is gone through one by one
            ports = [{name: _free(port) for name, port in side.items()} for side in ports]
        self.signatures = {DEFAULT: Signature.of(*ports)}

    def run(
        self, signature: str, inputs: Mapping[str, Array], outputs: Sequence[str] = ()
    ) -> dict[str, Array]:
        with self._change:
            self._change.wait_for(lambda: self._free)
            one = self._free.pop()
        names = [name for name in self._outputs if not outputs or name in outputs]
        try:
            if not self._loops:
                return self._once(one, inputs, names)
            rows = {len(array) for array in inputs.values()}
            if len(rows) != 1 or 0 in rows:
                raise invalid("the inputs need the same number of rows, at least one")
            made = [
                self._once(one, {name: a[i : i + 1] for name, a in inputs.items()}, names)
                for i in range(rows.pop())
            ]
            return {name: np.concatenate([row[name] for row in made]) for name in names}
        except (ValueError, RuntimeError) as error:
            raise invalid(brief(error)) from None
        finally:
            with self._change:
                self._free.append(one)
                self._change.notify()

    def _once(
        self, one: Any, inputs: Mapping[str, Array], names: Sequence[str]
    ) -> dict[str, Array]:
        shapes = {name: array.shape for name, array in inputs.items()}
        if self._shapes.get(id(one)) != shapes:
            self._shapes.pop(id(one), None)
            for name, shape in shapes.items():
                one.resize_tensor_input(self._inputs[name]["index"], shape, strict=not self._loops)
            one.allocate_tensors()
            self._shapes[id(one)] = shapes
        for name, array in inputs.items():
            one.set_tensor(self._inputs[name]["index"], np.ascontiguousarray(array))
        one.invoke()
        return {name: one.get_tensor(self._outputs[name]["index"]) for name in names}


def _ends(one: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Inputs and outputs by the names of its signature, or by the tensors' own."""
    if listed := one.get_signature_list():
        runner = one.get_signature_runner(next(iter(listed)))
        return dict(runner.get_input_details()), dict(runner.get_output_details())
    sides = (one.get_input_details(), one.get_output_details())
    inputs, outputs = ({_stripped(end["name"]): end for end in side} for side in sides)
    return inputs, outputs


def _stripped(name: str) -> str:
    return name.removesuffix(":0").removeprefix("serving_default_").removeprefix("tflite_")


def _port(name: str, end: Mapping[str, Any]) -> Port:
    shape = end.get("shape_signature", end["shape"])
    return Port(name, BY_DTYPE[np.dtype(end["dtype"])], tuple(int(size) for size in shape))


def _free(port: Port) -> Port:
    assert port.shape is not None
    return Port(port.name, port.kind, (-1, *port.shape[1:]))
