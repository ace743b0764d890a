"""TensorFlow Serving's JSON answers: rows or columns, base64, NaN and Infinity."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from traindeck.recipes.shared.deploy.serving.errors import invalid
from traindeck.recipes.shared.deploy.serving.kinds import Array
from traindeck.recipes.shared.deploy.serving.tensors import as_bytes


def predictions(outputs: Mapping[str, Array], rows: bool) -> bytes:
    """The body that answers a predict request. Raises Refused where rows have no outputs each."""
    arrays = {name: np.asarray(array) for name, array in outputs.items()}
    finite = all(a.dtype.kind != "f" or bool(np.isfinite(a).all()) for a in arrays.values())
    if not rows:
        columns = {name: _listed(name, array) for name, array in arrays.items()}
        one = len(columns) == 1
        return dumps({"outputs": next(iter(columns.values())) if one else columns}, finite)
    size: int | None = None
    for name, array in arrays.items():
        if not array.ndim:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if size is not None and len(array) != size:
            raise invalid(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {size}"
            )
        size = len(array)
    values = {name: _listed(name, array) for name, array in arrays.items()}
    if len(values) == 1:
        return dumps({"predictions": next(iter(values.values()))}, finite)
    listed = [{name: value[at] for name, value in values.items()} for at in range(size or 0)]
    return dumps({"predictions": listed}, finite)


def dumps(document: Any, finite: bool = True) -> bytes:
    if finite:
        return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    return json.dumps(_plain(document)).encode()


def _listed(name: str, array: Array) -> Any:
    if array.dtype == object or array.dtype.kind in "SU":
        return _texts(array.tolist(), name.endswith("_bytes"))
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    return np.ascontiguousarray(array) if array.ndim else array[()]


def _texts(value: Any, binary: bool) -> Any:
    if isinstance(value, list):
        return [_texts(inner, binary) for inner in value]
    data = as_bytes(value)
    if binary:
        return {"b64": base64.b64encode(data).decode()}
    return data.decode("utf-8", "replace")


def _plain(value: Any) -> Any:
    """The same without numpy; a float32 keeps the digits that it has."""
    if isinstance(value, np.ndarray):
        return [_plain(inner) for inner in value] if value.ndim else _plain(value[()])
    if isinstance(value, np.float32):
        return float(str(value)) if math.isfinite(value) else float(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value
