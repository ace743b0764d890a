"""Sums of encrypted vectors: the owners hold the key, the aggregator adds what it cannot read.

CKKS (Cheon et al., ASIACRYPT 2017) by TenSEAL on Microsoft SEAL: ring degree 4096, modulus of
54 + 54 bits (128-bit security allows 109), scale 2^36: sums take no more. One owner makes the
context and gives its secret half to the other owners, sealed; the aggregator gets the public half,
with which one adds. Owners encrypt with the secret key that they all have: half the work of doing
it with a public one, and there is none that an aggregator could swap.

What it does not stand up to:
- Owners in league with the aggregator. All of them hold one key, so one that gets another's
  ciphertext reads it.
- An aggregator that lies and is told what was decrypted: it can pass one owner's ciphertext off as
  the sum. One that adds as it should, or is not told, learns no single vector.
- Change. CKKS does not notice it: the checksum here catches accidents, and a forger makes a new
  one, so only the seal around a message shows who made it.
What is decrypted is exact to its noise, and noise tells of the key (Li and Micciancio, EUROCRYPT
2021). `decrypt` therefore rounds to 2^-16, thousands of times the noise, which is a remedy and
no proof: make a new context for each run.
"""

from __future__ import annotations

import hashlib
import secrets
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import tenseal

Floats = npt.NDArray[np.float64]

SLOTS = 2048  # numbers in a ciphertext
LARGEST = float(1 << 10)  # of a number; 128 of them add up within the modulus
_DEGREE = 4096
_MODULUS = (54, 54)  # bits
_SCALE = 2.0**36
_GRID = 2.0**16  # what is decrypted is rounded to its inverse

_CHECK = 32
_ID = 16
_CONTEXT = struct.Struct(f"<4sB{_ID}s")  # magic, whether with the secret key, which context
_BLOB = struct.Struct(f"<4s{_ID}sI")  # magic, which context, numbers
_LENGTH = struct.Struct("<I")  # of a ciphertext, which follows
# TenSEAL's own frame (protobuf: 2048 numbers, one ciphertext, the scale) around what is SEAL's.
# TenSEAL trusts its frame to the point of a segmentation fault; SEAL checks what it loads.
_FRAME = b"\x0a\x02\x80\x10\x12"
_FRAME_END = b"\x19" + struct.pack("<d", _SCALE)
_SEAL = b"\x5e\xa1\x10"


def new_context() -> tuple[bytes, bytes]:
    """A new key: (secret half, for the owners; public half, with which one adds)."""
    made = tenseal.context(
        tenseal.SCHEME_TYPE.CKKS,
        _DEGREE,
        coeff_mod_bit_sizes=list(_MODULUS),
        encryption_type=tenseal.ENCRYPTION_TYPE.SYMMETRIC,
        n_threads=1,
    )
    made.global_scale = _SCALE
    which = secrets.token_bytes(_ID)
    halves = []
    for secret in (True, False):
        body = made.serialize(
            save_public_key=False,
            save_secret_key=secret,
            save_galois_keys=False,
            save_relin_keys=False,
        )
        halves.append(_checked(_CONTEXT.pack(b"TDCC", secret, which) + body))
    return halves[0], halves[1]


def encrypt(secret: bytes, values: npt.NDArray[np.floating[Any]]) -> bytes:
    """Numbers (d,) encrypted, in one blob of about 34 bytes a number.

    Raises ValueError for NaN, infinity or a number beyond 2^10, and for a public half of a key.
    """
    which, context = _context(secret)
    if not context.is_private():
        raise ValueError("this is the public half of the key: it encrypts nothing")
    if values.ndim != 1 or not values.size:
        raise ValueError(f"a row of numbers is encrypted, not {values.shape}")
    if not float(np.abs(values).max()) <= LARGEST:  # neither of NaN
        raise ValueError(f"a number is none, or beyond {LARGEST:.0f}")
    padded = np.zeros(-(-values.size // SLOTS) * SLOTS)
    padded[: values.size] = values
    rows = (tenseal.ckks_vector(context, row) for row in padded.reshape(-1, SLOTS))
    return _blob(which, values.size, [row.serialize() for row in rows])


def add(public: bytes, blobs: Sequence[bytes]) -> bytes:
    """The blob of the sum of what blobs of one length hold.

    Raises ValueError, with the place of the blob, from 1, for one that does not belong.
    """
    which, context = _context(public)
    if not blobs:
        raise ValueError("there is nothing to add")
    total: list[Any] = []
    size = 0
    for place, blob in enumerate(blobs, start=1):
        try:
            numbers, chunks = _chunks(blob, which)
            if total and numbers != size:
                raise ValueError(f"it holds {numbers} numbers, the first {size}")
            loaded = [_load(context, chunk) for chunk in chunks]
            total = [a + b for a, b in zip(total, loaded, strict=True)] if total else loaded
            size = numbers
        except (ValueError, RuntimeError) as error:
            raise ValueError(f"encrypted vector {place}: {error}") from None
    return _blob(which, size, [row.serialize() for row in total])


def decrypt(secret: bytes, blob: bytes, size: int) -> Floats:
    """The numbers (size,) that a blob holds, within 1e-5, rounded to 2^-16.

    Raises ValueError for a blob that is damaged, of another key or of another size, and for a
    public half of a key.
    """
    which, context = _context(secret)
    if not context.is_private():
        raise ValueError("this is the public half of the key: it decrypts nothing")
    numbers, chunks = _chunks(blob, which)
    if numbers != size:
        raise ValueError(f"the encrypted vector holds {numbers} numbers, not {size}")
    try:
        rows = [_load(context, chunk).decrypt() for chunk in chunks]
    except RuntimeError as error:
        raise ValueError(f"the encrypted vector does not decrypt: {error}") from None
    values: Floats = np.concatenate([np.asarray(row, np.float64) for row in rows])[:size]
    if not np.isfinite(values).all():
        raise ValueError("the encrypted vector decrypts to what is no number: it was changed")
    return np.rint(values * _GRID) / _GRID


@lru_cache(maxsize=4)
def _context(half: bytes) -> tuple[bytes, Any]:
    """Which key this is a half of, and TenSEAL's context of it."""
    body = _unchecked(half, "key")
    try:
        magic, _, which = _CONTEXT.unpack_from(body)
        if magic != b"TDCC":
            raise ValueError("these are other bytes")
        context = tenseal.context_from(body[_CONTEXT.size :], n_threads=1)
    except (struct.error, ValueError, RuntimeError) as error:
        raise ValueError(f"this is no key for CKKS: {error}") from None
    return which, context


def _blob(which: bytes, size: int, chunks: Sequence[bytes]) -> bytes:
    parts = [_BLOB.pack(b"TDCV", which, size)]
    for chunk in chunks:
        parts += _LENGTH.pack(len(chunk)), chunk
    return _checked(b"".join(parts))


def _chunks(blob: bytes, which: bytes) -> tuple[int, list[bytes]]:
    """How many numbers a blob holds, and its ciphertexts."""
    body = _unchecked(blob, "encrypted vector")
    try:
        magic, other, size = _BLOB.unpack_from(body)
        if magic != b"TDCV":
            raise ValueError("this is no encrypted vector")
        if other != which:
            raise ValueError("this vector was encrypted with another key")
        at, chunks = _BLOB.size, []
        while at < len(body):
            (length,) = _LENGTH.unpack_from(body, at)
            at += _LENGTH.size
            chunks.append(body[at : at + length])
            at += length
    except struct.error:
        raise ValueError("the encrypted vector is cut off") from None
    if at != len(body) or not size or len(chunks) != -(-size // SLOTS):
        raise ValueError(f"the encrypted vector does not hold the {size} numbers it says")
    return size, chunks


def _load(context: Any, chunk: bytes) -> Any:
    """One ciphertext. Raises ValueError, or RuntimeError when SEAL finds it malformed."""
    length, at = 0, len(_FRAME)
    for shift in (0, 7, 14, 21):  # protobuf's variable-length number
        byte = chunk[at] if at < len(chunk) else 0x80
        length, at = length | (byte & 0x7F) << shift, at + 1
        if byte < 0x80:
            break
    framed = chunk.startswith(_FRAME) and chunk[at + length :] == _FRAME_END
    if not framed or not chunk.startswith(_SEAL, at):
        raise ValueError("a ciphertext is malformed")
    return tenseal.ckks_vector_from(context, chunk)


def _checked(body: bytes) -> bytes:
    return body + hashlib.sha256(body).digest()


def _unchecked(data: bytes, what: str) -> bytes:
    body, check = data[:-_CHECK], data[-_CHECK:]
    if hashlib.sha256(body).digest() != check:
        raise ValueError(f"the {what} is damaged: its checksum does not fit")
    return body
