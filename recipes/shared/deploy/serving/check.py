"""Whether a request's arrays are what the signature says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from traindeck.recipes.shared.deploy.serving.backends.base import Backend
from traindeck.recipes.shared.deploy.serving.errors import Refused, invalid
from traindeck.recipes.shared.deploy.serving.kinds import Array, Port
from traindeck.recipes.shared.deploy.serving.limits import Limits


def checked(
    backend: Backend,
    signature: str,
    inputs: dict[str, Array],
    wanted: Sequence[str],
    limits: Limits,
) -> None:
    """Raises Refused, which names the input and what is wrong with it.

    TensorFlow Serving leaves shapes to the graph, whose message names a node inside it.
    """
    known = backend.signatures.get(signature)
    if known is None:
        raise Refused("FAILED_PRECONDITION", f'Serving signature key "{signature}" not found.')
    if inputs.keys() != known.inputs.keys():
        have, need = set(inputs), set(known.inputs)
        raise invalid(
            f"input size does not match signature: {len(have)}!={len(need)}"
            f" len({{{_set(have)}}}) != len({{{_set(need)}}})."
            f" Sent extra: {{{_set(have - need)}}}."
            f" Missing but required: {{{_set(need - have)}}}."
        )
    for at, name in enumerate(wanted):
        if name not in known.outputs:
            raise invalid(
                f"output tensor alias not found in signature: {name}"
                f" Outputs expected to be in the set {{{_set(known.outputs)}}}."
            )
        if name in wanted[:at]:
            raise invalid(f"duplicate output tensor alias: {name}")
    for name, array in inputs.items():
        _input(known.inputs[name], array, limits)


def _input(port: Port, array: Array, limits: Limits) -> None:
    if array.dtype != port.kind.dtype:
        raise invalid(f"input '{port.name}' is {array.dtype}, the signature says {port.kind.word}")
    if not port.takes(array.shape):
        raise invalid(
            f"input '{port.name}' has shape {port.shown(array.shape)},"
            f" the signature says {port.shown()}"
        )
    if array.ndim and len(array) > limits.rows:
        raise Refused(
            "RESOURCE_EXHAUSTED",
            f"input '{port.name}' has {len(array)} rows; {limits.rows} are taken at once",
            413,
        )
    if array.size == 0:
        raise invalid(f"input '{port.name}' has shape {port.shown(array.shape)}: it is empty")
    if array.dtype.kind == "f" and not limits.nan:
        finite = np.isfinite(array)
        if not finite.all():
            where = [int(at) for at in np.argwhere(~finite)[0]]
            raise invalid(
                f"input '{port.name}' holds {array[tuple(where)]} at {where}: not a number that"
                " can be measured"
            )


def _set(names: Iterable[str]) -> str:
    return ",".join(sorted(names))
