"""What all sides of a secure aggregation know: the owners' signed keys, and how masks are derived.

mask key pairs  X25519 → HKDF-SHA256 → ChaCha20      sealing of shares  X25519 → HKDF-SHA256
seed            HKDF-SHA256 → ChaCha20               signatures         Ed25519
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from traindeck.recipes.shared.federated.errors import Refused

Words = npt.NDArray[np.uint64]

KEY = 32  # bytes of each key, seed and proof


def default_threshold(owners: int) -> int:
    """How many owners must answer at the least: more than half."""
    return owners // 2 + 1


def fewest_summed(owners: int, threshold: int) -> int:
    """Of how few owners an aggregator could open the sum that lies to them about who answered.

    That is, if owners did not sign who answered, see `survivors`: as they do it is `threshold`.
    Every owner left out of a sum must have been called dropped by `threshold` owners, each of whom
    takes at most owners - threshold for such.
    """
    return max(1, owners - owners * (owners - threshold) // threshold)


def noise_shares(owners: int, threshold: int) -> int:
    """Of how many owners the shares of a sum's noise make the whole of it.

    One fewer than the fewest that could be summed without signatures, on which the noise does not
    rely: each of them knows its own share, and what the others add is then the whole noise for it.
    """
    return max(1, fewest_summed(owners, threshold) - 1)


@dataclass(frozen=True)
class Advert:
    """The public keys of one owner for one session, as it signed them."""

    run: str
    name: str
    first: int  # round
    threshold: int
    identity: bytes  # Ed25519, the one that others have pinned
    sealing: bytes  # X25519, for the shares
    masks: tuple[bytes, ...]  # X25519, one a round
    proofs: tuple[bytes, ...]  # of the seeds, one a round: what the seed joined of shares must give
    signature: bytes = b""

    def signed(self) -> bytes:
        """The bytes under the signature."""
        facts = {**self.to_json(), "signature": "", "of": "traindeck secure aggregation"}
        return json.dumps(facts, sort_keys=True).encode()

    def to_json(self) -> dict[str, Any]:
        """JSON-able, for the way through the aggregator."""
        return {
            "v": 1,
            "run": self.run,
            "name": self.name,
            "rounds": [self.first, len(self.masks)],
            "threshold": self.threshold,
            "identity": text(self.identity),
            "sealing": text(self.sealing),
            "masks": text(b"".join(self.masks)),
            "proofs": text(b"".join(self.proofs)),
            "signature": text(self.signature),
        }

    @classmethod
    def of(cls, name: str, facts: Mapping[str, Any]) -> Advert:
        """From JSON; the signature is not looked at. Raises Refused for no advert of that owner."""
        try:
            advert = cls(
                facts["run"],
                facts["name"],
                facts["rounds"][0],
                facts["threshold"],
                untext(facts["identity"]),
                untext(facts["sealing"]),
                parts(untext(facts["masks"]), KEY),
                parts(untext(facts["proofs"]), KEY),
                untext(facts["signature"]),
            )
            fits = (
                advert.to_json() == dict(facts)
                and (advert.name, len(advert.sealing)) == (name, KEY)
                and len(advert.proofs) == len(advert.masks)
            )
        except (LookupError, TypeError, ValueError):
            fits = False
        if not fits:
            raise Refused(f"{name}: what came as its keys are none of its")
        return advert


class SecAggSession:
    """The owners of one session, their keys, and the masks that their secrets give.

    Its digest goes into every mask and every sealed share, so owners that were told of different
    keys or different owners do not come to terms.
    """

    def __init__(self, adverts: Mapping[str, Advert]) -> None:
        self.adverts = dict(sorted(adverts.items()))
        self.names = list(self.adverts)
        digests = (hashlib.sha256(advert.signed()).digest() for advert in self.adverts.values())
        self.digest = hashlib.sha256(b"".join(digests)).digest()

    @classmethod
    def of(cls, adverts: Mapping[str, Mapping[str, Any]]) -> SecAggSession:
        """From JSON, for the aggregator: it has no pins to check the owners' signatures by."""
        return cls({name: Advert.of(name, facts) for name, facts in adverts.items()})

    def holder(self, name: str) -> int:
        """Which of everybody's shares an owner holds, from 1."""
        return self.names.index(name) + 1

    def is_key(self, name: str, number: int, secret: bytes) -> bool:
        """Whether this is the owner's private mask key of a round."""
        advert = self.adverts[name]
        return public(secret) == advert.masks[number - advert.first]

    def is_seed(self, name: str, number: int, seed: bytes) -> bool:
        """Whether this is the owner's seed of a round."""
        advert = self.adverts[name]
        return proof(seed) == advert.proofs[number - advert.first]

    def self_mask(self, name: str, number: int, seed: bytes, size: int) -> Words:
        """The mask that an owner has added from its seed, (size,) words."""
        return stream(self.derive(seed, "self", number, name), size)

    def pair_mask(self, name: str, other: str, number: int, secret: bytes, size: int) -> Words:
        """The mask that `name` has added with `other`, which has added its negative; (size,) words.

        secret: the private mask key of `name` for the round. Raises Refused for a bad key of other.
        """
        advert = self.adverts[other]
        agreed = agree(X25519PrivateKey.from_private_bytes(secret), advert, number)
        mask = stream(self.derive(agreed, "pair", number, *sorted((name, other))), size)
        return mask if name < other else np.negative(mask)

    def derive(self, secret: bytes, *use: str | int) -> bytes:
        """A key of 32 bytes for one use in this session."""
        return HKDF(SHA256(), KEY, salt=self.digest, info=json.dumps(use).encode()).derive(secret)


def agree(secret: X25519PrivateKey, other: Advert, number: int | None = None) -> bytes:
    """What a private key and another owner's public one give: its mask key's, or its sealing key's.

    Raises Refused when that key is of the few that give the same with any.
    """
    key = other.sealing if number is None else other.masks[number - other.first]
    try:
        return secret.exchange(X25519PublicKey.from_public_bytes(key))
    except ValueError:
        raise Refused(f"{other.name}: its key is a weak one") from None


def public(secret: bytes) -> bytes:
    """The public key to a private mask key."""
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def proof(seed: bytes) -> bytes:
    """What shows that a seed is the one advertised, and tells nothing of it."""
    return hashlib.sha256(b"traindeck seed" + seed).digest()


def text(data: bytes) -> str:
    """Bytes as they stand in JSON."""
    return base64.b64encode(data).decode()


def untext(data: str) -> bytes:
    """Bytes from JSON. Raises ValueError or TypeError for anything else."""
    return base64.b64decode(data, validate=True)


def parts(data: bytes, size: int) -> tuple[bytes, ...]:
    """Bytes cut into parts of one size. Raises ValueError when there is a rest."""
    if len(data) % size:
        raise ValueError(f"{len(data)} bytes are not parts of {size}")
    return tuple(data[at : at + size] for at in range(0, len(data), size))


def stream(key: bytes, size: int) -> Words:
    """Words that nobody without the key can tell from random ones; a key is used for one stream."""
    stream = Cipher(ChaCha20(key, bytes(16)), None).encryptor().update(bytes(8 * size))
    return np.frombuffer(stream, "<u8").astype(np.uint64, copy=False)
