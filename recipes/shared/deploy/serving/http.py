"""uvicorn's protocol with limits that it lacks: slow or endless headers, too many connections."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from traindeck.recipes.shared.deploy.serving.app import told

HEAD_BYTES = 65536
HEAD_SECONDS = 10.0

_PHRASES = {
    400: "Bad Request",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


def protocol(connections: int) -> type[HttpToolsProtocol]:
    """The protocol with so many connections open at once."""

    class Guarded(HttpToolsProtocol):
        _head = 0
        _timer: asyncio.TimerHandle | None = None
        _in_body = False

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if len(self.connections) > connections:
                self._refuse(503, f"{connections} connections are open already: try again later")
                return
            self._arm()

        def connection_lost(self, exc: Exception | None) -> None:
            self._disarm()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if not self._in_body:
                self._head += len(data)
            super().data_received(data)
            if self.parser is None or self.transport.is_closing() or self._in_body:
                return
            if self._head > HEAD_BYTES:
                self._refuse(431, f"the head of a request has at most {HEAD_BYTES} bytes")
            elif self._timer is None:
                self._arm()

        def on_headers_complete(self) -> None:
            self._in_body, self._head = True, 0
            self._disarm()
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            self._in_body = False
            super().on_message_complete()

        def on_response_complete(self) -> None:
            self._disarm()
            super().on_response_complete()

        def send_400_response(self, msg: str) -> None:
            self._refuse(400, "this is no HTTP request")

        def _arm(self) -> None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self._late)

        def _disarm(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _late(self) -> None:
            self._timer = None
            if self.cycle is None or self.cycle.response_complete:
                self._refuse(408, f"no request came within {HEAD_SECONDS:g} seconds")

        def _refuse(self, status: int, message: str) -> None:
            if self.transport.is_closing():
                return
            body = told(message)
            head = (
                f"HTTP/1.1 {status} {_PHRASES[status]}\r\ncontent-type: application/json\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
            self.transport.close()

    return Guarded
