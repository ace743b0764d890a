"""How a statement is signed: byte for byte, so that nothing in it can be read in two ways.

A file is one JSON object whose last field is its signature, on a line of its own:

    {
     "format": …,
     …
     "key": "64 hexadecimal digits",
     "signature": "128 hexadecimal digits"
    }

What is signed (Ed25519, RFC 8032) are the bytes of the file up to the `,` before that last line,
closed by a line break, `}` and a line break: whoever checks it cuts, and writes no JSON. `key` is
the public key; its fingerprint is the first 32 hexadecimal digits of the SHA-256 of its 32 bytes.
A signature tells who signed only to those who have that fingerprint from elsewhere.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from traindeck.core.base import strict
from traindeck.core.base.errors import UsageError
from traindeck.core.base.secret import signing_key

FORMAT = "traindeck privacy statement 1"
_CLOSED = b"\n}\n"
_signed = re.compile(rb'(.*),\n "signature": "([0-9a-f]{128})"\n\}\n', re.DOTALL).fullmatch
_key = re.compile(r"[0-9a-f]{64}").fullmatch


@dataclass(frozen=True, slots=True)
class Opened:
    """A statement's file.

    document  what it says; nothing where `wrong` says why it is not what was signed
    key       the fingerprint of the key that it is said to be signed by
    """

    document: dict[str, Any]
    key: str
    wrong: str


def sign(document: dict[str, Any], home_root: Path) -> bytes:
    """A statement's file, signed by the home's key, which is made where there is none.

    Raises TraindeckError for a damaged key, ValueError for a number that JSON has not.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(signing_key(home_root))
    public = key.public_key().public_bytes_raw().hex()
    signed = {"format": FORMAT, **document, "key": public}
    body = json.dumps(signed, indent=1, allow_nan=False).encode().removesuffix(b"\n}")
    signature = key.sign(body + _CLOSED).hex()
    return body + f',\n "signature": "{signature}"'.encode() + _CLOSED


def opened(data: bytes) -> Opened:
    """Read a statement's file. Raises UsageError for what is none, or one of another version."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    match = _signed(data)
    if not match:
        if data.lstrip().startswith(b"{") and b"traindeck privacy statement" in data:
            why = "it does not end as it was written: it was cut, changed or formatted anew"
            return Opened({}, "", why)
        raise UsageError("this is no privacy statement: `traindeck budget statement` makes one")
    body = match[1] + _CLOSED
    try:
        document = strict.loads(body)
        public = document["key"]
        if not _key(public):
            raise ValueError("its key is not 64 hexadecimal digits")
        fingerprint = fingerprint_of(bytes.fromhex(public))
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(
            bytes.fromhex(match[2].decode()), body
        )
    except InvalidSignature:
        return Opened({}, fingerprint, "these are not the bytes that its key has signed")
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        return Opened({}, "", f"it cannot be read: {error}")
    if document.get("format") != FORMAT:
        raise UsageError(f"this is not a {FORMAT}: a newer traindeck may read it")
    return Opened(document, fingerprint, "")


def fingerprint_of(public: bytes) -> str:
    """By which people know a public key of 32 bytes."""
    return sha256(public).hexdigest()[:32]


def own_fingerprint(home_root: Path) -> str:
    """That of the home's key, which is made where there is none. Raises TraindeckError."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(signing_key(home_root))
    return fingerprint_of(key.public_key().public_bytes_raw())
