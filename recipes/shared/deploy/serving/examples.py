"""tf.Example in JSON: what classify and regress take over REST."""

from __future__ import annotations

from typing import Any

from traindeck.recipes.shared.deploy.serving.errors import invalid
from traindeck.recipes.shared.deploy.serving.jsonrequest import decoded, is_base64, kind_of, show
from traindeck.recipes.shared.deploy.serving.messages import Message


def fill(document: dict[str, Any], request: Message, verb: str) -> None:
    """Write a JSON request's examples into a Classification- or RegressionRequest."""
    context = "context" in document
    if context:
        _example(document["context"], request.input.example_list_with_context.context)
    if "examples" not in document:
        raise invalid(
            f"JSON Value: {show(document)} When method is {verb}, key 'examples' is expected"
            " and was not found"
        )
    given = document["examples"]
    if not isinstance(given, list):
        raise invalid(
            f"JSON Value: {show(document)} Expecting 'examples' value to be an list/array"
        )
    if not given:
        raise invalid(f"JSON Value: {show(document)} 'examples' value is an empty array")
    target = request.input.example_list_with_context if context else request.input.example_list
    for value in given:
        _example(value, target.examples.add())


def _example(value: Any, proto: Message) -> None:
    if not isinstance(value, dict):
        raise invalid(f"Example must be JSON object but got JSON {kind_of(value)}")
    for name, content in value.items():
        feature = proto.features.feature[name]
        for one in content if isinstance(content, list) else [content]:
            kind, item = _item(name, one)
            have = feature.WhichOneof("kind")
            if have and have != f"{kind}_list":
                raise invalid(
                    f"Unexpected element type in feature: {name}"
                    f" expecting type: {have.removesuffix('_list')}"
                )
            try:
                getattr(feature, f"{kind}_list").value.append(item)
            except ValueError:
                raise invalid(
                    f"Feature: {name} has uint64_t element. Only int64_t is supported."
                ) from None


def _item(name: str, value: Any) -> tuple[str, bytes | int | float]:
    if is_base64(value):
        return "bytes", decoded(value)
    if isinstance(value, str):
        return "bytes", value.encode("utf-8", "surrogatepass")
    if isinstance(value, int):
        return "int64", int(value)
    if isinstance(value, float):
        return "float", value
    raise invalid(f"Feature: {name} has element with unexpected JSON type: {kind_of(value)}")
