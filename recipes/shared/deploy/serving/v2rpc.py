"""KServe v2 over gRPC."""

from __future__ import annotations

from traindeck.recipes.shared.deploy.serving import v2
from traindeck.recipes.shared.deploy.serving.errors import Refused, invalid
from traindeck.recipes.shared.deploy.serving.kinds import Array, Kind
from traindeck.recipes.shared.deploy.serving.messages import Message


class V2Rpc:
    """Each takes a request's message and fills in the answer's; all raise Refused."""

    def __init__(self, inference: v2.Inference, version: str) -> None:
        self._inference, self._version = inference, version

    def live(self, request: Message, response: Message) -> None:
        response.live = True

    def ready(self, request: Message, response: Message) -> None:
        response.ready = self._inference.store.ready()

    def model_ready(self, request: Message, response: Message) -> None:
        try:
            self._inference.find(request.name, request.version)
        except Refused as error:
            if error.code != "NOT_FOUND":
                raise
        else:
            response.ready = True

    def server(self, request: Message, response: Message) -> None:
        response.name, response.version = v2.NAME, self._version
        response.extensions.extend(v2.EXTENSIONS)

    def metadata(self, request: Message, response: Message) -> None:
        kind, versions, *sides = self._inference.described(request.name, request.version)
        response.name, response.platform = request.name, kind
        response.versions.extend(versions)
        for side, ports in zip((response.inputs, response.outputs), sides, strict=True):
            for name, port in ports.items():
                side.add(name=name, datatype=port.kind.v2, shape=port.shape or ())

    async def infer(self, request: Message, response: Message) -> None:
        backend, number = self._inference.find(request.model_name, request.model_version)
        raw = request.raw_input_contents
        if raw and len(raw) != len(request.inputs):
            raise invalid(f"{len(request.inputs)} inputs, {len(raw)} raw_input_contents")
        inputs: dict[str, Array] = {}
        for at, one in enumerate(request.inputs):
            kind, shape = v2.kind_of(one.datatype, one.name), list(one.shape)
            if raw:
                inputs[one.name] = v2.from_bytes(raw[at], kind, shape, one.name)
            else:
                inputs[one.name] = v2.reshaped(_contents(one, kind), shape, one.name)
        made = await self._inference.infer(backend, inputs, [one.name for one in request.outputs])
        response.model_name, response.model_version = request.model_name, str(number)
        response.id = request.id
        for name, array in made.items():
            response.outputs.add(name=name, datatype=v2.datatype(array), shape=array.shape)
            response.raw_output_contents.append(v2.to_bytes(array))


def _contents(one: Message, kind: Kind) -> Array:
    import numpy as np

    if not kind.contents:
        raise invalid(f"input '{one.name}': {kind.v2} is given in raw_input_contents alone")
    values = getattr(one.contents, kind.contents)
    made: Array
    if kind.is_text:
        made = np.empty(len(values), object)
        made[:] = list(values)
        return made
    wide = np.array(values)
    made = wide.astype(kind.dtype)
    if kind.dtype.kind in "iu" and not np.array_equal(made, wide):
        raise invalid(f"input '{one.name}' has values that are no {kind.v2}")
    return made
