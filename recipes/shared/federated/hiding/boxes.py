"""Sealing between owners, past the aggregator that carries it: signed X25519, ChaCha20-Poly1305.

Owners know each other's Ed25519 keys beforehand (pins). Each signs a fresh X25519 key; what one
seals for another is under HKDF-SHA256 of their agreement, bound to the session and both names.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from typing import Any

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from traindeck.recipes.shared.federated.errors import Refused

NONCE = 12


class Boxes:
    """One owner's means to seal for others and to prove what is its own.

    pins: Ed25519 public keys of the other owners, 32 raw bytes each.
    """

    def __init__(
        self, name: str, identity: Ed25519PrivateKey, pins: Mapping[str, bytes], session: str
    ) -> None:
        self._name, self._identity, self._pins, self._session = name, identity, pins, session
        self._key = X25519PrivateKey.generate()

    def advertise(self) -> dict[str, str]:
        """This owner's key for the session, signed."""
        return self.signed("box", self._key.public_key().public_bytes_raw())

    def signed(self, what: str, value: bytes) -> dict[str, str]:
        """A value with this owner's signature that it is its own in this session."""
        signature = self._identity.sign(self._bound(what, self._name) + value)
        return {"value": _text(value), "signature": _text(signature)}

    def proven(self, what: str, name: str, signed: Mapping[str, Any]) -> bytes:
        """A value of another owner's. Raises Refused when its pinned key has not signed it."""
        if name not in self._pins:
            raise Refused(f"{name}: no key of it is pinned")
        try:
            value = base64.b64decode(signed["value"], validate=True)
            signature = base64.b64decode(signed["signature"], validate=True)
            key = Ed25519PublicKey.from_public_bytes(self._pins[name])
            key.verify(signature, self._bound(what, name) + value)
        except (InvalidSignature, LookupError, TypeError, ValueError):
            raise Refused(f"{name}: its {what} is not signed by the key that is pinned") from None
        return value

    def seal(self, name: str, advert: Mapping[str, Any], data: bytes) -> str:
        """Data for one other owner alone."""
        nonce = os.urandom(NONCE)
        box = self._shared(name, self.proven("box", name, advert), self._name)
        return _text(nonce + box.encrypt(nonce, data, None))

    def unseal(self, name: str, advert: Mapping[str, Any], sealed: str) -> bytes:
        """What another owner has sealed for this one. Raises Refused when it was changed."""
        box = self._shared(name, self.proven("box", name, advert), name)
        try:
            raw = base64.b64decode(sealed, validate=True)
            return box.decrypt(raw[:NONCE], raw[NONCE:], None)
        except (InvalidTag, ValueError, TypeError):
            raise Refused(f"{name}: what it sealed was changed on the way") from None

    def _shared(self, name: str, public: bytes, sender: str) -> ChaCha20Poly1305:
        secret = self._key.exchange(X25519PublicKey.from_public_bytes(public))
        info = self._bound("from", sender) + "/".join(sorted((self._name, name))).encode()
        return ChaCha20Poly1305(HKDF(SHA256(), 32, None, info).derive(secret))

    def _bound(self, what: str, name: str) -> bytes:
        return f"traindeck box 1\0{self._session}\0{what}\0{name}\0".encode()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
