"""KServe v2, the Open Inference Protocol: what its REST and gRPC share."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from traindeck.recipes.shared.deploy.serving.backends.base import Backend
from traindeck.recipes.shared.deploy.serving.calls import Calls
from traindeck.recipes.shared.deploy.serving.errors import invalid
from traindeck.recipes.shared.deploy.serving.kinds import (
    BY_DTYPE,
    BY_V2,
    DEFAULT,
    Array,
    Kind,
    Port,
)
from traindeck.recipes.shared.deploy.serving.store import AVAILABLE
from traindeck.recipes.shared.deploy.serving.tensors import as_bytes, sized

NAME = "traindeck"
EXTENSIONS = ("binary_tensor_data",)


def kind_of(datatype: Any, name: str) -> Kind:
    """By its v2 word. Raises Refused."""
    kind = BY_V2.get(datatype) if isinstance(datatype, str) else None
    if kind is None:
        raise invalid(f"input '{name}' has datatype {datatype!r}; known are {', '.join(BY_V2)}")
    return kind


def version_of(text: str) -> int | None:
    """A version as v2 has it: text, empty for any. Raises Refused."""
    if text and not re.fullmatch(r"[0-9]{1,18}", text):
        raise invalid(f"{text!r} is no version: versions are numbers")
    return int(text) if text else None


def from_bytes(data: bytes, kind: Kind, shape: list[int], name: str) -> Array:
    """A tensor of a binary body. Raises Refused where its length is not what the shape needs."""
    size = sized(shape)
    if not kind.is_text:
        if len(data) != size * kind.dtype.itemsize:
            raise invalid(
                f"input '{name}' has {len(data)} bytes,"
                f" {kind.v2} of shape {shape} needs {size * kind.dtype.itemsize}"
            )
        made: Array = np.frombuffer(data, kind.dtype).reshape(shape)
        return made
    values: list[bytes] = []
    at = 0
    while at < len(data) and len(values) <= size:
        length = int.from_bytes(data[at : at + 4], "little")
        values.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    if at != len(data) or len(values) != size:
        raise invalid(f"input '{name}' does not hold the {size} texts that its shape {shape} needs")
    texts: Array = np.empty(size, object)
    texts[:] = values
    return texts.reshape(shape)


def to_bytes(array: Array) -> bytes:
    if array.dtype != object:
        return np.ascontiguousarray(array).tobytes()
    texts = map(as_bytes, array.ravel())
    return b"".join(len(text).to_bytes(4, "little") + text for text in texts)


def datatype(array: Array) -> str:
    return BY_DTYPE[array.dtype].v2


def reshaped(values: Array, shape: list[int], name: str) -> Array:
    """Flat or nested values in a shape. Raises Refused where they do not fill it."""
    if values.size != sized(shape):
        raise invalid(f"input '{name}' has {values.size} values for the shape {shape}")
    return values.reshape(shape)


class Inference:
    """Models by v2's words; each signature but `serving_default` is out of its reach."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.store = calls.store

    def find(self, name: str, version: str) -> tuple[Backend, int]:
        return self.store.get(name, version_of(version))

    def described(
        self, name: str, version: str
    ) -> tuple[str, list[str], Mapping[str, Port], Mapping[str, Port]]:
        """What runs the model, its versions that serve, and its inputs and outputs."""
        backend, _ = self.find(name, version)
        signature = backend.signatures[signature_of(backend)]
        versions = [str(one.number) for one in self.store.status(name) if one.state == AVAILABLE]
        return backend.kind, versions, signature.inputs, signature.outputs

    async def infer(
        self, backend: Backend, inputs: dict[str, Array], wanted: Sequence[str]
    ) -> dict[str, Array]:
        made = await self.calls.ask(backend, signature_of(backend), inputs, wanted)
        return {name: np.asarray(made[name]) for name in wanted or made}


def signature_of(backend: Backend) -> str:
    return DEFAULT if DEFAULT in backend.signatures else next(iter(backend.signatures))
