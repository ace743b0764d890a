"""A client of a serving run, over KServe v2 with binary tensors. Standard library and numpy."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from traindeck.core.base.errors import NotFoundError, TraindeckError, UsageError

SECONDS = 60.0
DTYPES = {
    "BOOL": "?",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
    **{f"INT{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
}
"""numpy's words by v2's."""


@dataclass(frozen=True, slots=True)
class Input:
    """What a model takes: `shape` has the batch first, -1 for what is free."""

    name: str
    datatype: str
    shape: tuple[int, ...]


class Client:
    """A server by its URL, such as http://127.0.0.1:8501. Raises UsageError for what is none."""

    def __init__(self, url: str, token: str = "", ca: str = "") -> None:
        parts = urlsplit(url)
        try:
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError:
            self._host, self._port = "", None
        if parts.scheme not in ("http", "https") or not self._host:
            raise UsageError(f"{url!r} is no address of a server, such as http://127.0.0.1:8501")
        self._url, self._token = url, token
        self._tls = ssl.create_default_context(cafile=ca or None) if url[4] == "s" else None

    def shows(self, certificate: Path, key: Path | None) -> None:
        """Have the server see this certificate. Raises UsageError."""
        if self._tls is None:
            raise UsageError(f"{self._url} is without TLS: a certificate is shown over https alone")
        try:
            self._tls.load_cert_chain(certificate.expanduser(), key and key.expanduser())
        except OSError as error:
            raise UsageError(f"{certificate} cannot be used: {error}") from None

    def inputs(self, model: str) -> list[Input]:
        """What the model takes. Raises NotFoundError, TraindeckError."""
        _, _, body = self._told("GET", f"/v2/models/{quote(model, safe='')}")
        try:
            return [
                Input(one["name"], one["datatype"], tuple(one["shape"]))
                for one in _object(body)["inputs"]
            ]
        except (KeyError, TypeError):
            raise TraindeckError(f"{self._url} does not say what {model} takes") from None

    def signature(self, model: str) -> dict[str, Any]:
        """Units and labels of inputs and outputs; empty where the server or model has none."""
        status, _, body = self._ask("GET", f"/v1/models/{quote(model, safe='')}/signature")
        return _object(body) if status == 200 else {}

    def infer(self, model: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Outputs by name, as arrays. Raises NotFoundError, UsageError, TraindeckError."""
        import numpy as np

        words = {np.dtype(dtype): word for word, dtype in DTYPES.items()}
        inputs, blobs = [], []
        for name, array in arrays.items():
            blobs.append(np.ascontiguousarray(array).tobytes())
            inputs.append(
                {
                    "name": name,
                    "datatype": words[array.dtype],
                    "shape": list(array.shape),
                    "parameters": {"binary_data_size": len(blobs[-1])},
                }
            )
        asked = {"inputs": inputs, "parameters": {"binary_data_output": True}}
        head = json.dumps(asked).encode()
        _, headers, body = self._told(
            "POST",
            f"/v2/models/{quote(model, safe='')}/infer",
            head + b"".join(blobs),
            {"Inference-Header-Content-Length": str(len(head))},
        )
        length = int(headers.get("inference-header-content-length", len(body)))
        return _outputs(_object(body[:length]), body[length:])

    def post(self, path: str, body: bytes) -> bytes:
        """What a path of the server answers. Raises NotFoundError, UsageError, TraindeckError."""
        return self._told("POST", path, body)[2]

    def _told(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        status, got, answer = self._ask(method, path, body, headers)
        if status == 200:
            return status, got, answer
        why = _object(answer).get("error") or f"status {status}"
        kinds: dict[int, type[TraindeckError]] = {404: NotFoundError, 400: UsageError}
        raise kinds.get(status, TraindeckError)(f"{self._url}: {why}")

    def _ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        sent = dict(headers or {})
        if self._token:
            sent["Authorization"] = f"Bearer {self._token}"
        connection: http.client.HTTPConnection
        if self._tls:
            connection = http.client.HTTPSConnection(
                self._host, self._port, timeout=SECONDS, context=self._tls
            )
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=SECONDS)
        try:
            connection.request(method, path, body or None, sent)
            answer = connection.getresponse()
            got = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, got, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise TraindeckError(f"{self._url} does not answer: {error}") from None
        finally:
            connection.close()


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _outputs(said: Mapping[str, Any], tail: bytes) -> dict[str, Any]:
    import numpy as np

    made, at = {}, 0
    for one in said.get("outputs", []):
        size = one.get("parameters", {}).get("binary_data_size")
        if one["datatype"] not in DTYPES:
            made[one["name"]] = np.array(_texts(tail[at : at + size]), object).reshape(one["shape"])
        elif size is None:
            made[one["name"]] = np.array(one["data"]).reshape(one["shape"])
        else:
            dtype = DTYPES[one["datatype"]]
            made[one["name"]] = np.frombuffer(tail[at : at + size], dtype).reshape(one["shape"])
        at += size or 0
    return made


def _texts(data: bytes) -> list[str]:
    texts, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        texts.append(data[at + 4 : at + 4 + size].decode("utf-8", "replace"))
        at += 4 + size
    return texts
