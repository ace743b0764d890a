"""TensorProto to an array and back."""

from __future__ import annotations

import math

import numpy as np

from traindeck.recipes.shared.deploy.serving.errors import invalid
from traindeck.recipes.shared.deploy.serving.kinds import BY_DTYPE, BY_NUMBER, Array, Kind
from traindeck.recipes.shared.deploy.serving.messages import Message

MOST_VALUES = 1 << 31
MOST_FILLED = 1 << 22
"""Values of which the last given one may stand for those that follow: else a few bytes could ask
for any amount of memory."""


def to_array(tensor: Message) -> Array:
    """The values of a TensorProto. Raises Refused where they are not what its shape says."""
    kind = BY_NUMBER.get(tensor.dtype)
    if kind is None:
        raise invalid(f"Unsupported tensor type: {tensor.dtype}")
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    size = sized(shape)
    if tensor.tensor_content:
        if kind.is_text:
            raise invalid("strings are given in string_val, not in tensor_content")
        if len(tensor.tensor_content) != size * kind.dtype.itemsize:
            raise invalid(
                f"tensor_content has {len(tensor.tensor_content)} bytes,"
                f" the shape {shape} needs {size * kind.dtype.itemsize}"
            )
        made: Array = np.frombuffer(tensor.tensor_content, kind.dtype).reshape(shape)
        return made
    flat = _listed(getattr(tensor, kind.field), kind)
    if len(flat) != size:  # the last value stands for all that follow
        if not len(flat) or len(flat) > size or size > MOST_FILLED:
            raise invalid(f"{len(flat)} values for the shape {shape}")
        flat = np.concatenate([flat, np.repeat(flat[-1:], size - len(flat))])
    return flat.reshape(shape)


def sized(shape: list[int]) -> int:
    """How many values a shape holds. Raises Refused for one that none can have."""
    if any(dim < 0 for dim in shape):
        raise invalid(f"the shape {shape} has a negative size")
    size = math.prod(shape)
    if size > MOST_VALUES:
        raise invalid(f"the shape {shape} has more than {MOST_VALUES} values")
    return size


def _listed(values: Message, kind: Kind) -> Array:
    if kind.field == "half_val":
        return np.array(values, np.int64).astype(np.uint16).view(np.float16)
    if kind.is_text:
        flat: Array = np.empty(len(values), object)
        flat[:] = list(values)
        return flat
    return np.array(values, np.int64 if kind.field == "int_val" else kind.dtype).astype(kind.dtype)


def to_proto(array: Array, tensor: Message) -> None:
    """Write an array into a TensorProto, as TensorFlow Serving does: a value at a time."""
    array = np.asarray(array)
    if array.dtype.kind in "SU":
        array = array.astype(object)
    kind = BY_DTYPE.get(array.dtype)
    if kind is None:
        raise invalid(f"Unsupported output type: {array.dtype}")
    tensor.dtype = kind.number
    for size in array.shape:
        tensor.tensor_shape.dim.add().size = size
    flat = np.ascontiguousarray(array).ravel()
    if kind.is_text:
        tensor.string_val.extend(as_bytes(value) for value in flat)
    elif kind.field == "half_val":
        tensor.half_val.extend(flat.view(np.uint16).tolist())
    else:
        getattr(tensor, kind.field).extend(flat.tolist())


def as_bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
