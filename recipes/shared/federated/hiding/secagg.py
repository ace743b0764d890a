"""Secure aggregation: the aggregator learns the sum of the owners' updates, and no single one.

The double masking of Bonawitz et al., Practical Secure Aggregation (CCS 2017), with the keys of all
rounds made up front. For each round an owner has a key pair and a seed; its vector leaves it only
under a mask from its own seed and one with every other owner, from both key pairs (X25519 →
HKDF-SHA256 → ChaCha20). The latter cancel in the sum. Every owner holds a share of every other's
secrets. Once the aggregator has the masked vectors, the owners sign whose came (`survivors`); when
enough have signed one list they show it shares of the seeds of those, and of the keys of those
whose vector did not come: so it can take off the masks that are left on the sum. Never both of one
owner.

    party = SecAggParty("owner-1", identity, pins, run, (1, 60), 2)     sum = Sum(adverts, 2, 3)
    party.advertise()        → aggregator → adverts of all
    party.share(adverts)     → aggregator → shares for this one
    party.receive(shares)
    party.mask(3, values)    → aggregator                               sum.add("owner-1", masked)
    party.sign_ahead(3), or sign(3, alive, dropped) → signatures        alive, dropped = sum.close()
    party.reveal(3, alive, dropped, signatures)     → aggregator        total = sum.open(reveals)

What it stands up to, with t the threshold of n owners: an aggregator that keeps everything it reads
and lies to owners about who answered. No owner opens a share unless t have signed the same list,
and each signs one a round: as t > n/2, one list a round is opened, of t owners or more, and only
their sum. If c owners sign whatever it likes and tell it all that they hold, two lists need
2(t - c) <= n - c, so t > (n + c)/2 is wanted: the default, just more than half, stands up to none
of an odd number of owners and to one of an even; t > 2n/3 to any third of them, and every sum has a
third that is honest. It does not stand up to an owner that spoils the sum by what it adds.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from traindeck.recipes.shared.federated.errors import Refused
from traindeck.recipes.shared.federated.hiding import shamir, survivors
from traindeck.recipes.shared.federated.hiding.answered import Answered
from traindeck.recipes.shared.federated.hiding.session import (
    KEY,
    Advert,
    SecAggSession,
    Words,
    agree,
    parts,
    proof,
    public,
    text,
    untext,
)

FEWEST = 3  # owners: of two, each could take its own vector off the sum
_NONCE = 12
_BUNDLE = 2 * shamir.SHARE  # bytes a round: a share of the seed, one of the mask key


class SecAggParty:
    """One owner's side of one session: its secrets, which live as long as this object.

    name       this owner's; the names in pins are the others'
    identity   what signs its adverts, and who answered a round
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
        self._identity, self._pins = identity, dict(pins)
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
            identity.public_key().public_bytes_raw(),
            self._sealing.public_key().public_bytes_raw(),
            tuple(public(key) for key in self._keys.values()),
            tuple(proof(seed) for seed in self._seeds.values()),
        )
        self._advert = dataclasses.replace(advert, signature=identity.sign(advert.signed()))
        self._session: SecAggSession | None = None
        self._held: dict[str, tuple[bytes, ...]] = {}  # by owner, then by round
        self._masked: set[int] = set()  # rounds of this session
        self._questions: dict[int, tuple[frozenset[str], frozenset[str]]] = {}  # alive, dropped

    def __repr__(self) -> str:
        threshold = self._advert.threshold
        return f"SecAggParty({self.name}, run {self.run}, {self._rounds}, threshold {threshold})"

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
        others = {name: self._verified(name, facts) for name, facts in adverts.items()}
        session = SecAggSession({**others, self.name: self._advert})
        owners, threshold = len(session.names), self._advert.threshold
        if owners < FEWEST:
            raise Refused(f"{owners} owners are too few: with {FEWEST} a sum begins to hide")
        if not owners < 2 * threshold <= 2 * owners:
            raise Refused(f"threshold {threshold} of {owners} owners: more than half are needed")
        bundles: dict[str, list[bytes]] = {name: [] for name in session.names}
        for number in self._rounds:
            for secret in (self._seeds[number], self._keys[number]):
                split = shamir.split(secret, threshold, owners)
                for name, share in zip(session.names, split, strict=True):
                    bundles[name].append(share)
        own = b"".join(bundles.pop(self.name))
        sealed = {name: self._seal(session, name, b"".join(b)) for name, b in bundles.items()}
        self._session = session
        self._held = {self.name: parts(own, _BUNDLE)}
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
        session = self._ready(number)
        if values.dtype != np.int64 or values.ndim != 1:
            raise ValueError(f"one row of int64 is masked, not {values.dtype} {values.shape}")
        if number in self._questions and number not in self._masked:
            raise Refused(f"round {number} of this run went on without {self.name}")
        if not self._answered.add(self.run, number):
            raise Refused(f"round {number} of this run was answered before")
        self._masked.add(number)
        seed, secret = self._seeds.pop(number), self._keys.pop(number)
        masked = values.view(np.uint64) + session.self_mask(self.name, number, seed, values.size)
        for other in session.names:
            if other != self.name:
                masked += session.pair_mask(self.name, other, number, secret, values.size)
        return masked

    def sign_ahead(self, number: int) -> str:
        """This owner's signature that all answered a round that it has answered itself.

        Raises Refused where it has not.
        """
        session = self._ready(number)
        if number not in self._masked:
            raise Refused(f"round {number}: {self.name} did not answer it")
        return survivors.sign(self._identity, session, number)

    def sign(self, number: int, alive: Collection[str], dropped: Collection[str]) -> dict[str, Any]:
        """This owner's signature that these answered a round; JSON-able, for all owners to see.

        alive: whose masked vector came; dropped: all others. An owner signs one list a round.
        Raises Refused.
        """
        session = self._asked(number, alive, dropped)
        signature = survivors.sign(self._identity, session, number, alive)
        return {"v": 1, "round": number, "signature": signature}

    def reveal(
        self,
        number: int,
        alive: Collection[str],
        dropped: Collection[str],
        signatures: Mapping[str, Any],
        *,
        ahead: bool = False,
    ) -> dict[str, Any]:
        """Shares of a round's secrets: of the seed of those alive, of the mask key of those not.

        signatures: of the list of those alive, by owner, of whom the threshold is needed; ahead:
        they came with the vectors, of all owners, and all of them are needed. An owner answers
        about one list a round, that which it has signed if it has signed one (the same question
        again gets the same answer). JSON-able, for the aggregator. Raises Refused.
        """
        session = self._asked(number, alive, dropped)
        if ahead and dropped:
            raise Refused(f"round {number}: who is dropped was not signed ahead")
        signed = None if ahead else alive
        survivors.check(session, number, signed, signatures, self._advert.threshold)
        shares = {name: held[number - self._rounds.start] for name, held in self._held.items()}
        size = shamir.SHARE
        return {
            "v": 1,
            "round": number,
            "alive": {name: text(shares[name][:size]) for name in sorted(alive)},
            "dropped": {name: text(shares[name][size:]) for name in sorted(dropped)},
        }

    def _asked(
        self, number: int, alive: Collection[str], dropped: Collection[str]
    ) -> SecAggSession:
        """Take a question about a round for the one that is answered. Raises Refused."""
        session = self._ready(number)
        question = frozenset(alive), frozenset(dropped)
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
        if self._questions.setdefault(number, question) != question:
            raise Refused(f"round {number}: another answer was given about it before")
        return session

    def _verified(self, name: str, facts: Mapping[str, Any]) -> Advert:
        if name == self.name:
            if facts != self._advert.to_json():
                raise Refused(f"{name}: this owner's own keys were changed on the way")
            return self._advert
        if name not in self._pins:
            raise Refused(f"{name}: no key of it is pinned")
        advert = Advert.of(name, facts)
        if advert.identity != self._pins[name]:
            raise Refused(f"{name}: its key is not the one pinned")
        try:
            pinned = Ed25519PublicKey.from_public_bytes(self._pins[name])
            pinned.verify(advert.signature, advert.signed())
        except (InvalidSignature, ValueError):
            raise Refused(f"{name}: its signature does not fit") from None
        mine = self._advert
        for what, its, ours in (
            ("run", advert.run, mine.run),
            ("rounds", (advert.first, len(advert.masks)), (mine.first, len(mine.masks))),
            ("threshold", advert.threshold, mine.threshold),
        ):
            if its != ours:
                raise Refused(f"{name}: its {what} is {its}, this owner's {ours}")
        return advert

    def _shared(self) -> SecAggSession:
        if self._session is None:
            raise Refused("this owner has not given out shares of its secrets yet")
        return self._session

    def _ready(self, number: int) -> SecAggSession:
        session = self._shared()
        if number not in self._rounds:
            first, last = self._rounds[0], self._rounds[-1]
            raise Refused(f"round {number} is not of this session, which has {first} to {last}")
        if len(self._held) != len(session.names):
            raise Refused("the other owners' shares have not come yet")
        return session

    def _seal(self, session: SecAggSession, to: str, bundle: bytes) -> str:
        cipher = self._cipher(session, to, self.name, to)
        nonce = secrets.token_bytes(_NONCE)
        return text(nonce + cipher.encrypt(nonce, bundle, self._way(self.name, to)))

    def _opened(self, session: SecAggSession, sender: str, sealed: str) -> tuple[bytes, ...]:
        cipher = self._cipher(session, sender, sender, self.name)
        try:
            data = untext(sealed)
            bundle = cipher.decrypt(data[:_NONCE], data[_NONCE:], self._way(sender, self.name))
            held = parts(bundle, _BUNDLE)
        except (InvalidTag, ValueError, TypeError):
            held = ()
        if len(held) != len(self._rounds):
            raise Refused(
                f"{sender}: its shares do not open: they were changed on the way, or it was told"
                " of other owners or keys"
            )
        return held

    def _cipher(self, session: SecAggSession, other: str, *way: str) -> ChaCha20Poly1305:
        agreed = agree(self._sealing, session.adverts[other])
        return ChaCha20Poly1305(session.derive(agreed, "shares", *way))

    def _way(self, *way: str) -> bytes:
        return json.dumps([self.run, *way]).encode()
