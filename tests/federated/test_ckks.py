"""CKKS: the aggregator adds what it cannot read, and what is no such blob is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("tenseal")

from traindeck.recipes.shared.federated.hiding import ckks

SIZE = 5000  # two ciphertexts, the second not full


@pytest.fixture(scope="module")
def halves() -> tuple[bytes, bytes]:
    return ckks.new_context()


@pytest.fixture(scope="module")
def secret(halves: tuple[bytes, bytes]) -> bytes:
    return halves[0]


@pytest.fixture(scope="module")
def public(halves: tuple[bytes, bytes]) -> bytes:
    return halves[1]


@pytest.fixture(scope="module")
def blob(secret: bytes) -> bytes:
    return ckks.encrypt(secret, vector(0))


def vector(seed: int, size: int = SIZE) -> NDArray[np.float64]:
    return np.random.default_rng(seed).uniform(-10, 10, size)


def resealed(blob: bytes, change: Callable[[bytearray], None]) -> bytes:
    """What a forger makes: changed, with a new checksum."""
    body = bytearray(blob[:-32])
    change(body)
    return bytes(body) + hashlib.sha256(body).digest()


def flip(place: int) -> Callable[[bytearray], None]:
    def change(body: bytearray) -> None:
        body[place] ^= 1

    return change


@pytest.mark.parametrize("size", [1, 4096, SIZE])
def test_what_is_encrypted_decrypts_within_a_hundred_thousandth(secret: bytes, size: int) -> None:
    values = vector(size, size)
    opened = ckks.decrypt(secret, ckks.encrypt(secret, values), size)
    assert opened.shape == (size,) and opened.dtype == np.float64
    assert np.abs(opened - values).max() < 1e-5


def test_an_owner_encrypts_with_the_half_it_holds(
    secret: bytes, public: bytes, blob: bytes
) -> None:
    total = ckks.add(public, [blob, ckks.encrypt(secret, vector(1))])
    assert np.abs(ckks.decrypt(secret, total, SIZE) - vector(0) - vector(1)).max() < 1e-5


def test_the_sum_of_sixteen_owners_is_theirs(secret: bytes, public: bytes) -> None:
    vectors = [vector(seed) for seed in range(16)]
    total = ckks.add(public, [ckks.encrypt(secret, values) for values in vectors])
    assert np.abs(ckks.decrypt(secret, total, SIZE) - sum(vectors)).max() < 1e-5
    more = ckks.add(public, [total, ckks.encrypt(secret, vectors[0].astype(np.float32))])
    assert np.abs(ckks.decrypt(secret, more, SIZE) - sum(vectors) - vectors[0]).max() < 1e-5


def test_the_largest_numbers_sum_too(secret: bytes, public: bytes) -> None:
    most = np.full(3, ckks.LARGEST)
    total = ckks.add(public, [ckks.encrypt(secret, most)] * 16)
    assert np.abs(ckks.decrypt(secret, total, 3) / (16 * most) - 1).max() < 1e-9


def test_the_public_half_cannot_decrypt(halves: tuple[bytes, bytes], blob: bytes) -> None:
    secret, public = halves
    with pytest.raises(ValueError, match="the public half of the key: it decrypts nothing"):
        ckks.decrypt(public, blob, SIZE)
    with pytest.raises(ValueError, match="the public half of the key: it encrypts nothing"):
        ckks.encrypt(public, vector(0))
    # Nor does saying that it is the secret one help.
    posing = resealed(public, lambda body: body.__setitem__(4, 1))
    with pytest.raises(ValueError, match="decrypts nothing"):
        ckks.decrypt(posing, blob, SIZE)
    assert len(secret) > len(public)


def test_the_same_numbers_never_look_the_same(secret: bytes) -> None:
    first, second = (ckks.encrypt(secret, np.zeros(4096)) for _ in range(2))
    same = np.mean([one == other for one, other in zip(first[100:], second[100:], strict=False)])
    assert same < 0.02


def test_what_is_decrypted_is_rounded_past_the_noise(secret: bytes, blob: bytes) -> None:
    opened = ckks.decrypt(secret, blob, SIZE) * 2**16
    assert np.array_equal(opened, np.rint(opened))


@pytest.mark.parametrize("place", [0, 3, 10, 25, 100, 5000, -1, -40])
def test_a_flipped_byte_is_refused(secret: bytes, public: bytes, blob: bytes, place: int) -> None:
    flipped = bytearray(blob)
    flipped[place] ^= 4
    with pytest.raises(ValueError, match="the encrypted vector is damaged"):
        ckks.decrypt(secret, bytes(flipped), SIZE)
    with pytest.raises(ValueError, match="encrypted vector 2: the encrypted vector is damaged"):
        ckks.add(public, [blob, bytes(flipped)])


def test_a_cut_or_empty_blob_or_key_is_refused(secret: bytes, blob: bytes) -> None:
    for cut in (b"", blob[:20], blob[:-1], blob + b"\0"):
        with pytest.raises(ValueError, match="damaged"):
            ckks.decrypt(secret, cut, SIZE)
        with pytest.raises(ValueError, match="the key is damaged"):
            ckks.decrypt(cut, blob, SIZE)
    with pytest.raises(ValueError, match="no key for CKKS"):
        ckks.decrypt(blob, blob, SIZE)
    with pytest.raises(ValueError, match="no encrypted vector"):
        ckks.decrypt(secret, secret, SIZE)


def test_a_forgery_never_reaches_what_trusts_it(secret: bytes, blob: bytes) -> None:
    """TenSEAL's frame would end the process; SEAL finds what is malformed, not what is changed."""
    frame = 4 + 16 + 4 + 4
    cut = resealed(blob, lambda body: body.__delitem__(slice(-9, None)))
    with pytest.raises(ValueError, match="does not hold the 5000 numbers"):
        ckks.decrypt(secret, cut, SIZE)
    short = resealed(blob, lambda body: body.__delitem__(slice(frame - 3, None)))
    with pytest.raises(ValueError, match="cut off"):
        ckks.decrypt(secret, short, SIZE)
    for place in (*range(frame, frame + 11), *range(-9, 0)):
        forged = resealed(blob, flip(place))
        with pytest.raises(ValueError, match="a ciphertext is malformed"):
            ckks.decrypt(secret, forged, SIZE)
    for place in range(frame + 11, frame + 40):
        forged = resealed(blob, flip(place))
        try:
            opened = ckks.decrypt(secret, forged, SIZE)
        except ValueError:
            continue
        assert opened.shape == (SIZE,)  # a change in what is encrypted is the seal's to catch


def test_what_does_not_belong_is_refused(secret: bytes, public: bytes, blob: bytes) -> None:
    other_secret, _ = ckks.new_context()
    foreign = ckks.encrypt(other_secret, vector(1))
    with pytest.raises(ValueError, match=r"encrypted vector 2: this vector .* with another key"):
        ckks.add(public, [blob, foreign])
    with pytest.raises(ValueError, match="with another key"):
        ckks.decrypt(other_secret, blob, SIZE)
    with pytest.raises(ValueError, match="encrypted vector 2: it holds 4999 numbers, the first"):
        ckks.add(public, [blob, ckks.encrypt(secret, vector(1, SIZE - 1))])
    with pytest.raises(ValueError, match="holds 5000 numbers, not 4999"):
        ckks.decrypt(secret, blob, SIZE - 1)
    with pytest.raises(ValueError, match="nothing to add"):
        ckks.add(public, [])


@pytest.mark.parametrize("values", [[np.nan], [np.inf, 1.0], [-2.0e6], [], [[1.0, 2.0]]], ids=str)
def test_what_is_no_row_of_numbers_is_not_encrypted(secret: bytes, values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"a number is none|a row of numbers"):
        ckks.encrypt(secret, np.array(values, float))
