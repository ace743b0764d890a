"""TensorFlow Serving's JSON requests: rows ("instances") and columns ("inputs"), base64, NaN.

The messages are TensorFlow Serving's, so that what people find about them holds.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
import orjson

from traindeck.recipes.shared.deploy.serving.errors import Refused, invalid
from traindeck.recipes.shared.deploy.serving.kinds import Array, Kind, Port

_NAMES = {
    dict: "Object",
    list: "Array",
    str: "String",
    int: "Number",
    float: "Number",
    type(None): "Null",
}
_SHOWN = 256


def parse(body: bytes) -> tuple[dict[str, Any], str]:
    """The document, and the name of the signature that it asks for."""
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            document = json.loads(body)  # knows NaN and Infinity, as TensorFlow Serving does
        except (ValueError, RecursionError) as error:
            where = getattr(error, "pos", 0)
            raise invalid(f"JSON Parse error: Invalid value. at offset: {where}") from None
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {show(document)} Is not object")
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        _malformed(document, ". 'signature_name' key must be a string value.")
    return document, name


def show(value: Any) -> str:
    """The start of a value, as JSON."""
    return json.dumps(value)[:_SHOWN]


def kind_of(value: Any) -> str:
    return str(value) if isinstance(value, bool) else _NAMES[type(value)]


def is_base64(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def decoded(value: dict[str, Any]) -> bytes:
    text = value["b64"]
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise invalid("Unable to base64 decode") from None


def predict_inputs(
    document: dict[str, Any], ports: Mapping[str, Port]
) -> tuple[dict[str, Array], bool]:
    """Arrays by input name, and whether the request was in rows. Raises Refused."""
    if "instances" in document and "inputs" in document:
        raise invalid(
            f"JSON Value: {show(document)} Not formatted correctly expecting only one of 'inputs'"
            " or 'instances' keys to exist "
        )
    if "instances" in document:
        rows = document["instances"]
        if not isinstance(rows, list):
            raise invalid(f"JSON Value: {show(document)} Expecting 'instances' to be an list/array")
        if not rows:
            raise invalid(f"JSON Value: {show(document)} No values in 'instances' array")
        return _rows(rows, ports), True
    if "inputs" not in document:
        raise invalid("Missing 'inputs' or 'instances' key")
    value = document["inputs"]
    if isinstance(value, dict) and not is_base64(value):
        for name in ports:
            if name not in value:
                raise invalid(f"Missing named input: {name} in 'inputs' object.")
        return {name: tensor(value[name], port.kind) for name, port in ports.items()}, False
    if len(ports) > 1:
        raise invalid(
            "inputs is a plain value/list, but expecting an object as multiple input tensors"
            " required as per tensorinfo_map"
        )
    [(name, port)] = ports.items()
    return {name: tensor(value, port.kind)}, False


def _rows(rows: list[Any], ports: Mapping[str, Port]) -> dict[str, Array]:
    first = rows[0]
    if isinstance(first, dict) and not is_base64(first):
        return _named_rows(rows, ports)
    if len(ports) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors"
            " required as per tensorinfo_map"
        )
    for at, row in enumerate(rows):
        if isinstance(row, dict) and not is_base64(row):
            raise invalid(f"Expecting value/list but got object at item {at} of input list")
    [(name, port)] = ports.items()
    return {name: _column(rows, port.kind, "")}


def _named_rows(rows: list[Any], ports: Mapping[str, Port]) -> dict[str, Array]:
    columns: dict[str, list[Any]] = {name: [] for name in ports}
    for at, row in enumerate(rows):
        if not isinstance(row, dict) or is_base64(row):
            raise invalid(f"Expecting object but got list at item {at} of input list")
        for name, value in row.items():
            if name not in ports:
                raise invalid(
                    f"Failed to process element: {at} key: {name} of 'instances' list. Error:"
                    f" INVALID_ARGUMENT: JSON object: does not have named input: {name}"
                )
            columns[name].append(value)
        if len(row) != len(ports):
            raise invalid(
                f"Failed to process element: {at} of 'instances' list. JSON object: {show(row)}"
                f" keys must be equal to: {','.join(sorted(ports))}"
            )
    return {name: _column(values, ports[name].kind, name) for name, values in columns.items()}


def _column(rows: list[Any], kind: Kind, key: str) -> Array:
    try:
        return tensor(rows, kind)
    except Refused:
        _blame(rows, kind, key)
        raise


def _blame(rows: list[Any], kind: Kind, key: str) -> None:
    """Say which row is wrong, and how. Returns where none is by itself."""
    first: tuple[int, list[int]] | None = None
    for at, row in enumerate(rows):
        which = f" key: {key}" if key else ""
        where = (
            f"Failed to process element: {at}{which} of 'instances' list. Error: INVALID_ARGUMENT: "
        )
        shape, out = _shape(row), []  # type: tuple[list[int], list[Any]]
        try:
            _walk(row, shape, 0, kind, out)
        except Refused as error:
            raise invalid(f"{where}{error}") from None
        if first is None:
            first = len(out), shape
        elif first[0] != len(out):
            raise invalid(f"{where}Expecting tensor size: {first[0]} but got: {len(out)}")
        elif first[1] != shape:
            raise invalid(f"{where}Expecting shape {_listed(first[1])} but got: {_listed(shape)}")


def _listed(shape: list[int]) -> str:
    return f"[{','.join(map(str, shape))}]"


def tensor(value: Any, kind: Kind) -> Array:
    """The array of a JSON value, of this kind. Raises Refused where it is not one."""
    if not kind.is_text and isinstance(value, list):
        quick = _quick(value, kind)
        if quick is not None:
            return quick
    shape, out = _shape(value), []  # type: tuple[list[int], list[Any]]
    _walk(value, shape, 0, kind, out)
    flat: Array = np.empty(len(out), kind.dtype)
    try:
        flat[:] = out
    except OverflowError:
        _mistyped(value, kind)
    return flat.reshape(shape)


def _quick(value: list[Any], kind: Kind) -> Array | None:
    """By numpy, where all is of one type and fits."""
    try:
        array: Array = np.array(value)
    except (ValueError, OverflowError, RecursionError):
        return None
    wanted = kind.dtype.kind
    if array.size == 0 or array.dtype.kind not in {"f": "iuf", "b": "b"}.get(wanted, "iu"):
        return None
    with np.errstate(over="ignore"):
        made: Array = array.astype(kind.dtype)
    return made if wanted == "f" or np.array_equal(made, array) else None


def _shape(value: Any) -> list[int]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return shape


def _walk(value: Any, shape: list[int], level: int, kind: Kind, out: list[Any]) -> None:
    """Value by value: for strings, and to say what is wrong."""
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid(
                f"JSON Value: {show(value)} found at incorrect level: {level + 1} in the JSON DOM."
                f" Expected at level: {len(shape)}"
            )
        out.append(_leaf(value, kind))
        return
    if level >= len(shape):
        raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level}"
            f" expected size: {shape[level]}"
        )
    for inner in value:
        _walk(inner, shape, level + 1, kind, out)


def _leaf(value: Any, kind: Kind) -> Any:
    if isinstance(value, dict):
        if not kind.is_text:
            raise invalid(
                f"JSON Value: {show(value)} Type: Object is not of expected type: {kind.word}"
            )
        if not is_base64(value):
            _malformed(value, " for base64 data")
        return decoded(value)
    if kind.is_text:
        if not isinstance(value, str):
            _mistyped(value, kind)
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, bool) != (kind.dtype == bool) or not isinstance(value, int | float):
        _mistyped(value, kind)
    if kind.dtype.kind in "iu" and not _fits(value, kind):
        _mistyped(value, kind)
    return value


def _fits(value: int | float, kind: Kind) -> bool:
    limits = np.iinfo(kind.dtype)
    return isinstance(value, int) and limits.min <= value <= limits.max


def _mistyped(value: Any, kind: Kind) -> NoReturn:
    raise invalid(
        f"JSON Value: {show(value)} Type: {kind_of(value)} is not of expected type: {kind.word}"
    )


def _malformed(value: Any, how: str) -> NoReturn:
    raise invalid(f"JSON Value: {show(value)} not formatted correctly{how}")
