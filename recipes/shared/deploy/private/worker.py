"""Encrypted dot products, in a process of their own.

    python -m traindeck.recipes.shared.deploy.private.worker

TenSEAL trusts what it is given to the point of a segmentation fault. Each message on standard
input is eight bytes of length and parts as `core.models.private` joins them: `key` and a public
context; or `ask`, a key's name, the weights and biases as float64, and ciphertexts. Each answer is
one such message: `ok` and parts, or `no` and why.
"""

from __future__ import annotations

import hashlib
import sys
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from traindeck.core.models.private import BITS, DEGREE, SCALE, joined, parted

MOST_KEYS = 8
LENGTH = 8


def main(reader: BinaryIO, writer: BinaryIO) -> None:
    keys: OrderedDict[bytes, Any] = OrderedDict()
    does: dict[bytes, Callable[..., list[bytes]]] = {b"key": _keep, b"ask": _answer}
    while head := reader.read(LENGTH):
        word, *parts = parted(reader.read(int.from_bytes(head, "little")))
        try:
            answer = [b"ok", *does[word](keys, *parts)]
        except Exception as error:  # TenSEAL's are many; whoever asked is told
            answer = [b"no", str(error)[:500].encode()]
        data = joined(answer)
        writer.write(len(data).to_bytes(LENGTH, "little") + data)
        writer.flush()


def _keep(keys: OrderedDict[bytes, Any], data: bytes) -> list[bytes]:
    import tenseal

    context = tenseal.context_from(data)
    if context.has_secret_key():
        raise ValueError("this key has its secret half: it stays with the client, make a new one")
    made = context.seal_context().data.key_context_data()
    bits, degree = made.total_coeff_modulus_bit_count(), made.parms().poly_modulus_degree()
    if degree != DEGREE or bits != sum(BITS):
        raise ValueError(f"the key needs ring degree {DEGREE} and a modulus of {BITS} bits")
    if context.global_scale != SCALE:
        raise ValueError(
            f"the key has scale 2^{np.log2(context.global_scale):g}; it must be 2^40, with less"
            " the answer is lost in the noise"
        )
    name = hashlib.sha256(data).hexdigest().encode()
    keys[name] = context
    while len(keys) > MOST_KEYS:
        keys.popitem(last=False)
    return [name]


def _answer(
    keys: OrderedDict[bytes, Any], name: bytes, weights: bytes, bias: bytes, *queries: bytes
) -> list[bytes]:
    """For each ciphertext, one for each place."""
    import tenseal

    if name not in keys:
        raise KeyError("this key is not known here (any more): send it again")
    keys.move_to_end(name)
    biases = np.frombuffer(bias)
    columns = np.frombuffer(weights).reshape(-1, len(biases)).T
    made = []
    for query in queries:
        vector = tenseal.lazy_ckks_vector_from(query)
        vector.link_context(keys[name])
        if vector.size() != columns.shape[1]:
            raise ValueError(f"a record has {columns.shape[1]} values, not {vector.size()}")
        for column, add in zip(columns, biases, strict=True):
            made.append((vector.dot(column.tolist()) + float(add)).serialize())
    return made


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
