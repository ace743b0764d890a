"""KServe v2 over REST: JSON, or JSON with the tensors' bytes behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import numpy as np
import orjson

from traindeck.recipes.shared.deploy.serving import jsonfast, jsonrequest, v2
from traindeck.recipes.shared.deploy.serving.errors import Refused, invalid
from traindeck.recipes.shared.deploy.serving.kinds import Array, Port
from traindeck.recipes.shared.deploy.serving.limits import LARGE
from traindeck.recipes.shared.deploy.serving.tensors import as_bytes

Headers = list[tuple[bytes, bytes]]
_LENGTH = b"inference-header-content-length"
_JSON: Headers = [(b"content-type", b"application/json")]


class V2Rest:
    def __init__(self, inference: v2.Inference, version: str) -> None:
        self._inference, self._version = inference, version

    async def answer(
        self, method: str, path: str, body: bytes, headers: Mapping[bytes, bytes]
    ) -> tuple[Headers, bytes]:
        """The headers and body that answer a request of status 200. Raises Refused."""
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if parts == ["v2"]:
            told = {"name": v2.NAME, "version": self._version, "extensions": v2.EXTENSIONS}
            return _JSON, orjson.dumps(told)
        if parts == ["v2", "health", "live"]:
            return _JSON, b'{"live":true}'
        if parts == ["v2", "health", "ready"]:
            if not self._inference.store.ready():
                raise Refused("UNAVAILABLE", "not every model has a version that serves")
            return _JSON, b'{"ready":true}'
        if len(parts) < 3 or parts[1] != "models":
            raise Refused("NOT_FOUND", f"there is no {path[:200]}")
        name, rest, version = parts[2], parts[3:], ""
        if rest[:1] == ["versions"] and len(rest) > 1:
            version, rest = rest[1], rest[2:]
        if rest == ["ready"]:
            if not self._serves(name, version):
                raise Refused("UNAVAILABLE", f"{name} is not served (yet)")
            return _JSON, orjson.dumps({"name": name, "ready": True})
        if rest == ["infer"] and method == "POST":
            return await self._infer(name, version, body, headers)
        if rest:
            raise Refused("NOT_FOUND", f"there is no {method} {path[:200]}")
        kind, versions, inputs, outputs = self._inference.described(name, version)
        description: dict[str, Any] = {
            "name": name,
            "versions": versions,
            "platform": kind,
            "inputs": _described(inputs),
            "outputs": _described(outputs),
        }
        return _JSON, orjson.dumps(description)

    def _serves(self, name: str, version: str) -> bool:
        try:
            self._inference.find(name, version)
        except Refused as error:
            if error.code != "NOT_FOUND":
                raise
            return False
        return True

    async def _infer(
        self, name: str, version: str, body: bytes, headers: Mapping[bytes, bytes]
    ) -> tuple[Headers, bytes]:
        backend, number = self._inference.find(name, version)
        length = headers.get(_LENGTH)
        if length is None and len(body) > LARGE:  # others are answered meanwhile
            document, inputs = await asyncio.to_thread(_read, body, length)
        else:
            document, inputs = _read(body, length)
        wanted = _wanted(document)
        made = await self._inference.infer(backend, inputs, list(wanted))
        binary = _parameters(document).get("binary_data_output") is True
        listed, blobs = [], []
        for key, array in made.items():
            one: dict[str, Any] = {
                "name": key,
                "datatype": v2.datatype(array),
                "shape": list(array.shape),
            }
            if wanted.get(key, {}).get("binary_data", binary):
                blobs.append(v2.to_bytes(array))
                one["parameters"] = {"binary_data_size": len(blobs[-1])}
            else:
                one["data"] = _plain(array)
            listed.append(one)
        answer = {"model_name": name, "model_version": str(number), "outputs": listed}
        if isinstance(document.get("id"), str):
            answer["id"] = document["id"]
        head = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
        if not blobs:
            return _JSON, head
        kind = (b"content-type", b"application/octet-stream")
        return [kind, (_LENGTH, str(len(head)).encode())], b"".join((head, *blobs))


def _read(body: bytes, length: bytes | None) -> tuple[dict[str, Any], dict[str, Array]]:
    document, tail = _divided(body, length)
    return document, _inputs(document, tail)


def _divided(body: bytes, length: bytes | None) -> tuple[dict[str, Any], bytes]:
    """The JSON of a request, and the bytes behind it."""
    at = len(body)
    if length is not None:
        if not length.isdigit() or int(length) > len(body):
            raise invalid(
                f"Inference-Header-Content-Length is {length[:40].decode('latin-1')!r},"
                f" the body has {len(body)} bytes"
            )
        at = int(length)
    quick = jsonfast.infer_request(body[:at]) if length is None else None
    if quick is not None:
        return quick, b""
    try:
        document = orjson.loads(body[:at])
    except orjson.JSONDecodeError as error:
        raise invalid(f"the request is no JSON: {error}") from None
    if not isinstance(document, dict):
        raise invalid("the request is no JSON object")
    return document, body[at:]


def _inputs(document: dict[str, Any], tail: bytes) -> dict[str, Array]:
    given = document.get("inputs")
    if not isinstance(given, list) or not given:
        raise invalid("the request has no list of 'inputs'")
    made: dict[str, Array] = {}
    at = 0
    for one in given:
        if not isinstance(one, dict) or not isinstance(one.get("name"), str):
            raise invalid("each of 'inputs' is an object with a name, datatype, shape and data")
        name, shape = one["name"], one.get("shape")
        if not isinstance(shape, list) or not all(type(size) is int for size in shape):
            raise invalid(f"input '{name}' has no shape: a list of whole numbers")
        kind = v2.kind_of(one.get("datatype"), name)
        size = _parameters(one).get("binary_data_size")
        if size is not None:
            if type(size) is not int or not 0 <= size <= len(tail) - at:
                raise invalid(
                    f"input '{name}' says that it has {size} bytes; {len(tail) - at} are left"
                )
            made[name] = v2.from_bytes(tail[at : at + size], kind, shape, name)
            at += size
        elif "data" in one:
            data = one["data"]
            values = data if isinstance(data, np.ndarray) else jsonrequest.tensor(data, kind)
            made[name] = v2.reshaped(values, shape, name)
        else:
            raise invalid(f"input '{name}' has neither data nor a binary_data_size")
    if at != len(tail):
        raise invalid(f"{len(tail) - at} bytes behind the last input belong to none")
    return made


def _wanted(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    given = document.get("outputs", [])
    if not isinstance(given, list) or not all(
        isinstance(one, dict) and isinstance(one.get("name"), str) for one in given
    ):
        raise invalid("'outputs' is a list of objects with a name")
    return {one["name"]: _parameters(one) for one in given}


def _parameters(given: dict[str, Any]) -> dict[str, Any]:
    parameters = given.get("parameters", {})
    return parameters if isinstance(parameters, dict) else {}


def _described(ports: Mapping[str, Port]) -> list[dict[str, Any]]:
    return [
        {"name": name, "datatype": port.kind.v2, "shape": list(port.shape or ())}
        for name, port in ports.items()
    ]


def _plain(array: Array) -> Any:
    if array.dtype == object:
        return [as_bytes(value).decode("utf-8", "replace") for value in array.ravel()]
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    return np.ascontiguousarray(array).ravel()
