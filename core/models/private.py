"""Asking a linear model about what it never sees: CKKS by TenSEAL, the client's side.

CKKS (Cheon et al., ASIACRYPT 2017), ring degree 8192, modulus of 60 + 40 + 60 bits (128-bit
security allows 218), scale 2^40: one product with weights fits, to within 1e-5. The model comes in
three parts: `before` and `after`, which the client runs (they hold no weights), and the linear
layer between them, which the server applies to the ciphertext.

What the server learns: that it was asked, how many values a record has, and the public key. What
the client learns: the layer's outputs, of which enough queries give its weights; that is so of any
server. The key is made anew each time, its secret half stays here, and nothing decrypted goes back.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from traindeck.core.base.errors import MissingError, TraindeckError, UsageError
from traindeck.core.models.client import Client

DEGREE = 8192
BITS = (60, 40, 60)
SCALE = 2.0**40
LENGTH = 4
"""Bytes that say how long a part of a message is."""


def joined(parts: Sequence[bytes]) -> bytes:
    """Several byte strings as one."""
    return b"".join(len(part).to_bytes(LENGTH, "little") + part for part in parts)


def parted(data: bytes) -> list[bytes]:
    """What was joined. Raises ValueError for anything else."""
    parts, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + LENGTH], "little")
        at += LENGTH + size
        if at > len(data):
            raise ValueError("a part ends too early")
        parts.append(data[at - size : at])
    return parts


def ask(client: Client, model: str, array: Any) -> dict[str, Any]:
    """The model's outputs for records (n, …), by name; the server sees ciphertexts alone.

    Raises MissingError, NotFoundError, UsageError, TraindeckError.
    """
    import numpy as np

    tenseal = _tenseal()
    path = f"/v1/models/{quote(model, safe='')}/private"
    try:
        said = json.loads(client.post(path, b""))
        before, after = (base64.b64decode(said[part]) for part in ("before", "after"))
        size, places = int(said["size"]), int(said["places"])
    except (KeyError, TypeError, ValueError):
        raise TraindeckError(f"{model} is not served with --private ckks") from None
    rows = _run(before, array) if before else [array]
    values = np.asarray(rows[0], np.float64).reshape(len(array), -1)
    if values.shape[1] != size:
        raise UsageError(f"{model} takes {size} values a record, not {values.shape[1]}")
    context = tenseal.context(
        tenseal.SCHEME_TYPE.CKKS, poly_modulus_degree=DEGREE, coeff_mod_bit_sizes=list(BITS)
    )
    context.global_scale = SCALE
    context.generate_galois_keys()
    public = context.copy()
    public.make_context_public()
    key = client.post(f"{path}/keys", public.serialize(save_relin_keys=False))
    queries = [tenseal.ckks_vector(context, row.tolist()).serialize() for row in values]
    answers = parted(client.post(path, joined([key, *queries])))
    if len(answers) != places * len(values):
        raise TraindeckError(f"{model} answered {len(answers)} values, not {places} a record")
    found = [tenseal.ckks_vector_from(context, one).decrypt()[0] for one in answers]
    logits = np.array(found, np.float32).reshape(len(values), places)
    made = _run(after, logits) if after else [logits]
    return dict(zip(said["outputs"], made, strict=True))


def _tenseal() -> Any:
    try:
        import tenseal
    except ImportError:
        raise MissingError("TenSEAL is not installed: pip install tenseal") from None
    return tenseal


def _run(part: bytes, array: Any) -> list[Any]:
    """A part of the model on its one input, in onnxruntime."""
    try:
        import onnxruntime
    except ImportError:
        raise MissingError("onnxruntime is not installed: pip install onnxruntime") from None
    session = onnxruntime.InferenceSession(part, providers=["CPUExecutionProvider"])
    [given] = session.get_inputs()
    return list(session.run(None, {given.name: array}))
