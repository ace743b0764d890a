"""The ASGI application: bodies, limits, tokens, health, metrics; the APIs: `rest`, `v2rest`."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from traindeck.recipes.shared.deploy.serving.errors import Refused, brief
from traindeck.recipes.shared.deploy.serving.limits import Limits
from traindeck.recipes.shared.deploy.serving.meters import Key, Meters, begin
from traindeck.recipes.shared.deploy.serving.rest import Rest
from traindeck.recipes.shared.deploy.serving.store import Store
from traindeck.recipes.shared.deploy.serving.v2rest import V2Rest

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_JSON = (b"content-type", b"application/json")
_TEXT = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
_CLOSE = (b"connection", b"close")
_OPEN = ("/healthz", "/readyz", "/v1/ready", "/v2/health/live", "/v2/health/ready")


class Gone(Exception):
    """The client closed the connection before its request was whole."""


class App:
    """`draining` is set while the server is being stopped: it is then not ready any more."""

    def __init__(
        self,
        rest: Rest,
        v2: V2Rest,
        store: Store,
        limits: Limits,
        meters: Meters,
        token: str = "",
        extra: Mapping[str, Callable[[str, bytes], bytes]] | None = None,
    ) -> None:
        self._rest, self._v2, self._store = rest, v2, store
        self._limits, self._meters = limits, meters
        self._token = f"Bearer {token}".encode() if token else b""
        self._extra = dict(extra or {})
        self.draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        began, code, status = time.perf_counter(), "OK", 200
        asked = begin()
        path: str = scope["path"]
        api = "v2-rest" if path.startswith("/v2") else "tfs-rest"
        headers: Headers = [_JSON]
        try:
            headers, out = await self._answer(scope, path, receive)
        except Gone:
            return
        except Refused as error:
            status, code, out = error.status, error.code, told(error.message)
            headers = [_JSON]
            if status in (408, 413):  # the rest of the body is not waited for
                headers.append(_CLOSE)
            if status == 401:
                headers.append((b"www-authenticate", b"Bearer"))
        except Exception as error:
            status, code, out = 500, "INTERNAL", told(brief(error))
            headers = [_JSON]
        length = (b"content-length", str(len(out)).encode())
        await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
        await send({"type": "http.response.body", "body": out})
        if path.startswith(("/v1/models", "/v2/models")) and not path.endswith("/ready"):
            self._meters.count(api, code, began, asked)

    async def _answer(self, scope: Scope, path: str, receive: Receive) -> tuple[Headers, bytes]:
        if path == "/healthz":
            return [_JSON], b'{"status":"alive"}'
        if path in ("/readyz", "/v1/ready"):
            return [_JSON], self._ready("")
        headers = dict(scope["headers"])
        if path not in _OPEN:
            self._admit(headers.get(b"authorization", b""))
        method: str = scope["method"]
        raw = scope["raw_path"].decode("latin-1")
        if path in ("/metrics", "/monitoring/prometheus/metrics"):
            return [_TEXT], self._meters.exposition(self._states(), self._loaded())
        if path.startswith("/v1/models/") and path.endswith("/ready"):
            return [_JSON], self._ready(path.removeprefix("/v1/models/").removesuffix("/ready"))
        body = await self._body(headers, receive) if method == "POST" else b""
        for ending, extra in self._extra.items():
            if path.startswith("/v1/models/") and path.endswith(ending):
                name = path.removeprefix("/v1/models/").removesuffix(ending)
                return [_JSON], await asyncio.to_thread(extra, name, body)
        if self.draining and path == "/v2/health/ready":
            raise Refused("UNAVAILABLE", "the server is being stopped")
        if path == "/v2" or path.startswith("/v2/"):
            return await self._v2.answer(method, raw, body, headers)
        if not path.lower().startswith("/v1/"):
            raise Refused("NOT_FOUND", f"there is no {path[:200]}")
        return [_JSON], await self._rest.answer(method, raw, body)

    def _admit(self, given: bytes) -> None:
        if self._token and not hmac.compare_digest(given, self._token):
            raise Refused("UNAUTHENTICATED", "the header Authorization: Bearer TOKEN is needed")

    def _ready(self, name: str) -> bytes:
        if self.draining:
            raise Refused("UNAVAILABLE", "the server is being stopped")
        if not self._store.ready(name):
            what = f"model {name!r} has no version" if name else "not every model has a version"
            raise Refused("UNAVAILABLE", f"{what} that serves (yet)")
        return b'{"ready":true}'

    def _states(self) -> dict[Key, int]:
        return {
            (model.name, version.number): version.state
            for model in list(self._store.models.values())
            for version in list(model.versions.values())
        }

    def _loaded(self) -> dict[Key, int]:
        return {key: backend.memory for key, backend in self._store.serving().items()}

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        """The whole body, unpacked. Raises Refused for one too large, or too slow."""
        most = self._limits.body
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > most:
            raise Refused("RESOURCE_EXHAUSTED", f"a request has at most {most} bytes", 413)
        event = await self._event(receive)
        body, more = event.get("body", b""), event.get("more_body", False)
        if more:
            parts, size = [body], len(body)
            until = time.monotonic() + self._limits.seconds
            while more:
                event = await self._event(receive, until)
                parts.append(event.get("body", b""))
                size += len(parts[-1])
                if size > most:
                    raise Refused("RESOURCE_EXHAUSTED", f"a request has at most {most} bytes", 413)
                more = event.get("more_body", False)
            body = b"".join(parts)
        if headers.get(b"content-encoding", b"").lower() == b"gzip":
            return _unpacked(body, most)
        return bytes(body)

    async def _event(self, receive: Receive, until: float | None = None) -> dict[str, Any]:
        seconds = self._limits.seconds if until is None else max(0.0, until - time.monotonic())
        try:
            async with asyncio.timeout(seconds):
                event = await receive()
        except TimeoutError:
            raise Refused(
                "DEADLINE_EXCEEDED",
                f"the request was not whole within {self._limits.seconds:g} seconds",
                408,
            ) from None
        if event["type"] == "http.disconnect":
            raise Gone
        return event


def told(message: str) -> bytes:
    """An error as both APIs have it."""
    return json.dumps({"error": message}).encode()


def _unpacked(body: bytes, most: int) -> bytes:
    try:
        unpacking = zlib.decompressobj(31)
        made = unpacking.decompress(body, most)
    except zlib.error as error:
        raise Refused("INVALID_ARGUMENT", f"the body is no gzip: {error}") from None
    if unpacking.unconsumed_tail:
        raise Refused("RESOURCE_EXHAUSTED", f"a request has at most {most} bytes", 413)
    if not unpacking.eof:
        raise Refused("INVALID_ARGUMENT", "the body's gzip ends too early")
    return made
