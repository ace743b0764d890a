"""TensorFlow Serving's REST API: `/v1/models/NAME…`."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.parse

import orjson
from google.protobuf import json_format

from traindeck.recipes.shared.deploy.serving import examples, jsonanswer, jsonfast, jsonrequest
from traindeck.recipes.shared.deploy.serving.backends.base import Backend
from traindeck.recipes.shared.deploy.serving.calls import Calls
from traindeck.recipes.shared.deploy.serving.errors import invalid
from traindeck.recipes.shared.deploy.serving.kinds import DEFAULT, Array
from traindeck.recipes.shared.deploy.serving.limits import LARGE
from traindeck.recipes.shared.deploy.serving.messages import Message, message

_S = "tensorflow.serving."
_WHICH = r"([^/:]+)(?:/versions/(\d+)|/labels/([^/:]+))?"
_POST = re.compile(rf"/v1/models/{_WHICH}:(classify|regress|predict)", re.IGNORECASE)
_GET = re.compile(rf"/v1/models(?:/{_WHICH}(/metadata)?)?", re.IGNORECASE)
_MOST_VERSION = 1 << 63


class Rest:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def answer(self, method: str, path: str, body: bytes) -> bytes:
        """The JSON that answers a request of status 200. Raises Refused.

        path  still quoted: a model's name may hold a slash
        """
        pattern = {"POST": _POST, "GET": _GET}.get(method)
        match = pattern.fullmatch(path) if pattern else None
        if not match:
            raise invalid(f"Malformed request: {method} {path[:200]}")
        name, version, label, verb = match.groups()
        if version is not None and int(version) >= _MOST_VERSION:
            raise invalid(f"Failed to convert version: {version} to numeric.")
        which = (
            urllib.parse.unquote(name or ""),
            None if version is None else int(version),
            urllib.parse.unquote(label or "") or None,
        )
        if method == "GET":
            return self._metadata(*which) if verb else self._status(*which)
        if verb.lower() == "predict":
            return await self._predict(*which, body)
        return await self._examples(verb.lower(), *which, body)

    async def _predict(
        self, name: str, version: int | None, label: str | None, body: bytes
    ) -> bytes:
        backend, _ = self._calls.store.get(name, version, label)
        if len(body) > LARGE:  # others are answered meanwhile
            asked, inputs, rows = await asyncio.to_thread(_read, backend, body)
        else:
            asked, inputs, rows = _read(backend, body)
        outputs = await self._calls.ask(backend, asked or DEFAULT, inputs)
        return jsonanswer.predictions(outputs, rows)

    async def _examples(
        self, verb: str, name: str, version: int | None, label: str | None, body: bytes
    ) -> bytes:
        document, signature = jsonrequest.parse(body)
        title = {"classify": "Classification", "regress": "Regression"}[verb]
        request = message(f"{_S}{title}Request")()
        response = message(f"{_S}{title}Response")()
        _spec(request.model_spec, name, version, label)
        request.model_spec.signature_name = signature
        examples.fill(document, request, verb)
        if verb == "regress":
            await self._calls.regress(request, response)
            return orjson.dumps({"results": [one.value for one in response.result.regressions]})
        await self._calls.classify(request, response)
        rows = response.result.classifications
        listed = [[[one.label, one.score] for one in row.classes] for row in rows]
        return orjson.dumps({"results": listed})

    def _status(self, name: str, version: int | None, label: str | None) -> bytes:
        if not name:
            raise invalid("Missing model name in request.")
        request = message(f"{_S}GetModelStatusRequest")()
        response = message(f"{_S}GetModelStatusResponse")()
        if label:
            version = self._calls.store.get(name, None, label)[1]
        _spec(request.model_spec, name, version, None)
        self._calls.status(request, response)
        return json.dumps(_told(response), indent=1).encode()

    def _metadata(self, name: str, version: int | None, label: str | None) -> bytes:
        request = message(f"{_S}GetModelMetadataRequest")()
        response = message(f"{_S}GetModelMetadataResponse")()
        _spec(request.model_spec, name, version, label)
        request.metadata_field.append("signature_def")
        signatures = self._calls.metadata(request, response)
        told = {
            "model_spec": _told(response.model_spec),
            "metadata": {"signature_def": _told(signatures)},
        }
        return json.dumps(told, indent=1).encode()


def _read(backend: Backend, body: bytes) -> tuple[str, dict[str, Array], bool]:
    """The signature that is asked for, the arrays by input, and whether they came in rows."""
    default = backend.signatures.get(DEFAULT)
    quick = jsonfast.predict_inputs(body, default.inputs) if default else None
    if quick is not None:
        return quick
    document, asked = jsonrequest.parse(body)
    signature = backend.signatures.get(asked or DEFAULT)
    if signature is None:
        raise invalid(f'Serving signature name: "{asked or DEFAULT}" not found in signature def')
    return asked, *jsonrequest.predict_inputs(document, signature.inputs)


def _spec(target: Message, name: str, version: int | None, label: str | None) -> None:
    target.name = name
    if version is not None:
        target.version.value = version
    if label:
        target.version_label = label


def _told(given: Message) -> object:
    return json_format.MessageToDict(
        given, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
