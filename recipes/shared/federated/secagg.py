"""Secure aggregation: the aggregator learns the sum of the owners' updates, and no single one.

The double masking of Bonawitz et al., Practical Secure Aggregation (CCS 2017), with the keys of all
rounds made up front. For each round an owner has a key pair and a seed; its vector leaves it only
under a mask from its own seed and one with every other owner, from both key pairs (X25519 →
HKDF-SHA256 → ChaCha20). The latter cancel in the sum. Every owner holds a share of every other's
secrets. Once the aggregator has the masked vectors, the owners show it shares of the seeds of those
whose vector came, and of the keys of those whose vector did not: so it can take off the masks that
are left on the sum. Never both of one owner.

    party = Party("owner-1", identity, pins, run, (1, 60), threshold)   sum = Sum(adverts, 2, 3)
    party.advertise()              → aggregator → adverts of all        sum.add("owner-1", masked)
    party.share(adverts)           → aggregator → shares for this one   alive, dropped = sum.close()
    party.receive(shares)                                               reveals, from those alive
    party.mask(3, values); party.reveal(3, alive, dropped)              total = sum.open(reveals)

What it stands up to, with t the threshold of n owners. An aggregator that reads and keeps
everything, and lies to owners about who answered: for one owner it needs t others to say one thing
and t to say the other, which takes more than n owners as t > n/2. By telling owners of different
sets it can open the sum of fewer than t, never that of one alone. With c owners on its side it needs
only t - c honest ones for each, so t > (n + c)/2 is wanted; t > 2n/3 stands up to any third of the
owners, and the least sum then holds two honest ones. An owner can spoil the sum by what it adds;
that is for the check before masking (and is in the nature of sums nobody sees the parts of).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from traindeck.recipes.shared.federated import shamir
from traindeck.recipes.shared.federated.answered import Answered

Words = npt.NDArray[np.uint64]

FEWEST = 3  # owners: of two, each could take its own vector off the sum
KEY = 32  # bytes of each key, seed and proof
_NONCE = 12
_BUNDLE = 2 * shamir.SHARE  # bytes a round: a share of the seed, one of the mask key


class Refused(PermissionError):
    """What was asked of this owner would not be safe; the text says whose fault it seems."""


class Unrecoverable(RuntimeError):
    """A round's sum cannot be opened; the text says which owner was missed."""


def default_threshold(owners: int) -> int:
    """How many owners must answer: the fewest with which nobody is opened, more than half."""
    return owners // 2 + 1


@dataclass(frozen=True)
class Advert:
    """The public keys of one owner for one session, as it signed them."""

    run: str
    name: str
    first: int
    threshold: int
    sealing: bytes  # X25519, for the shares
    masks: tuple[bytes, ...]  # X25519, one a round
    proofs: tuple[bytes, ...]  # of the seeds, one a round: what a joined seed must hash to
    signature: bytes = b""

    def signed(self) -> bytes:
        """The bytes under the signature."""
        facts = {**self.to_json(), "signature": None, "of": "traindeck secure aggregation"}
        return json.dumps(facts, sort_keys=True).encode()

    def to_json(self) -> dict[str, Any]:
        """JSON-able, for the way through the aggregator."""
        return {
            "v": 1,
            "run": self.run,
            "name": self.name,
            "rounds": [self.first, len(self.masks)],
            "threshold": self.threshold,
            "sealing": _text(self.sealing),
            "masks": _text(b"".join(self.masks)),
            "proofs": _text(b"".join(self.proofs)),
            "signature": _text(self.signature),
        }

    @classmethod
    def of(cls, name: str, facts: Mapping[str, Any]) -> Advert:
        """From JSON. Raises Refused for what is no advert of that owner's."""
        try:
            first, count = facts["rounds"]
            advert = cls(
                facts["run"],
                facts["name"],
                first,
                facts["threshold"],
                _bytes(facts["sealing"]),
                _parts(_bytes(facts["masks"]), KEY),
                _parts(_bytes(facts["proofs"]), KEY),
                _bytes(facts["signature"]),
            )
            fits = advert.to_json() == dict(facts) and len(advert.proofs) == count
        except (KeyError, TypeError, ValueError, AttributeError):
            fits = False
        if not fits or advert.name != name or len(advert.sealing) != KEY:
            raise Refused(f"{name}: what came as its keys are none of its")
        return advert


class Session:
    """What all sides of a session know, and the masks that its secrets give.

    Its digest is in every mask and bundle, so owners that were told of different keys or different
    owners do not come to terms.
    """

    def __init__(self, adverts: Mapping[str, Advert]) -> None:
        self.adverts = dict(sorted(adverts.items()))
        self.names = list(self.adverts)
        told = (hashlib.sha256(advert.signed()).digest() for advert in self.adverts.values())
        self.digest = hashlib.sha256(b"".join(told)).digest()

    def holder(self, name: str) -> int:
        """Which of everybody's shares an owner holds, from 1."""
        return self.names.index(name) + 1

    def public(self, name: str, number: int) -> bytes:
        """An owner's public mask key of a round."""
        advert = self.adverts[name]
        return advert.masks[number - advert.first]

    def self_mask(self, name: str, number: int, seed: bytes, size: int) -> Words:
        """The mask that an owner has added from its seed, (size,) words."""
        return _stream(self.derive(seed, "self", number, name), size)

    def pair_mask(self, name: str, other: str, number: int, secret: bytes, size: int) -> Words:
        """The mask that `name` has added with `other`, whose negative the other has added.

        secret is the private mask key of `name` for the round, 32 bytes.
        """
        agreed = _agree(secret, self.public(other, number), other)
        mask = _stream(self.derive(agreed, "pair", number, *sorted((name, other))), size)
        return mask if name < other else np.negative(mask, out=mask)

    def derive(self, secret: bytes, *use: str | int) -> bytes:
        """A key of 32 bytes for one use in this session."""
        info = json.dumps(use).encode()
        return HKDF(SHA256(), KEY, salt=self.digest, info=info).derive(secret)


class Party:
    """One owner's side of one session: its secrets, which live as long as this object.

    name       this owner's; the names in pins are the others'
    identity   what signs its adverts
    pins       Ed25519 public keys of the other owners, 32 raw bytes each, learnt elsewhere
    rounds     (first, count): which rounds of the run the keys are for
    threshold  how many owners must answer for a round to be opened, more than half of them
    answered   file of the rounds that this owner has answered in any session, kept over restarts
    """

    def __init__(
        self,
        name: str,
        identity: Ed25519PrivateKey,
        pins: Mapping[str, bytes],
        run: str,
        rounds: tuple[int, int],
        threshold: int,
        answered: Path,
    ) -> None:
        self.name, self.run = name, run
        first, count = rounds
        if name in pins or count < 1 or first < 0:
            raise ValueError(f"{name}: no session of {count} rounds from {first} with itself")
        self._pins = dict(pins)
        self._rounds = range(first, first + count)
        self._answered = Answered(answered)
        self._sealing = X25519PrivateKey.generate()
        self._keys = {n: X25519PrivateKey.generate().private_bytes_raw() for n in self._rounds}
        self._seeds = {n: secrets.token_bytes(KEY) for n in self._rounds}
        advert = Advert(
            run,
            name,
            first,
            threshold,
            self._sealing.public_key().public_bytes_raw(),
            tuple(_public(key) for key in self._keys.values()),
            tuple(_proof(seed) for seed in self._seeds.values()),
        )
        self._advert = Advert(
            **{**vars(advert), "signature": identity.sign(advert.signed())},
        )
        self._session: Session | None = None
        self._held: dict[str, list[bytes]] = {}  # of each owner, its bundle's part for each round
        self._masked: set[int] = set()  # rounds of this session
        self._told: dict[int, tuple[frozenset[str], frozenset[str]]] = {}  # alive, dropped

    def __repr__(self) -> str:
        return f"Party({self.name}, run {self.run}, rounds {self._rounds})"

    def advertise(self) -> dict[str, Any]:
        """This owner's public keys, signed; JSON-able, for all to see."""
        return self._advert.to_json()

    def share(self, adverts: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
        """Shares of this owner's secrets, sealed to each of the other owners, by their names.

        adverts: what the owners of this session advertised; this owner's own may be among them.
        Raises Refused, naming the owner at fault, and when asked a second time.
        """
        if self._session is not None:
            raise Refused("the shares of this session's secrets were given out before")
        found = {name: self._verified(name, facts) for name, facts in adverts.items()}
        session = Session({**found, self.name: self._advert})
        owners, threshold = len(session.names), self._advert.threshold
        if owners < FEWEST:
            raise Refused(f"{owners} owners are too few: with {FEWEST} a sum begins to hide")
        if not owners < 2 * threshold <= 2 * owners:
            raise Refused(f"threshold {threshold} of {owners} owners: more than half are needed")
        bundles: dict[str, list[bytes]] = {name: [] for name in session.names}
        for number in self._rounds:
            for secret in (self._seeds[number], self._keys[number]):
                for name, share in zip(
                    session.names, shamir.split(secret, threshold, owners), strict=True
                ):
                    bundles[name].append(share)
        own = b"".join(bundles.pop(self.name))
        sealed = {
            name: self._seal(session, name, b"".join(bundle)) for name, bundle in bundles.items()
        }
        self._session = session
        self._held = {self.name: list(_parts(own, _BUNDLE))}
        return sealed

    def receive(self, shares: Mapping[str, str]) -> None:
        """Keep the other owners' shares that are for this one. All of them are needed."""
        session = self._shared()
        if missing := [name for name in session.names if name not in {*shares, self.name}]:
            raise Refused(f"no shares of {', '.join(missing)} came")
        if strangers := [name for name in shares if name not in session.names]:
            raise Refused(f"{', '.join(strangers)}: not of this session")
        held = {
            name: self._opened(session, name, sealed)
            for name, sealed in shares.items()
            if name != self.name
        }
        self._held.update(held)

    def mask(self, number: int, values: npt.NDArray[np.int64]) -> Words:
        """This owner's vector (d,) of a round under its masks, modulo 2^64; once a round.

        The round is on disk as answered before this returns. Raises Refused, or OSError when it
        cannot be written down.
        """
        session = self._ready()
        if values.dtype != np.int64 or values.ndim != 1:
            raise ValueError(f"one row of int64 is masked, not {values.dtype} {values.shape}")
        if number not in self._rounds:
            raise Refused(f"round {number} is not of this session: it has {_span(self._rounds)}")
        if number in self._told or not self._answered.add(self.run, number):
            raise Refused(f"round {number} of this run was answered before")
        self._masked.add(number)
        seed, secret = self._seeds.pop(number), self._keys.pop(number)
        masked = values.view(np.uint64) + session.self_mask(self.name, number, seed, values.size)
        for other in session.names:
            if other != self.name:
                masked += session.pair_mask(self.name, other, number, secret, values.size)
        return masked

    def reveal(
        self, number: int, alive: Collection[str], dropped: Collection[str]
    ) -> dict[str, Any]:
        """Shares of a round's secrets: of the seed of those alive, of the mask key of those not.

        alive: whose masked vector came; dropped: all others. JSON-able, for the aggregator.
        An owner answers about a round once (the same question again gets the same answer), and
        never for both secrets of one owner; as the threshold is more than half of the owners,
        nobody can gather both, even by asking some this and some that. Where c owners tell the
        aggregator all they hold, that takes a threshold above (n + c)/2: above 2n/3, to stand up
        to any third of the owners. Raises Refused.
        """
        session = self._ready()
        question = frozenset(alive), frozenset(dropped)
        if number not in self._rounds:
            raise Refused(f"round {number} is not of this session: it has {_span(self._rounds)}")
        if both := sorted(question[0] & question[1]):
            raise Refused(f"round {number}: {', '.join(both)} cannot be both alive and dropped")
        if question[0] | question[1] != set(session.names):
            raise Refused(f"round {number}: alive and dropped do not make up this session's owners")
        if len(question[0]) < self._advert.threshold:
            raise Refused(
                f"round {number}: {len(question[0])} owners alive,"
                f" {self._advert.threshold} are needed"
            )
        if (self.name in question[0]) != (number in self._masked):
            said = "did" if number in self._masked else "did not"
            raise Refused(f"round {number}: {self.name} {said} answer it")
        if self._told.setdefault(number, question) != question:
            raise Refused(f"round {number}: another answer was given about it before")
        shares = {name: held[number - self._rounds.start] for name, held in self._held.items()}
        size = shamir.SHARE
        return {
            "v": 1,
            "round": number,
            "alive": {name: _text(shares[name][:size]) for name in sorted(question[0])},
            "dropped": {name: _text(shares[name][size:]) for name in sorted(question[1])},
        }

    def _verified(self, name: str, facts: Mapping[str, Any]) -> Advert:
        if name == self.name:
            if facts != self._advert.to_json():
                raise Refused(f"{name}: this owner's own keys were changed on the way")
            return self._advert
        if name not in self._pins:
            raise Refused(f"{name}: no key of it is pinned")
        advert = Advert.of(name, facts)
        try:
            pinned = Ed25519PublicKey.from_public_bytes(self._pins[name])
            pinned.verify(advert.signature, advert.signed())
        except (InvalidSignature, ValueError):
            raise Refused(f"{name}: its signature does not fit the key pinned for it") from None
        mine = self._advert
        for what, its, ours in (
            ("run", advert.run, mine.run),
            ("rounds", (advert.first, len(advert.masks)), (mine.first, len(mine.masks))),
            ("threshold", advert.threshold, mine.threshold),
        ):
            if its != ours:
                raise Refused(f"{name}: its {what} is {its}, this owner's {ours}")
        return advert

    def _shared(self) -> Session:
        if self._session is None:
            raise Refused("this owner has not given out shares of its secrets yet")
        return self._session

    def _ready(self) -> Session:
        session = self._shared()
        if len(self._held) != len(session.names):
            raise Refused("the other owners' shares have not come yet")
        return session
