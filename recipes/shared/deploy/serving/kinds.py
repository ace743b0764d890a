"""The element types of tensors, by each of their names, and what a signature says of a tensor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from traindeck.recipes.shared.deploy.serving.messages import Message, message

Array = np.ndarray[Any, Any]
PREDICT = "tensorflow/serving/predict"
DEFAULT = "serving_default"


@dataclass(frozen=True, slots=True)
class Kind:
    """An element type: TensorFlow's number and word, the v2 word, and its fields in both protocols.

    Strings are object arrays of bytes.
    """

    number: int
    word: str
    v2: str
    dtype: np.dtype[Any]
    field: str
    contents: str

    @property
    def is_text(self) -> bool:
        return self.dtype == object


KINDS = tuple(
    Kind(number, word, v2, np.dtype(dtype), values, contents)
    for number, word, v2, dtype, values, contents in (
        (1, "float", "FP32", np.float32, "float_val", "fp32_contents"),
        (2, "double", "FP64", np.float64, "double_val", "fp64_contents"),
        (3, "int32", "INT32", np.int32, "int_val", "int_contents"),
        (4, "uint8", "UINT8", np.uint8, "int_val", "uint_contents"),
        (5, "int16", "INT16", np.int16, "int_val", "int_contents"),
        (6, "int8", "INT8", np.int8, "int_val", "int_contents"),
        (7, "string", "BYTES", object, "string_val", "bytes_contents"),
        (9, "int64", "INT64", np.int64, "int64_val", "int64_contents"),
        (10, "bool", "BOOL", np.bool_, "bool_val", "bool_contents"),
        (17, "uint16", "UINT16", np.uint16, "int_val", "uint_contents"),
        (19, "half", "FP16", np.float16, "half_val", ""),
        (22, "uint32", "UINT32", np.uint32, "uint32_val", "uint_contents"),
        (23, "uint64", "UINT64", np.uint64, "uint64_val", "uint64_contents"),
    )
)
BY_NUMBER = {kind.number: kind for kind in KINDS}
BY_V2 = {kind.v2: kind for kind in KINDS}
BY_DTYPE = {kind.dtype: kind for kind in KINDS}


@dataclass(frozen=True, slots=True)
class Port:
    """One input or output. `shape` has the batch first and -1 for what is free; None: any."""

    name: str
    kind: Kind
    shape: tuple[int, ...] | None

    def shown(self, shape: tuple[int, ...] | None = None) -> str:
        """A shape as TensorFlow writes it: [?,28,28]."""
        shape = self.shape if shape is None else shape
        return f"[{','.join('?' if size < 0 else str(size) for size in shape or ())}]"

    def takes(self, shape: tuple[int, ...]) -> bool:
        if self.shape is None:
            return True
        pairs = zip(self.shape, shape, strict=False)
        return len(shape) == len(self.shape) and all(want in (-1, is_) for want, is_ in pairs)


@dataclass(frozen=True, slots=True)
class Signature:
    """What can be asked of a model: named inputs, named outputs."""

    inputs: dict[str, Port]
    outputs: dict[str, Port]
    proto: Message = field(compare=False)

    @classmethod
    def of(cls, inputs: dict[str, Port], outputs: dict[str, Port]) -> Signature:
        """That of a model that is no SavedModel, told as if it were one."""
        proto = message("tensorflow.SignatureDef")(method_name=PREDICT)
        for side, ports in ((proto.inputs, inputs), (proto.outputs, outputs)):
            for name, port in ports.items():
                info = side[name]
                info.name, info.dtype = name, port.kind.number
                info.tensor_shape.unknown_rank = port.shape is None
                for size in port.shape or ():
                    info.tensor_shape.dim.add().size = size
        return cls(inputs, outputs, proto)

    @classmethod
    def read(cls, proto: Message) -> Signature | None:
        """That of a SavedModel; None where a tensor has a type that no request can hold."""
        sides: list[dict[str, Port]] = []
        for side in (proto.inputs, proto.outputs):
            ports = {}
            for name, info in side.items():
                if info.dtype not in BY_NUMBER or info.WhichOneof("encoding") != "name":
                    return None
                sizes = tuple(dim.size for dim in info.tensor_shape.dim)
                shape = None if info.tensor_shape.unknown_rank else sizes
                ports[name] = Port(name, BY_NUMBER[info.dtype], shape)
            sides.append(ports)
        inputs, outputs = sides
        return cls(inputs, outputs, proto)
