"""The server put together: started, watched and stopped with all requests answered."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from errno import EADDRINUSE
from functools import partial
from typing import Any

import grpc
import uvicorn

from traindeck.core.base.errors import TraindeckError
from traindeck.core.base.home import Home
from traindeck.core.models.bundle import read_signature
from traindeck.recipes.shared.deploy.private.desk import Desk
from traindeck.recipes.shared.deploy.serving.access import Tls
from traindeck.recipes.shared.deploy.serving.app import App
from traindeck.recipes.shared.deploy.serving.backends import choose
from traindeck.recipes.shared.deploy.serving.calls import Calls
from traindeck.recipes.shared.deploy.serving.errors import Refused
from traindeck.recipes.shared.deploy.serving.http import protocol
from traindeck.recipes.shared.deploy.serving.limits import Limits
from traindeck.recipes.shared.deploy.serving.meters import Meters
from traindeck.recipes.shared.deploy.serving.rest import Rest
from traindeck.recipes.shared.deploy.serving.rpc import Rpc
from traindeck.recipes.shared.deploy.serving.runner import Batcher, Runner
from traindeck.recipes.shared.deploy.serving.store import Model, Store
from traindeck.recipes.shared.deploy.serving.v2 import Inference
from traindeck.recipes.shared.deploy.serving.v2rest import V2Rest
from traindeck.recipes.shared.deploy.serving.v2rpc import V2Rpc

KEEP_ALIVE_SECONDS = 65
DRAIN_SECONDS = 8.0
"""A stopped run is killed after ten."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is served, where and how. Ports of 0 are chosen; a gRPC port of None is not opened."""

    models: list[Model]
    home: Home
    host: str = "127.0.0.1"
    port: int = 8501
    grpc_port: int | None = 8500
    token: str = ""
    tls: Tls | None = None
    poll: float = 1.0
    threads: int = 2
    model_threads: int = 1
    batch: int = 0
    batch_seconds: float = 0.0
    private: bool = False
    changed: Callable[[], list[Model] | None] = lambda: None
    version: str = "0"
    limits: Limits = field(default_factory=Limits)


class _Http(uvicorn.Server):
    """The run's own signals count, not uvicorn's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Serving:
    """A server in the running event loop: `start` it, then `stop` it.

    `port` and `grpc_port` are those that it listens on.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self.meters = Meters()
        self.store = Store(
            options.models,
            partial(choose.load, home=options.home, threads=options.model_threads),
            options.poll,
            changed=options.changed,
        )
        if options.batch:
            self._runner: Runner = Batcher(
                options.limits, options.threads, options.batch, options.batch_seconds
            )
        else:
            self._runner = Runner(options.limits, options.threads)
        known = [model.base for model in options.models] + [options.home.models]
        trusted = options.token or (options.tls and options.tls.client_ca)
        calls = Calls(self.store, self._runner, options.limits, None if trusted else known)
        inference = Inference(calls)
        extra = {"/signature": self._signature}
        self._desk: Desk | None = None
        if options.private:
            self._desk = Desk(self.store)
            extra |= {"/private": self._desk.asked, "/private/keys": self._desk.keys}
        self.app = App(
            Rest(calls),
            V2Rest(inference, options.version),
            self.store,
            options.limits,
            self.meters,
            options.token,
            extra,
        )
        self._rpc = Rpc(
            calls, V2Rpc(inference, options.version), options.limits, self.meters, options.token
        )
        self._http: _Http | None = None
        self._task: asyncio.Task[None] | None = None
        self.port = self.grpc_port = 0

    async def start(self) -> None:
        """Listen at once; models are loaded meanwhile. Raises OSError where it cannot listen."""
        options = self._options
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        listening = _listen(options.host, options.port)
        self.port = listening.getsockname()[1]
        config = uvicorn.Config(
            self.app,
            http=protocol(options.limits.connections),
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=int(DRAIN_SECONDS),
            **_https(options.tls),
        )
        self._http = _Http(config)
        self._task = asyncio.create_task(self._http.serve([listening]))
        if options.grpc_port is not None:
            host = f"[{options.host}]" if ":" in options.host else options.host
            credentials = _credentials(options.tls) if options.tls else None
            self.grpc_port = await self._rpc.start(f"{host}:{options.grpc_port}", credentials)
        self.store.start()

    def _signature(self, name: str, body: bytes) -> bytes:
        """What signature.json says of the version that serves; words that the APIs lack."""
        _, number = self.store.get(name)
        version = next(one for one in self.store.status(name) if one.number == number)
        try:
            return json.dumps(read_signature(version.folder)).encode()
        except TraindeckError as error:
            raise Refused("NOT_FOUND", f"{name} has no signature with labels: {error}") from None

    async def stop(self) -> None:
        """Answer what has come, and take nothing new."""
        self.app.draining = True
        self.store.stop()
        if self._http is not None and self._task is not None:
            self._http.should_exit = True
            await asyncio.gather(self._rpc.stop(DRAIN_SECONDS), self._task)
        self._runner.close()
        if self._desk is not None:
            self._desk.close()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except OSError as error:
        made.close()
        more = "; --port takes another, 0 any that is free, and --grpc-port another for gRPC"
        hint = more if error.errno == EADDRINUSE else ""
        raise OSError(f"{host}:{port}: {error.strerror or error}{hint}") from None
    made.listen(2048)
    return made


def _https(tls: Tls | None) -> dict[str, Any]:
    if tls is None:
        return {}
    made: dict[str, Any] = {
        "ssl_certfile": str(tls.certificate),
        "ssl_keyfile": str(tls.key),
    }
    if tls.client_ca:
        made |= {"ssl_ca_certs": str(tls.client_ca), "ssl_cert_reqs": ssl.CERT_REQUIRED}
    return made


def _credentials(tls: Tls) -> grpc.ServerCredentials:
    pair = (tls.key.read_bytes(), tls.certificate.read_bytes())
    ca = tls.client_ca.read_bytes() if tls.client_ca else None
    return grpc.ssl_server_credentials([pair], ca, require_client_auth=ca is not None)


Watch = Callable[["Serving"], bool]


async def serve(options: Options, watch: Watch, seconds: float = 0.2) -> None:
    """Serve until `watch`, which is called every so often, says that it is enough.

    Raises OSError where it cannot listen.
    """
    serving = Serving(options)
    try:
        await serving.start()
        while not watch(serving):
            await asyncio.sleep(seconds)
    finally:
        await serving.stop()
