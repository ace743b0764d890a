"""The gRPC services of both APIs, and gRPC's own health, in the event loop that REST runs in."""

from __future__ import annotations

import hmac
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from traindeck.recipes.shared.deploy.serving.calls import Calls
from traindeck.recipes.shared.deploy.serving.errors import Refused, brief
from traindeck.recipes.shared.deploy.serving.limits import Limits
from traindeck.recipes.shared.deploy.serving.messages import Message, message
from traindeck.recipes.shared.deploy.serving.meters import Meters, begin
from traindeck.recipes.shared.deploy.serving.table import SERVICES
from traindeck.recipes.shared.deploy.serving.v2rpc import V2Rpc

Method = Callable[[Message, Message], Any]
_OPEN = "grpc.health.v1.Health"
"""Whoever starts and stops servers may ask for their health without a token."""


class Rpc:
    """grpc.aio's server with our services; `start` it in a running event loop."""

    def __init__(
        self, calls: Calls, v2: V2Rpc, limits: Limits, meters: Meters, token: str = ""
    ) -> None:
        self._calls, self._meters, self._token = calls, meters, token
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", limits.body),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),
            ],
            maximum_concurrent_rpcs=limits.queue,
        )
        methods: dict[str, dict[str, Method]] = {
            "tensorflow.serving.PredictionService": {
                "Classify": calls.classify,
                "Regress": calls.regress,
                "Predict": calls.predict,
                "MultiInference": calls.several,
                "GetModelMetadata": lambda request, answer: (
                    calls.metadata(request, answer) and None
                ),
            },
            "tensorflow.serving.ModelService": {
                "GetModelStatus": calls.status,
                "HandleReloadConfigRequest": calls.reload,
            },
            "inference.GRPCInferenceService": {
                "ServerLive": v2.live,
                "ServerReady": v2.ready,
                "ModelReady": v2.model_ready,
                "ServerMetadata": v2.server,
                "ModelMetadata": v2.metadata,
                "ModelInfer": v2.infer,
            },
            _OPEN: {"Check": self._health},
        }
        for service, named in methods.items():
            self._server.add_generic_rpc_handlers((self._handlers(service, named),))

    async def start(self, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
        """Listen, and return the port. Raises OSError when the address cannot be had."""
        try:
            if credentials is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, credentials)
        except RuntimeError:
            port = 0
        if not port:
            raise OSError(
                f"gRPC cannot listen on {address}: is the port in use?"
                " --grpc-port takes another, 0 any that is free, -1 none"
            )
        await self._server.start()
        return int(port)

    async def stop(self, seconds: float) -> None:
        """Take nothing new, and let what is running end within so many seconds."""
        await self._server.stop(seconds)

    def _health(self, request: Message, response: Message) -> None:
        response.status = 1 if self._calls.store.ready(request.service) else 2

    def _handlers(self, service: str, methods: dict[str, Method]) -> grpc.GenericRpcHandler:
        package = service.rpartition(".")[0]
        made = {}
        for name, method in methods.items():
            asked, told = (message(f"{package}.{one}") for one in SERVICES[service][name])
            made[name] = grpc.unary_unary_rpc_method_handler(
                self._guarded(method, told, service),
                lambda data, asked=asked: _parsed(asked, data),
                told.SerializeToString,
            )
        return grpc.method_handlers_generic_handler(service, made)

    def _guarded(
        self, method: Method, told: Message, service: str
    ) -> Callable[[Message | None, grpc.aio.ServicerContext[Any, Any]], Awaitable[Message]]:
        api = "v2-grpc" if service.startswith("inference") else "tfs-grpc"

        async def call(
            request: Message | None, context: grpc.aio.ServicerContext[Any, Any]
        ) -> Message:
            began, code, response = time.perf_counter(), "OK", told()
            asked = begin()
            try:
                if self._token and service != _OPEN:
                    self._admit(context)
                if request is None:
                    raise Refused("INVALID_ARGUMENT", "the request is no message of this method")
                made = method(request, response)
                if made is not None:
                    await made
                return response
            except Refused as error:
                code = error.code
                await context.abort(getattr(grpc.StatusCode, code), error.message)
            except grpc.aio.AbortError:
                raise
            except Exception as error:
                code = "INTERNAL"
                await context.abort(grpc.StatusCode.INTERNAL, brief(error))
            finally:
                if service != _OPEN:
                    self._meters.count(api, code, began, asked)
            raise AssertionError("abort raises")

        return call

    def _admit(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        given = dict(context.invocation_metadata() or ()).get("authorization", "")
        if isinstance(given, str):
            given = given.encode("utf-8", "replace")
        if not hmac.compare_digest(given, f"Bearer {self._token}".encode()):
            raise Refused("UNAUTHENTICATED", "authorization: Bearer TOKEN is needed")


def _parsed(asked: Message, data: bytes) -> Message | None:
    """None for what is no such message: an exception here would reach the log as a traceback."""
    from google.protobuf.message import DecodeError

    try:
        return asked.FromString(data)
    except DecodeError:
        return None
