"""What TensorFlow Serving's two APIs do: predict, classify, regress, several, metadata, status."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from traindeck.recipes.shared.deploy.serving.backends.base import Backend
from traindeck.recipes.shared.deploy.serving.check import checked
from traindeck.recipes.shared.deploy.serving.config import models
from traindeck.recipes.shared.deploy.serving.errors import CODES, Refused, invalid
from traindeck.recipes.shared.deploy.serving.kinds import DEFAULT, Array
from traindeck.recipes.shared.deploy.serving.limits import Limits
from traindeck.recipes.shared.deploy.serving.messages import Message, message
from traindeck.recipes.shared.deploy.serving.runner import Outputs, Runner
from traindeck.recipes.shared.deploy.serving.store import Store
from traindeck.recipes.shared.deploy.serving.tensors import as_bytes, to_array, to_proto

CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"
_S = "tensorflow.serving."


class Calls:
    """Each takes a request's message and fills in the answer's; all raise Refused.

    folders  those that ReloadConfig may name, and what is below them; None: any
    """

    def __init__(
        self, store: Store, runner: Runner, limits: Limits, folders: Sequence[Path] | None = None
    ) -> None:
        self.store, self.runner, self.limits = store, runner, limits
        self._folders = folders

    async def ask(
        self,
        backend: Backend,
        signature: str,
        inputs: dict[str, Array],
        wanted: Sequence[str] = (),
    ) -> Outputs:
        """Check a request against its signature, and run it."""
        checked(backend, signature, inputs, wanted, self.limits)
        return await self.runner.run(backend, signature, inputs, tuple(wanted))

    async def predict(self, request: Message, response: Message) -> None:
        backend, number = self._find(request.model_spec)
        name = request.model_spec.signature_name or DEFAULT
        inputs = {key: to_array(value) for key, value in request.inputs.items()}
        made = await self.ask(backend, name, inputs, list(request.output_filter))
        _told(request.model_spec, response.model_spec, number, name)
        for key, array in made.items():
            to_proto(array, response.outputs[key])

    async def classify(self, request: Message, response: Message) -> None:
        made, number = await self._examples(request, "classification")
        classes, scores = made.get("classes"), made.get("scores")
        some = scores if scores is not None else classes
        if some is None:
            raise invalid(
                "Expected classification signature outputs to contain at least one of"
                ' "classes" or "scores".'
            )
        if some.ndim != 2:
            raise invalid(
                f"Expected Tensor shape: [batch_size num_classes] but got {list(some.shape)}"
            )
        for i in range(some.shape[0]):
            row = response.result.classifications.add()
            for j in range(some.shape[1]):
                one = row.classes.add()
                if classes is not None:
                    one.label = as_bytes(classes[i, j]).decode("utf-8", "replace")
                if scores is not None:
                    one.score = float(scores[i, j])
        _told(request.model_spec, response.model_spec, number)

    async def regress(self, request: Message, response: Message) -> None:
        made, number = await self._examples(request, "regression")
        if "outputs" not in made:
            raise invalid("No regression outputs found in SignatureDef")
        for value in np.asarray(made["outputs"]).reshape(-1):
            response.result.regressions.add().value = float(value)
        _told(request.model_spec, response.model_spec, number)

    async def several(self, request: Message, response: Message) -> None:
        """MultiInference: classify and regress the same examples."""
        if not request.tasks:
            raise invalid("Inference request must contain at least one task.")
        kinds = {
            CLASSIFY: ("Classification", self.classify),
            REGRESS: ("Regression", self.regress),
        }
        for task in request.tasks:
            if task.method_name not in kinds:
                raise Refused(
                    "UNIMPLEMENTED", f"Unrecognized signature method_name: {task.method_name}"
                )
            title, call = kinds[task.method_name]
            one = message(f"{_S}{title}Request")(model_spec=task.model_spec, input=request.input)
            made = message(f"{_S}{title}Response")()
            await call(one, made)
            result = response.results.add(model_spec=made.model_spec)
            getattr(result, f"{title.lower()}_result").CopyFrom(made.result)

    def metadata(self, request: Message, response: Message) -> Message:
        """Fills in the packed signatures, and returns them as they are."""
        if not request.model_spec.name:
            raise invalid("Missing ModelSpec")
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != "signature_def":
                raise invalid(f"Metadata field {field} is not supported")
        backend, number = self._find(request.model_spec)
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = number
        signatures = message(f"{_S}SignatureDefMap")()
        for name, signature in backend.signatures.items():
            signatures.signature_def[name].CopyFrom(signature.proto)
        packed = response.metadata["signature_def"]
        packed.type_url = f"type.googleapis.com/{_S}SignatureDefMap"
        packed.value = signatures.SerializeToString()
        return signatures

    def status(self, request: Message, response: Message) -> None:
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        spec = request.model_spec
        for version in self.store.status(spec.name, _number(spec)):
            one = response.model_version_status.add(version=version.number, state=version.state)
            one.status.SetInParent()
            if version.error:
                one.status.error_code = CODES[version.error.code]
                one.status.error_message = version.error.message

    async def reload(self, request: Message, response: Message) -> None:
        """HandleReloadConfigRequest: serve these models from now on; answered once they are."""
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid(
                "ServerModelConfig type not supported by HandleReloadConfigRequest."
                " Only ModelConfigList is currently supported"
            )
        wanted = models(request.config)
        for model in wanted:
            self._admit(model.base)
        await asyncio.to_thread(self.store.set, wanted)
        response.status.SetInParent()

    def _admit(self, base: Path) -> None:
        """Refuse what whoever started the server did not mean: any user of a machine may ask."""
        if self._folders is None:
            return
        real = base.resolve()
        if not any(real.is_relative_to(folder.resolve()) for folder in self._folders):
            raise Refused(
                "FAILED_PRECONDITION",
                f"{base} is no folder that this server was started with; one that asks for a"
                " token or a certificate (--token-file, --client-ca) serves others too",
            )

    def _find(self, spec: Message) -> tuple[Backend, int]:
        return self.store.get(spec.name, _number(spec), spec.version_label or None)

    async def _examples(self, request: Message, word: str) -> tuple[Outputs, int]:
        backend, number = self._find(request.model_spec)
        name = request.model_spec.signature_name or DEFAULT
        known = backend.signatures.get(name)
        if known is None:
            raise invalid(f"No signature was found with the name: {name}")
        # method_name is not looked at: what TensorFlow 2 saves says "predict" for everything
        if len(known.inputs) != 1:
            raise invalid("Expected one input Tensor.")
        if "inputs" not in known.inputs:
            raise invalid(f"No {word} inputs found in SignatureDef: {name}")
        return await self.ask(backend, name, {"inputs": _serialized(request.input)}), number


def _number(spec: Message) -> int | None:
    return spec.version.value if spec.WhichOneof("version_choice") == "version" else None


def _told(asked: Message, told: Message, number: int, signature: str | None = None) -> None:
    told.name, told.version.value = asked.name, number
    told.signature_name = asked.signature_name if signature is None else signature


def _serialized(given: Message) -> Array:
    kind = given.WhichOneof("kind")
    examples = list(getattr(given, kind).examples) if kind else []
    if not examples:
        raise invalid("Input is empty.")
    array: Array = np.empty(len(examples), object)
    for at, example in enumerate(examples):
        if kind == "example_list_with_context":
            whole = message("tensorflow.Example")()
            whole.CopyFrom(given.example_list_with_context.context)
            whole.MergeFrom(example)
            example = whole
        array[at] = example.SerializeToString()
    return array
